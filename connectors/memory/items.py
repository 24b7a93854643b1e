"""Values at hand, as a source."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from warren.connectors.memory.broker import Broker, Queue
from warren.connectors.memory.waiting import wait, wake
from warren.core.graph import Inlet
from warren.core.message import Batch

__all__ = ["Items"]

T = TypeVar("T")


class Items(Inlet[T]):
    """Values at hand, as a source that ends.

    Delivery: what is released comes again, until it is acknowledged; nothing outlives the process.
    """

    def __init__(self, values: Iterable[Any], type: Any = None, *, broker: Broker | None = None) -> None:
        self.values = values
        self.type = type
        self.broker = broker

    @property
    def name(self) -> str:
        """What it is."""
        return "memory.items"

    async def open(self, *, until_empty: bool = False) -> _ItemsConnection:
        """Start at the first value, or where an iterator stands."""
        return _ItemsConnection(self.values)

    def dead_letters(self, queue: str) -> Queue[Any]:
        """A queue of that name in the same broker."""
        return Queue(queue, broker=self.broker)


class _ItemsConnection:
    """Hands out slices, numbered by a range, and keeps each until it is settled."""

    def __init__(self, values: Iterable[Any]) -> None:
        self._rest: Iterator[Any] | None = None if isinstance(values, list | tuple) else iter(values)
        self._values: Sequence[Any] = values if isinstance(values, list | tuple) else ()
        self._next = 0
        self._whole: dict[int, Sequence[Any]] = {}
        self._loose: dict[int, Any] = {}
        self._back: list[tuple[float, int, Any]] = []
        self._counts: dict[int, tuple[int, int]] = {}
        self._changed: set[asyncio.Future[None]] = set()
        self._closed = False

    async def receive(self, limit: int) -> Batch | None:
        while not self._closed:
            if self._back:
                due = self._back[0][0]
                if due <= asyncio.get_running_loop().time():
                    return self._again(limit)
            else:
                due = None
            start = self._next
            bodies = self._values[start : start + limit] if self._rest is None else list(itertools.islice(self._rest, limit))
            if bodies:
                self._next += len(bodies)
                self._whole[start] = bodies
                depth = len(self._values) - self._next if self._rest is None else None
                return Batch(bodies, range(start, self._next), depth=depth)
            if due is None:
                return None
            await wait(self._changed, due)
        return None

    def _again(self, limit: int) -> Batch:
        now = asyncio.get_running_loop().time()
        ready: list[tuple[int, Any]] = []
        while self._back and self._back[0][0] <= now and len(ready) < limit:
            ready.append(heapq.heappop(self._back)[1:])
        handles = [handle for handle, _ in ready]
        self._loose.update(ready)
        counts = [self._counts[handle] for handle in handles]
        self._counts.update(
            (handle, (attempts, deliveries + 1)) for handle, (attempts, deliveries) in zip(handles, counts, strict=True)
        )
        return Batch(
            bodies=[value for _, value in ready],
            handles=handles,
            attempts=[attempts for attempts, _ in counts],
            deliveries=[deliveries + 1 for _, deliveries in counts],
        )

    def _let_go(self, handles: Sequence[Hashable]) -> list[tuple[int, Any]]:
        if type(handles) is range and handles.step == 1 and len(self._whole.get(handles.start, ())) == len(handles):
            return list(enumerate(self._whole.pop(handles.start), handles.start)) if handles else []
        return [(handle, self._loose.pop(handle)) for handle in handles if isinstance(handle, int) and self._find(handle)]

    def _find(self, handle: int) -> bool:
        if handle in self._loose:
            return True
        for start, bodies in self._whole.items():
            if start <= handle < start + len(bodies):
                self._loose.update(enumerate(self._whole.pop(start), start))
                return True
        return False

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        if self._counts:
            for handle, _ in self._let_go(handles):
                self._counts.pop(handle, None)
        else:
            self._let_go(handles)

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        due = asyncio.get_running_loop().time() + delay if delay > 0 else 0.0
        for handle, value in self._let_go(handles):
            tries, deliveries = self._counts.get(handle, (1, 1))
            self._counts[handle] = (attempts if attempts is not None else tries, deliveries)
            heapq.heappush(self._back, (due, handle, value))
        changed, self._changed = self._changed, set()
        for future in changed:
            wake(future)

    async def close(self) -> None:
        self._closed = True
        for future in list(self._changed):
            wake(future)
