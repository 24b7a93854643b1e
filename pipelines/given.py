"""Messages that a trial gives in place of a source's own."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right, insort
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from warren.connectors.memory.waiting import wait, wake
from warren.core.clock import Duration, seconds
from warren.core.codecs import encode
from warren.core.errors import GraphError
from warren.core.graph import Inlet
from warren.core.message import Batch

__all__ = ["Arrival", "Given", "Script", "arrivals_of", "column", "content_types"]

# A virtual timer may fire that much too early.
_TICK = 2e-6


class Arrival(msgspec.Struct, frozen=True):
    """A message that comes to a source in a trial, ``at`` seconds after its start; without an id its place is one."""

    value: Any
    at: float = 0.0
    id: str = ""
    key: str | None = None
    headers: Mapping[str, str] | None = None
    content_type: str = ""


class Script(NamedTuple):
    """What comes to one source, and when it ends at the earliest: at infinity where only somebody outside can say."""

    arrivals: Sequence[Arrival]
    end: float = 0.0


class Given:
    """A source connection over messages that are given; `send` adds one, and `finish` says that no more come."""

    def __init__(self, inlet: Inlet[Any], script: Script) -> None:
        self.typed = inlet.type is not None
        self.counts_retries = not inlet.losses_are_attempts
        self.end = script.end
        self.arrivals: list[Arrival] = []
        self.bodies: list[Any] = []
        self.ids: list[str] = []
        self.values: dict[str, Any] = {}
        self.attempts: list[int] = []
        self.losses: list[int] = []
        self.waiting: list[tuple[float, int]] = []
        self.unsettled: set[int] = set()
        self.changed: set[asyncio.Future[None]] = set()
        for arrival in script.arrivals:
            self.send(arrival)

    def send(self, arrival: Arrival) -> None:
        """Have one more message come."""
        value, place = arrival.value, len(self.arrivals)
        self.bodies.append(encode(value)[0] if self.typed and not isinstance(value, bytes) else value)
        self.arrivals.append(arrival)
        self.ids.append(arrival.id or str(place))
        self.values[self.ids[-1]] = value
        self.attempts.append(1)
        self.losses.append(0)
        insort(self.waiting, (arrival.at, place))
        self._wake()

    def finish(self) -> None:
        """End once everything has come."""
        self.end = 0.0
        self._wake()

    def _wake(self) -> None:
        for future in self.changed:
            wake(future)

    async def receive(self, limit: int) -> Batch | None:
        loop = asyncio.get_running_loop()
        while True:
            if self.waiting and self.waiting[0][0] <= loop.time() + _TICK:
                break
            if not self.waiting and self.end <= loop.time() + _TICK:
                return None
            due = self.waiting[0][0] if self.waiting else self.end
            await wait(self.changed, due if due < math.inf else None)
        ready = self.waiting[: min(limit, bisect_right(self.waiting, (loop.time() + _TICK, len(self.arrivals))))]
        del self.waiting[: len(ready)]
        handles = [place for _, place in ready]
        self.unsettled.update(handles)
        arrivals = [self.arrivals[i] for i in handles]
        return Batch(
            bodies=[self.bodies[i] for i in handles],
            handles=handles,
            content_type=content_types([arrival.content_type for arrival in arrivals]),
            ids=[self.ids[i] for i in handles],
            keys=column([arrival.key for arrival in arrivals]),
            headers=column([arrival.headers for arrival in arrivals]),
            attempts=[self.attempts[i] for i in handles],
            deliveries=[self._deliveries(i) for i in handles],
        )

    def _deliveries(self, place: int) -> int:
        return 1 + self.losses[place] + (self.attempts[place] - 1 if self.counts_retries else 0)

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        self.unsettled.difference_update(handles)

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        due = asyncio.get_running_loop().time() + delay
        for place in handles:
            if isinstance(place, int) and place in self.unsettled:
                self.unsettled.remove(place)
                self.losses[place] += attempts is None
                self.attempts[place] = attempts or self.attempts[place]
                # As of a broker, what comes again at once comes before what is newer.
                insort(self.waiting, (due if delay > 0 else self.arrivals[place].at, place))
        self._wake()

    async def close(self) -> None:
        pass


def content_types(values: list[str]) -> str | list[str]:
    """Content types as a `Batch` has them."""
    return values if any(values) else ""


def column(values: list[Any]) -> list[Any] | None:
    """A column as a `Batch` has it: ``None`` where it says nothing of any message."""
    return values if any(value is not None for value in values) else None


def arrivals_of(values: Iterable[Any], at: Iterable[Duration] | None, where: str) -> list[Arrival]:
    """These values as messages that come at these times, all at once where none are given; messages keep their own."""
    given = [value if isinstance(value, Arrival) else Arrival(value) for value in values]
    if at is None:
        return given
    times = [seconds(each) for each in at]
    if len(times) != len(given):
        raise GraphError(f"{where}: {len(given)} value(s) come at {len(times)} time(s); give one time for each value")
    return [msgspec.structs.replace(each, at=time) for each, time in zip(given, times, strict=True)]
