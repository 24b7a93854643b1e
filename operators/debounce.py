"""`debounce`: wait for quiet, then pass on the newest value."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar, overload

from warren.core.chunk import Chunk
from warren.core.clock import Duration
from warren.core.graph import Operator
from warren.core.stage import Stage
from warren.operators.holding import Alarm, Newest, Thinned

__all__ = ["debounce"]

T = TypeVar("T")


@overload
def debounce(quiet: Duration, *, by: None = None) -> Operator[Any, Any]: ...
@overload
def debounce(quiet: Duration, *, by: Callable[[T], Hashable]) -> Operator[T, T]: ...
def debounce(quiet: Duration, *, by: Callable[[Any], Hashable] | None = None) -> Operator[Any, Any]:
    """Pass the newest value on once no other came for ``quiet``; those before it are settled.

    With ``by``, quiet is measured for each key by itself. The newest is the one that came last: a message that `retry`
    puts through again counts from then. When the pipeline drains, what is held goes on.

    Keeps the delivery guarantee: a value that another replaces is acknowledged at once, as filtered; the one that waits
    holds its credit. A message whose key cannot be told fails.

    Raises `GraphError` where ``quiet`` is no duration above zero or ``by`` is no function of one value.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> settled = debounce("1s", by=str.lower)
    >>> Pipeline("typed", memory.items([]) | settled | memory.into([])).test(["a", "b", "A", "A"]).values
    ['b', 'A']
    """
    return Thinned("debounce", quiet, by, _Quiet)


class _Quiet:
    def __init__(self, quiet: float, newest: Newest, stage: Stage) -> None:
        self.quiet = quiet
        self.newest = newest
        self.alarm = Alarm(stage, self.ring)
        stage.run.on_flush(self.flush)

    def take(self, chunk: Chunk) -> Chunk | None:
        now = self.alarm.now()
        if self.alarm.due <= now:
            # What had its quiet goes on, even if the timer that says so comes after this.
            self.ring(now)
        failures = self.newest.add(chunk, now)
        self.wait()
        return Chunk([], (), failures) if failures else None

    def ring(self, now: float) -> None:
        self.alarm.clear()
        self.newest.give(self.quiet, now)
        self.wait()

    def wait(self) -> None:
        # The first timer stays while others come: it finds out when it rings that there is more to wait for.
        if self.newest.held:
            self.alarm.set(next(iter(self.newest.held.values()))[0] + self.quiet)

    def flush(self) -> None:
        self.alarm.clear()
        self.newest.give()
