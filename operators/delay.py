"""`delay`: each value goes on later."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, TypeVar, overload

from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, HandlerError, shorten
from warren.core.graph import Operator, name_of
from warren.core.stage import Handler, Stage
from warren.operators.holding import Alarm, together
from warren.operators.keys import check_function

__all__ = ["delay"]

T = TypeVar("T")


@overload
def delay(duration: Callable[[T], Duration]) -> Operator[T, T]: ...
@overload
def delay(duration: Duration) -> Operator[Any, Any]: ...
def delay(duration: Duration | Callable[[Any], Duration]) -> Operator[Any, Any]:
    """Let each value go on that much later, or as much as a function of it answers.

    A constant delay keeps the order; otherwise values leave when their time has come, those of one time in order.

    Keeps the delivery guarantee: nothing is dropped and nothing leaves early. What waits holds its credit, so long delays
    of many messages belong to the broker. When the pipeline drains it waits for them; what is not over within the
    shutdown's deadline goes back to its source. A message whose delay cannot be told fails.

    Raises `GraphError` where ``duration`` is neither a duration nor a function of one value.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> Pipeline("later", memory.items([]) | delay(lambda n: n * 60) | memory.into([])).test([3, 1, 2]).values
    [1, 2, 3]
    """
    if callable(duration):
        check_function(duration, "delay")
        return _Delay(duration)
    return _Delay(_length(duration))


def _length(duration: Any) -> float:
    length = seconds(duration)
    if length == inf:
        raise GraphError(f"delay({duration!r}): a delay must end; give a duration such as '5s'")
    return length


class _Delay(Operator[Any, Any]):
    passes = True

    def __init__(self, duration: float | Callable[[Any], Duration]) -> None:
        self.duration = duration

    @property
    def name(self) -> str:
        return f"delay({name_of(self.duration) if callable(self.duration) else f'{self.duration:g}s'})"

    @property
    def guarantee(self) -> str:
        return "delays, never drops"

    @property
    def holds(self) -> int | None:
        return None

    def attach(self, stage: Stage) -> Handler:
        duration, waiting = self.duration, _Waiting(stage)
        if callable(duration):
            return lambda chunk: waiting.each(chunk, duration)
        return lambda chunk: waiting.take(chunk, duration)


class _Waiting:
    """Chunks by the time they go on, those of one time in order."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        # Something will come of it by itself, so a drain waits for it instead of flushing.
        self.alarm = Alarm(stage, self.ring, busy=True)
        self.heap: list[tuple[float, int, Chunk]] = []
        self.number = count()

    def take(self, chunk: Chunk, length: float) -> None:
        due = self.alarm.now() + length
        heappush(self.heap, (due, next(self.number), chunk))
        self.alarm.set(due)

    def each(self, chunk: Chunk, duration: Callable[[Any], Duration]) -> Chunk | None:
        lengths, errors = apply_each(lambda value: self.length(duration(value), value), chunk.values)
        failures: list[Failure] = []
        if errors:
            failures = self.stage.failures(chunk, errors)
            chunk = chunk.select([i not in errors for i in range(len(chunk.values))])
        places: dict[float, list[int]] = {}
        for place, length in enumerate(lengths):
            places.setdefault(length, []).append(place)
        for length, some in places.items():
            if len(places) == 1:
                self.take(chunk, length)
            else:
                values, tokens = [chunk.values[i] for i in some], [chunk.tokens[i] for i in some]
                self.take(Chunk(values, tokens, (), chunk.attempt), length)
        return Chunk([], (), failures) if failures else None

    def length(self, answer: Any, value: Any) -> float:
        if inspect.iscoroutine(answer):
            answer.close()
            raise HandlerError(f"{self.stage}: the function answered with a coroutine for {shorten(value)}")
        try:
            return _length(answer)
        except GraphError as error:
            raise HandlerError(
                f"{self.stage}: the function answered {shorten(answer)} for {shorten(value)}: {error}"
            ) from error

    def ring(self, now: float) -> None:
        due: list[Chunk] = []
        while self.heap and self.heap[0][0] <= now:
            due.append(heappop(self.heap)[2])
        if self.heap:
            self.alarm.set(self.heap[0][0])
        for chunk in together(due):
            self.stage.emit(chunk)
