"""When something was true, as detectors are told it: seconds, datetimes, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from warren.core.errors import GraphError, ValidationError, shorten

__all__ = ["At", "hour_of", "moments", "zone_of"]

At: TypeAlias = "float | datetime | np.datetime64 | None"
"""Seconds since 1970, a datetime with or without a zone, or ``None`` where nobody knows."""


def zone_of(name: str | None) -> ZoneInfo | None:
    """The time zone of that name. Raises `GraphError` where there is none.

    >>> zone_of("Europe/Berlin")
    zoneinfo.ZoneInfo(key='Europe/Berlin')
    """
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        raise GraphError(f"zone={name!r} is no time zone; name one such as 'Europe/Berlin'") from error


def hour_of(at: At, zone: ZoneInfo | None) -> int | None:
    """The hour of the day, by the clock on the wall of a zone; UTC without one. A datetime without a zone is such a clock.

    >>> hour_of(0, zone_of("America/New_York"))
    19
    """
    if at is None:
        return None
    if isinstance(at, datetime):
        return (at if zone is None or at.tzinfo is None else at.astimezone(zone)).hour
    try:
        if isinstance(at, np.datetime64):
            if np.isnat(at):
                return None
            at = float(at.astype("datetime64[us]").astype(np.int64)) / 1e6
        if zone is None:
            return int(at // 3600 % 24)
        return datetime.fromtimestamp(at, zone).hour
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise ValidationError(f"{shorten(at)} is no time; give seconds since 1970, a datetime or None") from error


def moments(at: Iterable[At] | None, count: int) -> Iterable[At]:
    """One time for each of so many values. Raises `ValidationError` where there are fewer or more."""
    if at is None:
        return repeat(None, count)
    listed: Sequence[Any]
    if isinstance(at, np.ndarray):
        # Nanoseconds would become plain integers.
        listed = (at.astype("datetime64[us]") if at.dtype.kind == "M" else at).tolist()
    else:
        listed = list(at)
    if len(listed) != count:
        raise ValidationError(f"there are {len(listed)} times for {count} values; give each value one")
    return listed
