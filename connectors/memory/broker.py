"""Queues in memory, with the semantics of the durable ones."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import secrets
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from warren.connectors.memory.waiting import wait, wake
from warren.connectors.records import records
from warren.core.clock import Clock
from warren.core.errors import PartialWriteError
from warren.core.graph import Inlet, Outlet
from warren.core.message import Batch, Metadata, Outgoing

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
        self._stores: dict[str, _Store] = {}

    @property
    def queues(self) -> list[str]:
        """The names of its queues, sorted."""
        return sorted(self._stores)

    def depth(self, queue: str) -> int:
        """How many messages of a queue wait, delayed ones included."""
        return self._stores[queue].depth if queue in self._stores else 0

    def peek(self, queue: str) -> Batch:
        """The messages of a queue that wait, delayed ones included, in their order and without taking them."""
        store = self._stores.get(queue)
        return _batch(store.waiting() if store is not None else [])

    def clear(self) -> None:
        """Forget every queue."""
        self._stores.clear()

    def _store(self, queue: str) -> _Store:
        return self._stores.setdefault(queue, _Store(self.clock))


DEFAULT = Broker()
"""The broker of every queue that names none."""


class _Message:
    __slots__ = ("attempts", "body", "deliveries", "metadata", "position")

    def __init__(self, position: int, body: bytes, metadata: Metadata) -> None:
        self.position = position
        self.body = body
        self.metadata = metadata
        self.attempts = 1
        self.deliveries = 0


class _Store:
    """The messages of one queue."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.prefix = secrets.token_hex(4)
        self.positions = itertools.count(1)
        self.fresh: deque[_Message] = deque()
        self.back: list[tuple[int, _Message]] = []
        self.delayed: list[tuple[float, int, _Message]] = []
        self.held = 0
        self.changed: set[asyncio.Future[None]] = set()
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def depth(self) -> int:
        return len(self.fresh) + len(self.back) + len(self.delayed)

    def waiting(self) -> list[_Message]:
        returned = [message for _, message in self.back] + [message for _, _, message in self.delayed]
        return [*sorted(returned, key=lambda message: message.position), *self.fresh]

    def enter(self, loop: asyncio.AbstractEventLoop) -> None:
        """Keep what is left of each delay when another event loop, with another time, takes over."""
        if self.loop is not None and self.loop is not loop and self.delayed:
            shift = loop.time() - self.loop.time()
            self.delayed = [(due + shift, position, message) for due, position, message in self.delayed]
        self.loop = loop

    def add(self, bodies: Sequence[bytes], metadata: Iterable[Metadata]) -> None:
        self.fresh.extend(map(_Message, self.positions, bodies, metadata))
        self.notify()

    def put_back(self, messages: Iterable[_Message], due: float | None = None) -> None:
        for message in messages:
            if due is None:
                heapq.heappush(self.back, (message.position, message))
            else:
                heapq.heappush(self.delayed, (due, message.position, message))

    def take(self, limit: int, now: float) -> list[_Message]:
        while self.delayed and self.delayed[0][0] <= now:
            message = heapq.heappop(self.delayed)[2]
            heapq.heappush(self.back, (message.position, message))
        # What came back is older than anything that was never handed out.
        taken = [heapq.heappop(self.back)[1] for _ in range(min(limit, len(self.back)))]
        taken += [self.fresh.popleft() for _ in range(min(limit - len(taken), len(self.fresh)))]
        for message in taken:
            message.deliveries += 1
        self.held += len(taken)
        return taken

    def notify(self) -> None:
        changed, self.changed = self.changed, set()
        for future in changed:
            wake(future)


def _batch(messages: Sequence[_Message], depth: int | None = None) -> Batch:
    metadata = [message.metadata for message in messages]
    types = {each.content_type for each in metadata}
    return Batch(
        bodies=[message.body for message in messages],
        handles=[message.position for message in messages],
        content_type=types.pop() if len(types) == 1 else [each.content_type for each in metadata],
        ids=[each.id for each in metadata],
        keys=[each.key for each in metadata],
        headers=[each.headers for each in metadata],
        enqueued=[each.timestamp for each in metadata],
        attempts=[message.attempts for message in messages],
        deliveries=[message.deliveries for message in messages],
        depth=depth,
    )


class _QueueConnection:
    """An open queue, to read from and to write to."""

    def __init__(self, queue: Queue[Any], store: _Store, until_empty: bool) -> None:
        self._queue = queue
        self._store = store
        self._until_empty = until_empty
        self._held: dict[Hashable, _Message] = {}
        self._closed = False
        store.enter(asyncio.get_running_loop())

    async def receive(self, limit: int) -> Batch | None:
        store, loop = self._store, asyncio.get_running_loop()
        while not self._closed:
            taken = store.take(limit, loop.time())
            if taken:
                self._held.update((message.position, message) for message in taken)
                return _batch(taken, store.depth)
            if self._until_empty and not store.delayed and store.held == len(self._held):
                return None
            await wait(store.changed, store.delayed[0][0] if store.delayed else None)
        return None

    def _let_go(self, handles: Iterable[Hashable]) -> list[_Message]:
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
        return _QueueConnection(self, self.broker._store(self.queue), until_empty)

    def dead_letters(self, queue: str) -> Queue[Any]:
        """A queue of that name in the same broker."""
        return Queue(queue, broker=self.broker)
