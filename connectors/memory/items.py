"""Values at hand, as a source."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar

from warren.connectors.memory.broker import Broker, Queue
from warren.connectors.memory.waiting import wait, wake
from warren.core.graph import Inlet
from warren.core.message import Batch, Columns

__all__ = ["Handing", "Items"]

T = TypeVar("T")


class Items(Inlet[T]):
    """Values at hand, as a source that ends.

    Delivery: what is released comes again, until it is acknowledged; nothing outlives the process.
    """

    bounded = True

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


class _Place:
    """The handle of a value: where it came, and the value itself, so that nothing else need remember it."""

    __slots__ = ("deliveries", "number", "value")

    def __init__(self, number: int, value: Any) -> None:
        self.number = number
        self.value = value
        self.deliveries = 1

    def __str__(self) -> str:
        return str(self.number)


class _Places(Sequence[_Place]):
    """The handles of a run of values, made when they are asked for."""

    def __init__(self, start: int, values: Sequence[Any]) -> None:
        self._start = start
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return _Place(self._start + index, self._values[index])


class _Run(Batch):
    """Fresh values, whose ids are their numbers; ``start`` is the first."""

    start: int = 0

    def columns(self, places: Sequence[int]) -> Columns:
        start = self.start
        return Columns([str(start + place) for place in places])


class Handing:
    """Hands out runs of values. Nothing is kept of them: what is given back comes with its handle."""

    def __init__(self) -> None:
        self._next = 0
        self._back: list[tuple[float, int, _Place, int]] = []
        self._changed: set[asyncio.Future[None]] = set()
        self._closed = False

    def fresh(self, limit: int) -> list[Any]:
        """The next values that are there now, at most so many."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether no fresh value will come, where there is none now."""
        return True

    @property
    def depth(self) -> int | None:
        """How many fresh values wait, where that is known."""
        return None

    async def receive(self, limit: int) -> Batch | None:
        """Wait for values; return what is ready, or ``None`` when no more will come."""
        while not self._closed:
            if self._back and self._back[0][0] <= asyncio.get_running_loop().time():
                return self._again(limit)
            values = self.fresh(limit)
            if values:
                start, self._next = self._next, self._next + len(values)
                return _Run(values, _Places(start, values), depth=self.depth, start=start)
            if not self._back and self.ended:
                return None
            await wait(self._changed, self._back[0][0] if self._back else None)
        return None

    def _again(self, limit: int) -> Batch:
        now = asyncio.get_running_loop().time()
        places: list[_Place] = []
        attempts: list[int] = []
        while self._back and self._back[0][0] <= now and len(places) < limit:
            _, _, place, tries = heapq.heappop(self._back)
            place.deliveries += 1
            places.append(place)
            attempts.append(tries)
        return Batch(
            bodies=[place.value for place in places],
            handles=places,
            attempts=attempts,
            deliveries=[place.deliveries for place in places],
        )

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        """Nothing is kept, so there is nothing to do."""

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        """Take values back, to hand them out again."""
        due = asyncio.get_running_loop().time() + delay if delay > 0 else 0.0
        for place in handles:
            if isinstance(place, _Place):
                heapq.heappush(self._back, (due, place.number, place, attempts or 1))
        self.notify()

    def notify(self) -> None:
        """Have `receive` look again."""
        changed, self._changed = self._changed, set()
        for future in changed:
            wake(future)

    async def close(self) -> None:
        """Hand out nothing any more."""
        self._closed = True
        self.notify()


class _ItemsConnection(Handing):
    def __init__(self, values: Iterable[Any]) -> None:
        super().__init__()
        self._rest = iter(values)

    def fresh(self, limit: int) -> list[Any]:
        return list(itertools.islice(self._rest, limit))
