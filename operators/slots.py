"""Values that wait for a worker: who is next, in order of arrival, by key, or by urgency; and how what is done goes on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from heapq import heappop, heappush
from typing import Any

from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.errors import HandlerError, shorten
from warren.core.receipt import Token
from warren.core.stage import Stage
from warren.operators.keys import keys_of

__all__ = ["ByKey", "ByUrgency", "InOrder", "Slot", "Slots", "Waiting", "bounded"]


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

    def succeed(self, result: Any) -> None:
        """Say what came of it."""
        self.result = result
        self.done = True

    def fail(self, stage: Stage, error: Exception) -> None:
        """Say that it failed."""
        self.failure = stage.failure(self.token, self.value, error, self.attempt)
        self.done = True


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


class Slots:
    """Values that are being worked on; those at the front that are done go on together."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.slots: deque[Slot] = deque()
        self.emitting = False

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.slots)

    def add(self, chunk: Chunk) -> list[Slot]:
        """Take a chunk in."""
        slots = _slots(chunk)
        self.line_up(slots)
        return slots

    def line_up(self, slots: Sequence[Slot]) -> None:
        """Queue slots: values tried again are older than what waits here, and event time may be waiting for them."""
        if slots and slots[0].attempt > 1:
            self.slots.extendleft(reversed(slots))
        else:
            self.slots.extend(slots)

    def ready(self) -> None:
        """Have what is done go on, soon."""
        # One emission for all that finish in the same turn of the loop keeps chunks large.
        if not self.emitting and self.slots and self.slots[0].done:
            self.emitting = True
            self.stage.run.begin()
            asyncio.get_running_loop().call_soon(self.give)

    def give(self) -> None:
        """Hand on what is done."""
        self.emitting = False
        slots = self.slots
        try:
            while slots and slots[0].done:
                attempt = slots[0].attempt
                values: list[Any] = []
                tokens: list[Token] = []
                failures: list[Failure] = []
                while slots and slots[0].done and slots[0].attempt == attempt:
                    slot = slots.popleft()
                    if slot.failure is not None:
                        failures.append(slot.failure)
                    else:
                        values.append(slot.result)
                        tokens.append(slot.token)
                self.stage.emit(Chunk(values, tokens, failures, attempt))
        except Exception as error:
            self.stage.run.crash(error)
        finally:
            self.stage.run.end()


async def bounded(stage: Stage, call: Awaitable[Any], timeout: float | None) -> Any:
    """The answer of a coroutine, within a time; a cancellation that is not the run's own is an error like any other."""
    try:
        if timeout is None:
            return await call
        scope = asyncio.timeout(timeout)
        try:
            async with scope:
                return await call
        except TimeoutError as error:
            if scope.expired():
                raise TimeoutError(f"{stage}: no answer within {timeout:g} s") from error
            raise
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise HandlerError(f"{stage}: the call was cancelled by its own code") from None
