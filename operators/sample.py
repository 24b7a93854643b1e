"""`sample`: the newest value of each period."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import floor
from typing import Any, TypeVar, overload

from warren.core.chunk import Chunk
from warren.core.clock import Duration
from warren.core.graph import Operator
from warren.core.stage import Stage
from warren.operators.holding import Alarm, Newest, Thinned

__all__ = ["sample"]

T = TypeVar("T")


@overload
def sample(every: Duration, *, by: None = None) -> Operator[Any, Any]: ...
@overload
def sample(every: Duration, *, by: Callable[[T], Hashable]) -> Operator[T, T]: ...
def sample(every: Duration, *, by: Callable[[Any], Hashable] | None = None) -> Operator[Any, Any]:
    """Pass on the newest value of each period, at its end; the others are settled.

    Periods follow each other from the first value on; one without a value gives nothing. With ``by``, the newest of each
    key goes on, in the order these came. When the pipeline drains, what is held goes on.

    Keeps the delivery guarantee: a value that another replaces is acknowledged at once, as filtered; the one that waits
    holds its credit. A message whose key cannot be told fails.

    Raises `GraphError` where ``every`` is no duration above zero or ``by`` is no function of one value.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> Pipeline("latest", memory.items([]) | sample("1m") | memory.into([])).test([20.1, 20.3, 20.2]).values
    [20.2]
    """
    return Thinned("sample", every, by, _Periods)


class _Periods:
    def __init__(self, every: float, newest: Newest, stage: Stage) -> None:
        self.every = every
        self.newest = newest
        self.alarm = Alarm(stage, self.ring)
        self.start: float | None = None
        stage.run.on_flush(self.flush)

    def take(self, chunk: Chunk) -> Chunk | None:
        now = self.alarm.now()
        if self.start is None:
            self.start = now
        if self.alarm.due <= now:
            # The period has ended, even if the timer that says so comes after this.
            self.flush()
        failures = self.newest.add(chunk, now)
        if self.newest.held:
            self.alarm.set(self.start + self.every * (floor((now - self.start) / self.every) + 1))
        return Chunk([], (), failures) if failures else None

    def ring(self, now: float) -> None:
        self.newest.give()

    def flush(self) -> None:
        self.alarm.clear()
        self.newest.give()
