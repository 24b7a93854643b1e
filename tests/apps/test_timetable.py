from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from warren.apps.timetable import Stop, Timetable, keep
from warren.core.errors import GraphError


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def runs(table: Timetable, start: str, count: int) -> list[str]:
    moment, last, found = at(start), None, []
    for _ in range(count):
        last = moment = table.following(moment, last)
        found.append(f"{moment:%d %H:%M}")
    return found


def test_six_is_six_when_clocks_change() -> None:
    table = Timetable("1d", "06:00", "Europe/Berlin")
    assert runs(table, "2026-03-27T12:00", 3) == ["28 05:00", "29 04:00", "30 04:00"]
    assert runs(table, "2026-10-23T12:00", 3) == ["24 04:00", "25 05:00", "26 05:00"]


def test_a_time_that_spring_leaves_out_and_autumn_repeats_is_due_once() -> None:
    table = Timetable("1d", "02:30", "Europe/Berlin")
    assert runs(table, "2026-03-28T12:00", 2) == ["29 01:30", "30 00:30"]
    assert runs(table, "2026-10-24T12:00", 2) == ["25 00:30", "26 01:30"]


def test_parts_of_a_day_begin_at_that_time() -> None:
    assert runs(Timetable("6h", "06:00"), "2026-01-01T07:00", 4) == ["01 12:00", "01 18:00", "02 00:00", "02 06:00"]
    # The hour that autumn repeats has its own.
    table = Timetable("1h", "00:00", "Europe/Berlin")
    assert runs(table, "2026-10-24T23:30", 3) == ["25 00:00", "25 01:00", "25 02:00"]
    assert runs(Timetable("7h", "06:00"), "2026-01-01T19:00", 3) == ["01 20:00", "02 03:00", "02 06:00"]


def test_several_days_are_counted_from_the_last() -> None:
    assert runs(Timetable("7d", "06:00"), "2026-01-01T07:00", 3) == ["02 06:00", "09 06:00", "16 06:00"]
    table = Timetable("7d", "06:00")
    # Missed for three weeks: the next one is on the same weekday.
    assert table.following(at("2026-01-25T12:00"), at("2026-01-02T06:00")) == at("2026-01-30T06:00")


@pytest.mark.parametrize(
    ("every", "when", "zone", "sentence"),
    [
        ("0s", None, "UTC", "give a second at least"),
        ("soon", None, "UTC", "not a duration"),
        ("1d", "6", "UTC", "write a time of the day"),
        ("1d", "25:00", "UTC", "write a time of the day"),
        ("1d", "06:00+02:00", "UTC", "give the time zone with --zone"),
        ("36h", "06:00", "UTC", "give whole days, or less than one"),
        ("1d", "06:00", "Mars", "is no time zone"),
    ],
)
def test_what_is_no_timetable(every: str, when: str | None, zone: str, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        Timetable(every, when, zone)


class Clock:
    """Time that passes only while someone waits or works; ends after so many reports."""

    def __init__(self, start: str, reports: int) -> None:
        self.now = at(start).timestamp()
        self.reports = reports
        self.made: list[str] = []
        self.takes: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, length: float) -> bool:
        self.now += length
        return len(self.made) >= self.reports

    def work(self) -> None:
        self.made.append(f"{datetime.fromtimestamp(self.now, UTC):%d %H:%M}")
        self.now += self.takes.pop(0) if self.takes else 1.0


def test_it_is_done_when_it_is_due() -> None:
    clock = Clock("2026-03-28T12:00", 3)
    due: list[datetime] = []
    keep(Timetable("1d", "06:00", "Europe/Berlin"), clock.work, clock=clock, wait=clock.wait, told=due.append)
    assert clock.made == ["29 04:00", "30 04:00", "31 04:00"]
    assert due[0] == at("2026-03-29T04:00") and len(due) == 4


def test_without_a_time_it_is_done_at_once_first() -> None:
    clock = Clock("2026-01-01T12:34", 3)
    keep(Timetable("1h"), clock.work, clock=clock, wait=clock.wait)
    assert clock.made == ["01 12:34", "01 13:34", "01 14:34"]


def test_missed_times_are_done_once() -> None:
    clock = Clock("2026-01-01T00:00", 3)
    # The first takes until the afternoon of the fourth.
    clock.takes = [timedelta(days=3, hours=8).total_seconds()]
    keep(Timetable("1d", "06:00"), clock.work, clock=clock, wait=clock.wait)
    assert clock.made == ["01 06:00", "05 06:00", "06 06:00"]

    asleep = Clock("2026-01-01T00:00", 2)
    real = asleep.wait

    def sleep(length: float) -> bool:
        if asleep.now == at("2026-01-01T03:00").timestamp():
            asleep.now += timedelta(days=2, hours=9).total_seconds()
        return real(length)

    keep(Timetable("1d", "06:00"), asleep.work, clock=asleep, wait=sleep)
    assert asleep.made == ["03 12:01", "04 06:00"]


def test_a_clock_that_is_set_back_makes_it_wait() -> None:
    clock = Clock("2026-01-01T05:00", 2)
    real = clock.wait

    def wait(length: float) -> bool:
        if not clock.made and clock.now == at("2026-01-01T05:30").timestamp():
            clock.now -= 7200
        return real(length) if clock.now != at("2026-01-01T05:30").timestamp() - 7200 else real(7260)

    keep(Timetable("1d", "06:00"), clock.work, clock=clock, wait=wait)
    assert clock.made == ["01 06:00", "02 06:00"]


def test_it_stops_before_work_that_is_due() -> None:
    clock = Clock("2026-01-01T05:00", 0)
    keep(Timetable("1d", "06:00"), clock.work, clock=clock, wait=clock.wait)
    keep(Timetable("1d"), clock.work, clock=clock, wait=clock.wait)
    assert clock.made == []


def test_a_signal_ends_the_waiting() -> None:
    stop = Stop()
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        assert not stop.wait(0)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.wait(3600)
    finally:
        signal.signal(signal.SIGUSR1, before)
