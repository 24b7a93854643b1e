"""Queues and exchanges as the ends of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.delays import DelayedRetry, delayed_binding
from warren.connectors.rabbitmq.receiver import Waiting
from warren.connectors.rabbitmq.sink import RabbitSink
from warren.connectors.rabbitmq.source import RabbitSource
from warren.connectors.rabbitmq.topology import Binding, ExchangeDeclaration, QueueDeclaration, QueueKind
from warren.core.clock import Duration
from warren.core.errors import GraphError
from warren.core.graph import Inlet, Outlet
from warren.core.health import PATIENCE, Health
from warren.core.message import Batch, Outgoing
from warren.core.place import Place

__all__ = ["Exchange", "Queue"]

T = TypeVar("T")


class Queue(Inlet[T], Outlet[T]):
    """A queue on a RabbitMQ broker: a source on the left of ``|``, a sink on its right.

    Delivery: at least once. A write returns when the broker has confirmed it: with a quorum queue when a majority of its
    nodes has it. What a worker received and did not acknowledge comes back when its connection ends. After
    ``max_deliveries`` the pipeline dead-letters a message; only quorum queues count beyond 2.

    Raises `BrokerError` where the broker cannot be reached or refuses, and `TopologyError` where the queue is missing or
    is there with other properties.
    """

    def __init__(
        self,
        queue: str,
        type: Any = None,
        *,
        broker: Broker | None = None,
        kind: QueueKind = "quorum",
        passive: bool = False,
        bind: Sequence[Binding] = (),
        arguments: Mapping[str, Any] | None = None,
        single_active: bool = False,
        persistent: bool = True,
        key: Callable[[T], str | None] | None = None,
        headers: Callable[[T], Mapping[str, str]] | None = None,
        max_deliveries: int | None = 20,
        delayed_retry: tuple[Duration, Duration] | None = None,
        delayed_exchange: str | None = None,
    ) -> None:
        self.queue = queue
        self.type = type
        self.broker = Broker.given(broker)
        given = dict(arguments or {})
        if single_active:
            given["x-single-active-consumer"] = True
        if delayed_retry is not None and (kind != "quorum" or delayed_exchange is not None):
            raise GraphError(
                f"rabbitmq.queue({queue!r}, delayed_retry=...): only a quorum queue delays by itself, and then needs no "
                f"delayed_exchange=; leave one of the two out"
            )
        bindings = tuple(bind)
        self.delayed_retry = None if delayed_retry is None else DelayedRetry.of(queue, *delayed_retry)
        if self.delayed_retry is not None:
            given |= self.delayed_retry.arguments
            self.losses_are_attempts = True
        self.delayed_exchange = delayed_exchange
        if delayed_exchange is not None and not passive:
            bindings += (delayed_binding(delayed_exchange, queue),)
        self.declaration = QueueDeclaration(queue, kind, given, bindings, passive)
        self.persistent = persistent
        self.key = key
        self.headers = headers
        self.max_deliveries = max_deliveries

    @property
    def name(self) -> str:
        """The queue, without the broker's address."""
        return f"rabbitmq:{self.queue}"

    def note(self, credit: int) -> str:
        """Which kind of queue, and how many messages the broker sends ahead: as many as the credit."""
        kind = "stream" if self.declaration.kind == "stream" else f"{self.declaration.kind} queue"
        if self.declaration.passive:
            kind = f"{kind.split()[-1]} taken as it is"
        return f"{kind}, prefetch {credit:,} from the credit"

    def place(self) -> Place:
        """The queue and its server, for documents."""
        durable = {"name": self.queue, "durable": True, "exclusive": False, "autoDelete": False}
        return self.broker.place(self.queue, {"is": "queue", "queue": durable}, self.persistent)

    async def open(self, *, until_empty: bool = False) -> Connection:
        """Connect, to receive, to write, or both; the queue is declared. Nothing is fetched that nobody asked for."""
        return await self._open(until_empty, None)

    async def open_ahead(self, credit: int, *, until_empty: bool = False) -> Connection:
        """Connect to receive; the broker sends up to ``credit`` messages ahead."""
        return await self._open(until_empty, credit)

    async def _open(self, until_empty: bool, credit: int | None) -> Connection:
        connection = Connection(self, until_empty, credit)
        try:
            await connection.start()
        except BaseException:
            await connection.close()
            raise
        return connection

    def dead_letters(self, queue: str) -> Queue[Any]:
        """A quorum queue of that name on the same broker; with ``passive``, one that is there already."""
        return Queue(queue, broker=self.broker, passive=self.declaration.passive)

    def reader(self, until_empty: bool, credit: int | None) -> Waiting:
        """The half of a connection that receives."""
        if self.declaration.kind == "stream":
            raise GraphError(f"queue {self.queue!r} is a stream: read it with rabbitmq.stream({self.queue!r})")
        return RabbitSource(
            self.broker,
            self.declaration,
            until_empty=until_empty,
            credit=credit,
            max_deliveries=self.max_deliveries,
            delayed_retry=self.delayed_retry,
            delayed_exchange=self.delayed_exchange,
        )

    def writer(self) -> RabbitSink:
        """The half of a connection that writes."""
        return RabbitSink(
            self.broker,
            self.declaration,
            persistent=self.persistent,
            key=self.key,
            headers=self.headers,
            routing=lambda values, keys: self.queue,
        )


