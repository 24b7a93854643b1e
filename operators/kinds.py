"""The kinds of windows: tumbling, hopping, session, and by count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError
from warren.core.receipt import Ledger
from warren.operators.spans import Aligned, Counted, OpenWindows, Sessions

if TYPE_CHECKING:
    from warren.operators.figures import Accumulator

__all__ = ["Kind", "counted", "hopping", "session", "tumbling"]


class Kind:
    """A kind of window; made by `tumbling`, `hopping`, `session` or `count`. ``counts``: of so many values, not of time."""

    def __init__(self, name: str, size: float, every: float | None, counts: bool = False) -> None:
        self.name = name
        self.size = size
        self.every = every
        self.counts = counts

    @property
    def joins(self) -> bool:
        """Whether two windows may become one."""
        return self.every is None and not self.counts

    def open(self, ledger: Ledger, figures: Accumulator | None = None) -> OpenWindows:
        """Start with no window open. With ``figures`` a window has the state of these in place of its values."""
        if self.counts:
            return Counted(int(self.size), int(self.every or self.size), ledger, figures)
        if self.every is None:
            return Sessions(self.size, figures)
        return Aligned(self.size, self.every, ledger, figures)

    def __repr__(self) -> str:
        """How it is written."""
        return self.name


def tumbling(size: Duration) -> Kind:
    """Windows of equal length that follow each other, counted from 1970 in UTC: `tumbling("1h")` starts on the hour.

    Raises `GraphError` where ``size`` is not a duration above zero.

    >>> tumbling("1h30m")
    tumbling(1h30m)
    """
    length = _positive("tumbling", size)
    return Kind(f"tumbling({size})", length, length)


def hopping(size: Duration, every: Duration) -> Kind:
    """Windows of length ``size``, one starting ``every`` so often, counted from 1970 in UTC; a value is in several.

    Raises `GraphError` where these are not durations above zero, or ``every`` exceeds ``size``.

    >>> hopping("1h", every="15m")
    hopping(1h, every 15m)
    """
    length, step = _positive("hopping", size), _positive("hopping", every)
    if step > length:
        raise GraphError(f"hopping({size!r}, {every!r}): values between two windows would be in none; use every <= size")
    return Kind(f"hopping({size}, every {every})", length, step)


def session(gap: Duration) -> Kind:
    """Windows that end when nothing came for ``gap``; one lasts from its first value until ``gap`` after its last.

    Raises `GraphError` where ``gap`` is not a duration above zero.

    >>> session("10m")
    session(10m)
    """
    return Kind(f"session({gap})", _positive("session", gap), None)


def counted(size: int, every: int | None = None) -> Kind:
    """What `count` makes of a number."""
    for each in (size, size if every is None else every):
        if not isinstance(each, int) or isinstance(each, bool) or each < 1:
            raise GraphError(f"count({each!r}): give how many values make a window, a whole number of at least 1")
    if every is None:
        return Kind(f"count({size})", size, None, True)
    if every > size:
        raise GraphError(f"count({size}, every={every}): values between two windows would be in none; use every <= size")
    return Kind(f"count({size}, every {every})", size, every, True)


def _positive(kind: str, duration: Duration) -> float:
    length = seconds(duration)
    if length == 0:
        raise GraphError(f"{kind}({duration!r}): a window must be longer than 0")
    return length
