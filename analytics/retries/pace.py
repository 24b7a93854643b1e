"""How fast retries may go: `Pace` gives them moments, `Rate` and `Rates` count, `Pulse` tells when nothing succeeds."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf

__all__ = ["Pace", "Pulse", "Rate", "Rates"]

_MEMORY = 24
_KEEP = 1 - 1 / _MEMORY
_TARGET = 0.35
_CROWDED = 0.2
_SPAN, _SHORT = 2.0, 0.1
_KNOWN, _BEATS, _ROW, _MANY = 8, 10, 30, 100
_MOMENT, _STEP = 0.1, 0.002


class Rate:
    """How many a second there were over the last seconds; what is older fades."""

    def __init__(self, sum: float = 0.0, at: float = -inf) -> None:
        self.sum = sum
        self.at = at

    def add(self, count: float, now: float) -> None:
        """Count some more."""
        self.sum = self.now(now) * _SPAN + count
        self.at = max(self.at, now)

    def now(self, now: float) -> float:
        """How many a second."""
        return self.sum * exp(min(0.0, self.at - now) / _SPAN) / _SPAN if self.sum else 0.0

    def state(self) -> list[float]:
        """What `Rate` takes."""
        return [self.sum, self.at]


class Rates:
    """How many a second there were over the last two seconds, or as many as have passed; what is older fades."""

    def __init__(self) -> None:
        self._fresh = self._good = self._again = 0.0
        self._span = _SHORT
        self._at = -inf

    def fade(self, now: float) -> None:
        """Let time pass, a few milliseconds at once; to be called before anything is looked at or counted."""
        if now - self._at < _STEP:
            return
        if self._at == -inf:
            self._at = now
        else:
            keep = exp((self._at - now) / _SPAN)
            self._fresh *= keep
            self._good *= keep
            self._again *= keep
            self._span = keep * self._span + (1 - keep) * _SPAN
            self._at = now

    def tried(self, count: int) -> None:
        """So many messages were tried for the first time."""
        self._fresh += count

    def succeeded(self, count: int, *, again: bool = False) -> None:
        """So many attempts succeeded."""
        self._good += count
        if again:
            self._again += count

    @property
    def fresh(self) -> float:
        """Messages at their first attempt."""
        return self._fresh / self._span

    @property
    def good(self) -> float:
        """All successes."""
        return self._good / self._span

    @property
    def again(self) -> float:
        """Retries that succeeded."""
        return self._again / self._span

    def state(self) -> list[float]:
        """What `restore` takes over."""
        return [self._fresh, self._good, self._again, self._span, self._at]

    def restore(self, state: Sequence[float]) -> None:
        """Take over what `state` gave."""
        self._fresh, self._good, self._again, self._span, self._at = map(float, state)
        if not self._span > 0:
            raise ValueError(f"{self._span} s are no time")


class Pulse:
    """Tells when nothing succeeds any more: thirty failures in a row, for as long as ten usual pauses between successes.

    >>> pulse = Pulse()
    >>> for i in range(10):
    ...     pulse.good(i / 10)
    >>> for i in range(30):
    ...     pulse.bad(60.0)
    >>> pulse.stopped(60.0), pulse.stopped(63.0)
    (False, True)
    """

    def __init__(self) -> None:
        self._last = 0.0
        self._pause = 0.0
        self._seen = 0.0
        self._begun = 0.0
        self._beats = 0
        self._row = 0
        self._first = 0.0

    def good(self, now: float) -> None:
        """Something succeeded."""
        self._row = 0
        pause = now - self._last
        if not self._beats:
            self._beats, self._last, self._begun = 1, now, now
        elif pause >= _STEP:  # shorter ones tell of no stop
            if self._beats > _KNOWN:  # one stop does not make long pauses usual
                pause = min(pause, max(5 * self._pause, self._seen))
            # Weighed by how long it is: of messages that come together, the pauses between them say nothing.
            self._seen += pause
            self._pause += (pause - self._pause) * pause / max(pause, min(self._seen, _MANY * self._pause))
            self._beats += 1
            self._last = now

    def bad(self, now: float) -> None:
        """Something failed."""
        if not self._row:
            self._first = now
        self._row += 1

    def stopped(self, now: float) -> bool:
        """Whether nothing succeeds any more."""
        if self._row < _ROW or self._beats < _KNOWN:
            return False
        # What is known since a moment ago may be of one chunk.
        least = min((now - self._begun) / 10, _MOMENT)
        return now - self._first > max(_BEATS * self._pause, least)

    def state(self) -> list[float]:
        """What `restore` takes over."""
        return [self._last, self._pause, self._seen, self._begun, self._first, self._beats, self._row]

    def restore(self, state: Sequence[float]) -> None:
        """Take over what `state` gave."""
        self._last, self._pause, self._seen, self._begun, self._first = map(float, state[:5])
        self._beats, self._row = map(int, state[5:])


class Pace:
    """Gives each retry the next free moment, ``1 / rate`` seconds after the one before.

    Whatever limits how many retries succeed (a contended record, a service that is short of capacity), sending them much
    faster than they succeed only adds calls. So the rate is about three times what succeeded in the time that was given
    away: where one call in three succeeds, hardly any time is left unused. What was long ago fades.

    >>> pace = Pace(10.0)
    >>> [pace.take(0.0, 0.1, 10.0) for _ in range(3)]
    [0.0, 0.1, 0.2]
    >>> for i in range(100):
    ...     pace.ended(i % 4 == 0, 0.1)
    >>> 6 < pace.rate < 8
    True
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.free = -inf
        self._good = _TARGET * _MEMORY
        self._given = _MEMORY / rate
        self._turns = 0.0

    def take(self, now: float, least: float, most: float) -> float:
        """Seconds until the moment that a retry is given; the rate is kept between ``least`` and ``most``."""
        rate, free = self.rate, self.free
        if rate < least:
            rate = least
        if rate > most:
            rate = most
        if free < now:
            free = now
        self.rate = rate
        self.free = free + 1 / rate
        return free - now

    @property
    def crowded(self) -> bool:
        """Whether retries had to wait for their turn lately, and then succeeded: none has to wait any longer than that."""
        return self._turns > _CROWDED

    def ended(self, ok: bool, gap: float, queued: bool = False) -> None:
        """Learn what became of a retry that was given ``gap`` seconds, and whether it had waited for its turn."""
        self._good = _KEEP * self._good + ok
        self._given = _KEEP * self._given + gap
        self._turns = _KEEP * self._turns + (ok and queued) / _MEMORY
        self.rate = self._good / self._given / _TARGET

    def state(self) -> list[float]:
        """What `restore` takes over."""
        return [self.rate, self.free, self._good, self._given, self._turns]

    def restore(self, state: Sequence[float]) -> None:
        """Take over what `state` gave."""
        self.rate, self.free, self._good, self._given, self._turns = map(float, state)
