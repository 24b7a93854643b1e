"""Time: durations people can read, and clocks that tests can turn."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

from warren.core.errors import GraphError

__all__ = ["Clock", "Duration", "seconds"]

Duration: TypeAlias = "str | float | timedelta"
"""A length of time: ``"200ms"``, ``"1.5s"``, ``"10m"``, ``"1h30m"``, ``"7d"``, a number of seconds, or a timedelta."""

Clock: TypeAlias = Callable[[], float]
"""Tells the time in seconds since 1970."""

system: Clock = time.time

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w)\s*")


def seconds(duration: Duration) -> float:
    """A duration in seconds.

    Raises `GraphError` where it is not a duration or is negative.

    >>> seconds("1h30m"), seconds("200ms"), seconds(timedelta(days=1))
    (5400.0, 0.2, 86400.0)
    """
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, str):
        position, value = 0, 0.0
        text = duration.strip()
        while match := _PART.match(text, position):
            value += float(match[1]) * _UNITS[match[2]]
            position = match.end()
        if position != len(text) or not text:
            raise GraphError(f"{duration!r} is not a duration: write a number and a unit, such as '200ms', '5s' or '1h30m'")
    elif isinstance(duration, int | float) and not isinstance(duration, bool):
        value = float(duration)
    else:
        raise GraphError(f"{duration!r} is not a duration: give a text such as '5s', a number of seconds or a timedelta")
    if not value >= 0:
        raise GraphError(f"{duration!r} is not a duration: it must not be negative")
    return value
