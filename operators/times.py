"""The event times that a function of the user tells, and how errors show them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from typing import Any

from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.errors import HandlerError, shorten
from warren.core.stage import Stage
from warren.operators.keys import answers

__all__ = ["iso", "times_of"]


def times_of(
    stage: Stage, time: Callable[[Any], float | datetime], chunk: Chunk
) -> tuple[list[float], Chunk, list[Failure]]:
    """The times of a chunk in seconds since 1970, the part of it that has one, and the failures of the others."""
    times, chunk, failures = answers(stage, time, chunk)
    if not _sound(times):
        times, errors = apply_each(partial(_seconds, stage), times)
        chunk = stage.without(chunk, errors)
        failures += chunk.failures
        chunk.failures = ()
    return times, chunk, failures


def _sound(times: list[Any]) -> bool:
    try:
        return set(map(type, times)) <= {int, float} and isfinite(sum(times))
    except OverflowError:
        return False


def _seconds(stage: Stage, time: Any) -> float:
    if isinstance(time, datetime):
        if time.tzinfo is not None:
            return time.timestamp()
        problem, remedy = "has no time zone", "add one, such as .replace(tzinfo=UTC)"
    elif isinstance(time, int | float) and not isinstance(time, bool):
        if isfinite(time):
            return time
        problem, remedy = "is no point in time", "filter such values out before"
    else:
        problem, remedy = "is no time", "answer with seconds since 1970 or a datetime with a time zone"
    raise HandlerError(f"{stage}: time= answered {shorten(time)}, which {problem}; {remedy}")


def iso(time: float) -> str:
    """A time as a text.

    >>> iso(0.5)
    '1970-01-01T00:00:00.500000Z'
    """
    try:
        return datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, OSError, ValueError):
        return f"{time:g}s"
