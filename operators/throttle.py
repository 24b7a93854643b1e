"""`throttle`: at most so many values per period."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, overload

from warren.core.chunk import Chunk, Failure
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError
from warren.core.graph import Operator
from warren.core.stage import Handler, Stage
from warren.operators.holding import together
from warren.operators.keys import check_function
from warren.operators.slots import ByUrgency

__all__ = ["throttle"]

# Virtual schedulers round to microseconds, so a timer may fire that much too early.
_TICK = 1e-6


T = TypeVar("T")


@overload
def throttle(rate: int, per: Duration = ..., *, burst: int | None = ..., priority: None = None) -> Operator[Any, Any]: ...
@overload
def throttle(
    rate: int, per: Duration = ..., *, burst: int | None = ..., priority: Callable[[T], float]
) -> Operator[T, T]: ...
def throttle(
    rate: int, per: Duration = "1s", *, burst: int | None = None, priority: Callable[[Any], float] | None = None
) -> Operator[Any, Any]:
    """Let at most ``rate`` values pass in any ``per`` of time; the others wait, in order.

    ``burst`` is how many may pass at once; all ``rate`` of them unless given. With ``burst=1`` they are spaced evenly.
    ``priority`` gives a number: of the values that wait, the one with the highest passes first.

    Keeps the delivery guarantee: nothing is dropped. What waits holds its credit, so the source is slowed down; a
    shutdown lets it pass at the same pace, within its deadline.

    Raises `GraphError` where ``rate`` or ``burst`` is not a whole number from 1, ``burst`` exceeds ``rate``, ``per``
    is not a duration above zero, or ``priority`` no function of one value.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> Pipeline("slow", memory.items([]) | throttle(2, per="1h") | memory.into([])).test([1, 2, 3, 4, 5]).values
    [1, 2, 3, 4, 5]
    """
    if not isinstance(rate, int) or isinstance(rate, bool) or rate < 1:
        raise GraphError(f"throttle({rate!r}): rate must be a whole number of at least 1; make per= longer to go slower")
    if seconds(per) == 0:
        raise GraphError(f"throttle({rate}, per={per!r}): per must be longer than 0")
    if burst is not None and (not isinstance(burst, int) or isinstance(burst, bool) or not 1 <= burst <= rate):
        raise GraphError(f"throttle({rate}, burst={burst!r}): burst must be a whole number from 1 to {rate}")
    if priority is not None:
        check_function(priority, "throttle(priority=...)")
    return _Throttle(rate, seconds(per), burst or rate, priority)


class _Throttle(Operator[Any, Any]):
    passes = True

    def __init__(self, rate: int, period: float, burst: int, priority: Callable[[Any], float] | None) -> None:
        self.rate = rate
        self.period = period
        self.burst = burst
        self.priority = priority

    @property
    def name(self) -> str:
        return f"throttle({self.rate} per {self.period:g}s)"

    @property
    def guarantee(self) -> str:
        return "delays, never drops" + (", the most urgent first" if self.priority else "")

    def attach(self, stage: Stage) -> Handler:
        return _Gate(self, stage).take


class _Gate:
    """Lets ``burst`` values pass in any ``span`` of time, which is ``rate`` in any ``period``."""

    def __init__(self, operator: _Throttle, stage: Stage) -> None:
        self.stage = stage
        self.span = operator.period * operator.burst / operator.rate
        self.free = operator.burst
        self.passed: deque[tuple[float, int]] = deque()
        self.waiting = _Line() if operator.priority is None else _Crowd(stage, operator.priority)
        self.timer = False

    def take(self, chunk: Chunk) -> Chunk | None:
        if not len(self.waiting) and self.room() >= len(chunk.values):
            return self.admit(chunk)
        failures = self.waiting.add(chunk)
        self.release()
        return Chunk([], (), failures) if failures else None

    def room(self) -> int:
        """How many values may pass now."""
        now = self.stage.run.clock()
        while self.passed and self.passed[0][0] + self.span <= now + _TICK:
            self.free += self.passed.popleft()[1]
        return self.free

    def admit(self, chunk: Chunk) -> Chunk:
        self.free -= len(chunk.values)
        self.passed.append((self.stage.run.clock(), len(chunk.values)))
        return chunk

    def release(self) -> None:
        while len(self.waiting) and (room := self.room()):
            for chunk in self.waiting.take(room):
                self.stage.emit(self.admit(chunk))
        if len(self.waiting) and not self.timer:
            self.timer = True
            wait = self.passed[0][0] + self.span - self.stage.run.clock()
            self.stage.later(max(0.0, wait), self.wake, busy=True)

    def wake(self) -> None:
        self.timer = False
        self.release()


class _Line:
    """The first to come is next."""

    def __init__(self) -> None:
        self.chunks: deque[Chunk] = deque()

    def add(self, chunk: Chunk) -> Sequence[Failure]:
        self.chunks.append(chunk)
        return ()

    def take(self, room: int) -> Iterable[Chunk]:
        """Some of those that are next, as many as there is room for at most."""
        chunk = self.chunks.popleft()
        if room < len(chunk.values):
            self.chunks.appendleft(Chunk(chunk.values[room:], chunk.tokens[room:], (), chunk.attempt))
            chunk = Chunk(chunk.values[:room], chunk.tokens[:room], (), chunk.attempt)
        return (chunk,)

    def __len__(self) -> int:
        return len(self.chunks)


class _Crowd:
    """The most urgent is next."""

    def __init__(self, stage: Stage, priority: Callable[[Any], float]) -> None:
        self.slots = ByUrgency(stage, priority)

    def add(self, chunk: Chunk) -> Sequence[Failure]:
        return self.slots.add(chunk)[1]

    def take(self, room: int) -> Iterable[Chunk]:
        slots = [self.slots.take() for _ in range(min(room, len(self.slots)))]
        return together([Chunk([slot.value], (slot.token,), (), slot.attempt) for slot in slots])

    def __len__(self) -> int:
        return len(self.slots)