class Exchange(Outlet[T]):
    """An exchange on a RabbitMQ broker, as a sink.

    Delivery: at least once. A write returns when the broker has confirmed that the queues bound to it have the messages;
    a message that leads to no queue fails, and goes to the dead letters of its source.
    """

    def __init__(
        self,
        exchange: str,
        *,
        broker: Broker | None = None,
        kind: str = "topic",
        passive: bool = False,
        arguments: Mapping[str, Any] | None = None,
        routing_key: str | Callable[[T], str] | None = None,
        persistent: bool = True,
        key: Callable[[T], str | None] | None = None,
        headers: Callable[[T], Mapping[str, str]] | None = None,
    ) -> None:
        self.exchange = exchange
        self.broker = Broker.given(broker)
        self.declaration = ExchangeDeclaration(exchange, kind, dict(arguments or {}), passive)
        self.routing_key = routing_key
        self.persistent = persistent
        self.key = key
        self.headers = headers

    @property
    def name(self) -> str:
        """The exchange, without the broker's address."""
        return f"rabbitmq:{self.exchange}"

    def place(self) -> Place:
        """The exchange and its server, for documents."""
        key = self.routing_key if isinstance(self.routing_key, str) else None
        return self.broker.place(key, exchange_of(self.declaration), self.persistent)

    async def open(self) -> RabbitSink:
        """Connect; the exchange is declared."""
        sink = RabbitSink(
            self.broker,
            self.declaration,
            persistent=self.persistent,
            key=self.key,
            headers=self.headers,
            routing=self._route,
        )
        try:
            await sink.open()
        except BaseException:
            await sink.close()
            raise
        return sink

    def _route(self, values: Sequence[Any], keys: Sequence[str | None] | None) -> str | Sequence[str]:
        given = self.routing_key
        if isinstance(given, str):
            return given
        if given is not None:
            return [given(value) for value in values]
        return "" if keys is None else [each or "" for each in keys]


def exchange_of(declaration: ExchangeDeclaration) -> Mapping[str, Any]:
    """AsyncAPI's binding of a channel that is an exchange; it knows no kinds that plugins add."""
    known = {"type": declaration.kind} if declaration.kind in ("topic", "direct", "fanout", "headers") else {}
    return {"is": "routingKey", "exchange": {"name": declaration.name, **known, "durable": True, "autoDelete": False}}


class Connection:
    """An open queue; each half connects when it is first used."""

    def __init__(self, queue: Queue[Any], until_empty: bool, credit: int | None) -> None:
        self.queue = queue
        self.reads = until_empty or credit is not None
        self._until_empty = until_empty
        self._credit = credit
        self._source: Waiting | None = None
        self._sink: RabbitSink | None = None
        self._closed = False

    async def start(self) -> None:
        """Declare the queue over the half that is known to be needed."""
        await (self.source if self.reads else self.sink).open()

    @property
    def source(self) -> Waiting:
        """The half that receives."""
        if self._source is None:
            self._source = self.queue.reader(self._until_empty, self._credit)
        return self._source

    @property
    def sink(self) -> RabbitSink:
        """The half that writes."""
        if self._sink is None:
            self._sink = self.queue.writer()
        return self._sink

    async def receive(self, limit: int) -> Batch | None:
        return None if self._closed else await self.source.receive(limit)

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        await self.source.acknowledge(handles)

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        await self.source.release(handles, delay, attempts)

    async def write(self, messages: Outgoing) -> None:
        await self.sink.write(messages)

    async def health(self, patience: float = PATIENCE) -> Health:
        """How the halves that are in use fare."""
        halves = [half for half in (self._source, self._sink) if half is not None]
        return Health.joined(self.queue.name, [await half.health(patience) for half in halves])

    async def close(self) -> None:
        self._closed = True
        try:
            if self._source is not None:
                await self._source.close()
        finally:
            if self._sink is not None:
                await self._sink.close()
