"""Values that wait for a worker: who is next, in order of arrival, by key, or by urgency."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from heapq import heappop, heappush
from typing import Any

from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.errors import HandlerError, shorten
from warren.core.receipt import Token
from warren.core.stage import Stage
from warren.operators.keys import keys_of

__all__ = ["ByKey", "ByUrgency", "InOrder", "Slot", "Waiting"]


class Slot:
    """One value on its way through a worker."""

    __slots__ = ("attempt", "done", "failure", "lane", "result", "token", "value")

    def __init__(self, value: Any, token: Token, attempt: int) -> None:
        self.value = value
        self.token = token
        self.attempt = attempt
        self.done = False
        self.result: Any = None
        self.failure: Failure | None = None
        self.lane: _Lane | None = None


def _slots(chunk: Chunk) -> list[Slot]:
    attempt = chunk.attempt
    return [Slot(value, token, attempt) for value, token in zip(chunk.values, chunk.tokens, strict=True)]


class Waiting:
    """What workers take values from; its length is how many of them may be taken now."""

    def add(self, chunk: Chunk) -> tuple[list[Slot], Sequence[Failure]]:
        """Have values wait; those tried again are older than what waits here, and go before it."""
        raise NotImplementedError

    def take(self) -> Slot:
        """The one that is next."""
        raise NotImplementedError

    def done(self, slot: Slot) -> None:
        """Say that one that was taken is done."""

    def __len__(self) -> int:
        raise NotImplementedError


class InOrder(Waiting):
    """The first to come is next."""

    def __init__(self, stage: Stage) -> None:
        self.queue: deque[Slot] = deque()

    def add(self, chunk: Chunk) -> tuple[list[Slot], Sequence[Failure]]:
        slots = _slots(chunk)
        if chunk.attempt > 1:
            self.queue.extendleft(reversed(slots))
        else:
            self.queue.extend(slots)
        return slots, ()

    def take(self) -> Slot:
        return self.queue.popleft()

    def __len__(self) -> int:
        return len(self.queue)


class _Lane:
    """The values of one key: those that wait, how many of them may be taken now, and how many are at work."""

    __slots__ = ("key", "offered", "running", "waiting")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.waiting: deque[Slot] = deque()
        self.offered = 0
        self.running = 0


class ByKey(Waiting):
    """At most ``limit`` of each key are at work, in their order; keys take turns."""

    def __init__(self, stage: Stage, by: Callable[[Any], Hashable], limit: int, option: str) -> None:
        self.stage = stage
        self.by = by
        self.limit = limit
        self.option = option
        self.lanes: dict[Hashable, _Lane] = {}
        self.turns: deque[_Lane] = deque()

    def add(self, chunk: Chunk) -> tuple[list[Slot], Sequence[Failure]]:
        keys, chunk, failures = keys_of(self.stage, self.by, chunk, self.option)
        slots = _slots(chunk)
        again = chunk.attempt > 1
        pairs = zip(reversed(keys), reversed(slots), strict=True) if again else zip(keys, slots, strict=True)
        for key, slot in pairs:
            lane = self.lanes.get(key)
            if lane is None:
                lane = self.lanes[key] = _Lane(key)
            slot.lane = lane
            if again:
                lane.waiting.appendleft(slot)
            else:
                lane.waiting.append(slot)
            self.offer(lane)
        return slots, failures

    def offer(self, lane: _Lane) -> None:
        if lane.offered < len(lane.waiting) and lane.offered + lane.running < self.limit:
            lane.offered += 1
            self.turns.append(lane)

    def take(self) -> Slot:
        lane = self.turns.popleft()
        lane.offered -= 1
        lane.running += 1
        return lane.waiting.popleft()

    def done(self, slot: Slot) -> None:
        lane = slot.lane
        assert lane is not None
        lane.running -= 1
        self.offer(lane)
        if not lane.running and not lane.waiting:
            del self.lanes[lane.key]

    def __len__(self) -> int:
        return len(self.turns)


class ByUrgency(Waiting):
    """The one with the highest priority is next; of several, the one that came first."""

    def __init__(self, stage: Stage, priority: Callable[[Any], float]) -> None:
        self.stage = stage
        self.priority = priority
        self.heap: list[tuple[float, int, Slot]] = []
        self.count = 0

    def add(self, chunk: Chunk) -> tuple[list[Slot], Sequence[Failure]]:
        failures: Sequence[Failure] = ()
        ranks, errors = apply_each(self.rank, chunk.values)
        if errors:
            failures = self.stage.failures(chunk, errors)
            chunk = chunk.select([i not in errors for i in range(len(chunk.values))])
        slots = _slots(chunk)
        # Numbers below zero, falling by chunk, put those tried again before all that came for the first time.
        start = -self.count - len(slots) if chunk.attempt > 1 else self.count
        self.count += len(slots)
        for number, (rank, slot) in enumerate(zip(ranks, slots, strict=True), start):
            heappush(self.heap, (-rank, number, slot))
        return slots, failures

    def rank(self, value: Any) -> float:
        rank = self.priority(value)
        if not isinstance(rank, int | float) or rank != rank:
            close = getattr(rank, "close", None)
            if close is not None:
                close()
            raise HandlerError(
                f"{self.stage}: priority= answered {shorten(rank)} for {shorten(value)}; answer with a number, "
                "a higher one for what is more urgent"
            )
        return rank

    def take(self) -> Slot:
        return heappop(self.heap)[2]

    def __len__(self) -> int:
        return len(self.heap)
