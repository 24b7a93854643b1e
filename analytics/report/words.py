"""Figures as people read them, the same on the page, on paper and in the terminal."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from warren.analytics.report.contents import Headroom, Queue, Report

__all__ = ["date", "length", "limited_by", "moment", "number", "part", "rate", "runs_out", "state", "verdict"]

_LENGTHS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
NONE = "–"


def number(value: float | None) -> str:
    """Three digits that count, and thousands apart.

    >>> number(1234.5), number(0.01234), number(12.0)
    ('1,234', '0.0123', '12')
    """
    if value is None:
        return NONE
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def rate(value: float | None) -> str:
    """Messages in the unit of time that gives a readable number.

    >>> rate(12.0), rate(0.02)
    ('12/s', '72/h')
    """
    if value is None:
        return NONE
    return f"{number(value)}/s" if value >= 1 or value == 0 else f"{number(value * 3600)}/h"


def part(value: float | None) -> str:
    """A share in per cent.

    >>> part(0.1234), part(0.99), part(0.99996)
    ('12.3 %', '99 %', '>99.9 %')
    """
    if value is None:
        return NONE
    return ">99.9 %" if 0.9995 <= value < 1 else f"{100 * value:.3g} %"


def length(seconds: float | None) -> str:
    """A time in its largest unit.

    >>> length(7200), length(0.05), length(0)
    ('2 h', '50 ms', '0 s')
    """
    if seconds is None:
        return NONE
    for unit, name in _LENGTHS:
        if seconds >= unit:
            return f"{number(seconds / unit)} {name}"
    return "0 s"


def moment(at: datetime | None, zone: str) -> str:
    """Day and time by the clocks of a zone."""
    return NONE if at is None else f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def date(at: datetime | None, zone: str) -> str:
    """The day in a zone."""
    return NONE if at is None else f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d}"


def runs_out(headroom: Headroom | None, made: datetime, zone: str) -> str:
    """When capacity runs out, with the interval, as a few words."""
    if headroom is None:
        return "unknown"
    if headroom.share <= 0:
        return "has run out"
    if headroom.yearly is None:
        return "unknown: less than four weeks recorded"
    # Beyond some years a date says no more than that.
    if headroom.at is None or (headroom.at - made).days > 5 * 365:
        near = headroom.earliest is not None and (headroom.earliest - made).days <= 5 * 365
        return f"not in sight; {date(headroom.earliest, zone)} at the earliest" if near else "not in sight"
    late = date(headroom.latest, zone) if headroom.latest else "never"
    return f"{date(headroom.at, zone)} ({date(headroom.earliest, zone)} to {late})"


def limited_by(queue: Queue) -> str:
    """The stage that limits it, or that would first."""
    told = queue.bottleneck
    return NONE if told is None else told.stage if told.limits else f"{told.stage}, not yet"


def state(queue: Queue, report: Report) -> str:
    """``"out"``, ``"soon"`` within the horizon, ``"well"``, or ``"unknown"``."""
    if queue.headroom is None:
        return "unknown"
    if queue.headroom.share <= 0:
        return "out"
    early = queue.headroom.at
    return "soon" if early is not None and (early - report.made).total_seconds() <= report.horizon else "well"


def verdict(queue: Queue, report: Report) -> str:
    """The most important thing about a queue, as a sentence."""
    told = queue.headroom
    if told is None:
        return "What it can take is not known; the reasons are below."
    can = f"{queue.consumers} consumer(s) take {rate(told.capacity)} within the target; busy hours have {rate(told.busy)}."
    if told.share <= 0:
        return f"Capacity has run out. {can}"
    left = f"{part(told.share)} of the capacity is free in busy hours."
    if told.yearly is None:
        return f"{left} {can} When it runs out is known once four weeks are recorded."
    return f"{left} {can} At {told.yearly:+.0%} a year the date it runs out: {runs_out(told, report.made, report.zone)}."
