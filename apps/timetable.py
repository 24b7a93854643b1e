"""When something is due again and again, by the clocks on the wall, and a loop that does it then."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as Time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError

__all__ = ["Stop", "Timetable", "keep"]

_DAY = 86_400.0


class Timetable:
    """Every so often: from now on, or at a time of the day in a time zone.

    Days are those of the wall: at 06:00 it is six also where clocks changed in the night. A time that a spring leaves out
    is due when the clocks have jumped, and one that an autumn repeats is due once, the first time. Lengths below a day are
    counted from that time of each day. Raises `GraphError` where the texts say something else.

    >>> daily = Timetable("1d", "06:00", "Europe/Berlin")
    >>> str(daily.following(datetime(2026, 3, 28, 12, tzinfo=UTC)))
    '2026-03-29 04:00:00+00:00'
    """

    def __init__(self, every: Duration, at: str | None = None, zone: str = "UTC") -> None:
        self.every = seconds(every)
        if self.every < 1:
            raise GraphError(f"--every {every}: give a second at least, such as '1d'")
        try:
            self.zone = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise GraphError(f"{zone!r} is no time zone; write one such as 'Europe/Berlin'") from error
        self.at: Time | None = None
        if at is None:
            return
        try:
            self.at = Time.fromisoformat(at)
        except ValueError as error:
            raise GraphError(f"--at {at}: write a time of the day such as '06:00'") from error
        if self.at.tzinfo is not None:
            raise GraphError(f"--at {at}: give the time zone with --zone")
        if self.every > _DAY and self.every % _DAY:
            raise GraphError(f"--every {every} --at {at}: give whole days, or less than one")

    def following(self, moment: datetime, last: datetime | None = None) -> datetime:
        """The first due time after a moment; ``last`` is the due time before, from which several days are counted."""
        if self.at is None:
            start = last or moment
            return start + timedelta(seconds=self.every * ((moment - start).total_seconds() // self.every + 1))
        day = moment.astimezone(self.zone).date()
        if self.every < _DAY:
            times = [
                each for start in (day - timedelta(days=1), day, day + timedelta(days=1)) for each in self._within(start)
            ]
            return min(each for each in times if each > moment)
        step = timedelta(days=self.every / _DAY if last is not None else 1)
        found = last.astimezone(self.zone).date() if last is not None else day
        while self._on(found) <= moment:
            found += step
        return self._on(found)

    def _on(self, day: date) -> datetime:
        assert self.at is not None
        return datetime.combine(day, self.at, self.zone).astimezone(UTC)

    def _within(self, day: date) -> list[datetime]:
        """The due times from that time of a day to that of the next."""
        start, end = self._on(day), self._on(day + timedelta(days=1))
        count = -int(-((end - start).total_seconds() / self.every) // 1)
        return [start + timedelta(seconds=self.every * each) for each in range(count)]


class Stop:
    """Waits, unless it is asked to stop; a signal handler that takes note and lets the present work end."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, *_: object) -> None:
        self.asked = True

    def wait(self, length: float) -> bool:
        """Wait so many seconds, less where it is asked to stop; whether it was."""
        end = time.monotonic() + length
        # In slices: a system call goes on after a signal whose handler only takes note.
        while not self.asked and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
        return self.asked


def keep(
    timetable: Timetable,
    work: Callable[[], None],
    *,
    clock: Callable[[], float] = time.time,
    wait: Callable[[float], bool],
    told: Callable[[datetime], None] = lambda due: None,
) -> None:
    """Do the work each time it is due, until ``wait`` says that it was asked to stop.

    However many times were missed, asleep or at work, it is done once, and then when it is next due. Without a time of the
    day it is done at once first. ``told`` is told when it is due next. What ``work`` raises ends the loop.
    """

    def now() -> datetime:
        return datetime.fromtimestamp(clock(), UTC)

    last = now() if timetable.at is None else None
    if last is not None:
        if wait(0):
            return
        work()
    while True:
        due = timetable.following(now(), last)
        told(due)
        # A minute at most, so that a clock that was set or a machine that slept is noticed.
        while (left := (due - now()).total_seconds()) > 0:
            if wait(min(left, 60.0)):
                return
        if wait(0):
            return
        work()
        last = due
