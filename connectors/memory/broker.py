"""Queues in memory, with the semantics of the durable ones."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from warren.connectors.memory.store import Message, Store, batch
from warren.connectors.memory.waiting import wait
from warren.connectors.records import records
from warren.core.clock import Clock
from warren.core.errors import PartialWriteError
from warren.core.graph import Inlet, Outlet
from warren.core.message import Batch, Metadata, Outgoing

if TYPE_CHECKING:
    from warren.connectors.memory.admin import MemoryAdmin

__all__ = ["DEFAULT", "Broker", "Queue"]

T = TypeVar("T")


class Broker:
    """Queues that live as long as this object; ``clock`` tells when messages were enqueued.

    >>> broker = Broker()
    >>> orders = Queue("orders", broker=broker)
    >>> async def publish():
    ...     connection = await orders.open()
    ...     await connection.write(Outgoing(["a", "b"]))
    ...     await connection.close()
    >>> asyncio.run(publish()); broker.queues, broker.depth("orders"), broker.peek("orders").bodies
    (['orders'], 2, [b'"a"', b'"b"'])
    """

    def __init__(self, clock: Clock = time.time) -> None:
        self.clock = clock
        self.stores: dict[str, Store] = {}

    @property
    def queues(self) -> list[str]:
        """The names of its queues, sorted."""
        return sorted(self.stores)

    def depth(self, queue: str) -> int:
        """How many messages of a queue wait, delayed ones included."""
        return self.stores[queue].depth if queue in self.stores else 0

    def peek(self, queue: str) -> Batch:
        """The messages of a queue that wait, delayed ones included, in their order and without taking them."""
        store = self.stores.get(queue)
        return batch(store.waiting() if store is not None else [])

    def clear(self) -> None:
        """Forget every queue."""
        self.stores.clear()

    @property
    def admin(self) -> MemoryAdmin:
        """What looks after its queues: looks at them, empties them, sends dead letters back."""
        from warren.connectors.memory.admin import MemoryAdmin

        return MemoryAdmin(self)

    def store(self, queue: str) -> Store:
        """What keeps the messages of a queue, which is made where there is none."""
        return self.stores.setdefault(queue, Store(self.clock))


DEFAULT = Broker()
"""The broker of every queue that names none."""


class _QueueConnection:
    """An open queue, to read from and to write to."""

    def __init__(self, queue: Queue[Any], store: Store, until_empty: bool) -> None:
        self._queue = queue
        self._store = store
        self._until_empty = until_empty
        self._held: dict[Hashable, Message] = {}
        self._closed = False
        store.enter(asyncio.get_running_loop())

    async def receive(self, limit: int) -> Batch | None:
        store, loop = self._store, asyncio.get_running_loop()
        while not self._closed:
            taken = store.take(limit, loop.time())
            if taken:
                self._held.update((message.position, message) for message in taken)
                return batch(taken, store.depth)
            if self._until_empty and not store.delayed and store.held == len(self._held):
                return None
            await wait(store.changed, store.delayed[0][0] if store.delayed else None)
        return None

    def _let_go(self, handles: Iterable[Hashable]) -> list[Message]:
        messages = [self._held.pop(handle) for handle in handles if handle in self._held]
        self._store.held -= len(messages)
        return messages

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        self._let_go(handles)
        self._store.notify()

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        messages = self._let_go(handles)
        if attempts is not None:
            for message in messages:
                message.attempts = attempts
        self._store.put_back(messages, asyncio.get_running_loop().time() + delay if delay > 0 else None)
        self._store.notify()

    async def write(self, messages: Outgoing) -> None:
        store, now = self._store, self._store.clock()
        rows, errors = records(messages, self._queue.key, self._queue.headers)
        count, prefix = len(rows.bodies), store.prefix
        types = itertools.repeat(rows.content_type) if isinstance(rows.content_type, str) else rows.content_type
        columns = zip(
            (id or f"{prefix}-{secrets.token_hex(8)}" for id in rows.ids or itertools.repeat("", count)),
            rows.headers or itertools.repeat({}, count),
            rows.keys or itertools.repeat(None, count),
            types,
            strict=False,
        )
        store.add(
            rows.bodies,
            [Metadata(id, headers, now, key, 1, content_type) for id, headers, key, content_type in columns],
        )
        if errors:
            raise PartialWriteError(errors)

    async def close(self) -> None:
        self._closed = True
        self._store.put_back(self._let_go(list(self._held)))
        self._store.notify()


class Queue(Inlet[T], Outlet[T]):
    """A queue in a `Broker`: a source on the left of ``|``, a sink on its right.

    Delivery: at least once while the process lives; gone with it. What was received and not acknowledged comes back when
    its connection closes, in its old place, before newer messages. After ``max_deliveries`` the pipeline dead-letters it.
    """

    def __init__(
        self,
        queue: str,
        type: Any = None,
        *,
        broker: Broker | None = None,
        key: Callable[[T], str | None] | None = None,
        headers: Callable[[T], Mapping[str, str]] | None = None,
        max_deliveries: int | None = 20,
    ) -> None:
        self.queue = queue
        self.type = type
        self.broker = broker if broker is not None else DEFAULT
        self.key = key
        self.headers = headers
        self.max_deliveries = max_deliveries

    @property
    def name(self) -> str:
        """The address."""
        return f"memory:{self.queue}"

    async def open(self, *, until_empty: bool = False) -> _QueueConnection:
        """Connect, to receive, to write, or both."""
        return _QueueConnection(self, self.broker.store(self.queue), until_empty)

    def dead_letters(self, queue: str) -> Queue[Any]:
        """A queue of that name in the same broker."""
        return Queue(queue, broker=self.broker)
