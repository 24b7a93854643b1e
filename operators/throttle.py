"""throttle: at most so many values per period."""

from __future__ import annotations

from collections import deque
from typing import Any, TypeVar

from warren.core.chunk import Chunk
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, shorten
from warren.core.graph import Operator
from warren.core.stage import Handler, Stage

__all__ = ["Throttle", "throttle"]

T = TypeVar("T")

_TICK = 1e-6  # virtual schedulers round to microseconds, so a timer may fire that much early


class Throttle(Operator[T, T]):
    """Delays values so that at most so many pass per period; made by `throttle`."""

    def __init__(self, rate: int, per: Duration = "1s", burst: int | None = None) -> None:
        period = seconds(per)
        if not isinstance(rate, int) or isinstance(rate, bool) or rate < 1:
            raise GraphError(
                f"throttle cannot let {shorten(rate)} values pass: give a whole number from 1, "
                "and a longer per= for less than one a second"
            )
        if not period:
            raise GraphError("throttle needs a period longer than 0s: per='1s', for instance")
        if burst is not None and (not isinstance(burst, int) or isinstance(burst, bool) or not 1 <= burst <= rate):
            raise GraphError(f"throttle cannot let a burst of {shorten(burst)} pass: give a whole number from 1 to {rate}")
        self._per = per
        self._rate = rate
        self._burst = rate if burst is None else burst
        self._span = period * self._burst / rate

    @property
    def name(self) -> str:
        """``throttle(100 per 1s)``."""
        return f"throttle({self._rate} per {self._per})"

    @property
    def guarantee(self) -> str:
        """Values wait, in order."""
        return "delays, never drops"

    def attach(self, stage: Stage) -> Handler:
        """Start in one running pipeline."""
        clock = stage.run.clock
        waiting: deque[Chunk] = deque()
        # When how many values passed, in the last span.
        passed: deque[tuple[float, int]] = deque()
        free = self._burst
        timer = False

        def refill(now: float) -> None:
            nonlocal free
            while passed and passed[0][0] + self._span <= now + _TICK:
                free += passed.popleft()[1]

        def take(now: float, count: int) -> None:
            nonlocal free
            free -= count
            passed.append((now, count))

        def release() -> None:
            nonlocal timer
            now = clock()
            refill(now)
            while waiting and free:
                chunk = waiting[0]
                count = min(free, len(chunk))
                if count == len(chunk):
                    waiting.popleft()
                else:
                    waiting[0] = Chunk(chunk.values[count:], chunk.tokens[count:], (), chunk.attempt)
                    chunk = Chunk(chunk.values[:count], chunk.tokens[:count], (), chunk.attempt)
                take(now, count)
                stage.emit(chunk)
            if waiting and not timer:
                timer = True
                stage.later(max(0.0, passed[0][0] + self._span - now), wake, busy=True)

        def wake() -> None:
            nonlocal timer
            timer = False
            release()

        def handle(chunk: Chunk) -> Chunk | None:
            now = clock()
            refill(now)
            if not waiting and len(chunk) <= free:
                take(now, len(chunk))
                return chunk
            waiting.append(chunk)
            release()
            return None

        return handle


def throttle(rate: int, per: Duration = "1s", *, burst: int | None = None) -> Operator[Any, Any]:
    """Let at most ``rate`` values pass in any ``per`` of time; delay the others, in order.

    ``burst`` is how many may pass at once; by default all ``rate`` of them. With ``burst=1`` they are spaced evenly.

    Delivery: nothing is dropped. What waits holds its credit, so the source is slowed down. A shutdown lets what waits pass
    at the same pace, within its deadline.

    Raises `GraphError` where ``rate`` or ``burst`` is not a whole number from 1, ``burst`` is above ``rate``, or ``per`` is
    not a duration above zero.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import throttle
    >>> Pipeline("slow", memory.queue("in") | throttle(2, per="1m") | memory.queue("out")).test([1, 2, 3, 4, 5])
    [1, 2, 3, 4, 5]
    """
    return Throttle(rate, per, burst)
