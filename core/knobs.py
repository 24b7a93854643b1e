"""Settings that may change while a pipeline runs: their bounds, and what a step tells of how it does with them."""

from __future__ import annotations

from array import array
from math import floor, isfinite, nan
from typing import Any, Protocol, runtime_checkable

import msgspec

from warren.core.clock import Clock
from warren.core.errors import GraphError

__all__ = ["EVERY", "Calls", "Dial", "Knob", "Setting", "Together"]

EVERY = 0.005
"""Seconds for which calls are told together, so that telling costs little however many there are."""


class Knob(msgspec.Struct, frozen=True):
    """A whole number that may be turned: from ``low`` to ``high``, and ``start`` where nothing else is known.

    Raises `GraphError` unless 1 ≤ low ≤ start ≤ high.

    >>> Knob("concurrency", 1, 64, start=16).clip(99.7)
    64
    """

    name: str
    low: int
    high: int
    start: int

    def __post_init__(self) -> None:
        numbers = (self.low, self.start, self.high)
        if any(not isinstance(number, int) or isinstance(number, bool) for number in numbers):
            raise GraphError(f"Knob({self.name!r}): low, high and start are whole numbers, not {numbers}")
        if not 1 <= self.low <= self.start <= self.high:
            raise GraphError(
                f"Knob({self.name!r}): 1 <= low <= start <= high does not hold for {self.low}, {self.start}, {self.high}"
            )

    def clip(self, value: float) -> int:
        """The nearest whole number within the bounds; ``start`` for what is no number."""
        if not isfinite(value):
            return self.start
        return min(max(floor(value + 0.5), self.low), self.high)


@runtime_checkable
class Setting(Protocol):
    """What a step may take in place of a number: it reads ``value`` whenever it needs it, and tells how each call went."""

    knob: Knob

    @property
    def value(self) -> int:
        """The number that holds now, within the bounds of the knob."""
        ...

    def open(self, clock: Clock) -> None:
        """A run begins, with this clock."""
        ...

    def ended(self, seconds: float, success: bool, *, in_flight: float = nan, count: int = 1) -> None:
        """A call with so many messages has ended after so many seconds.

        ``in_flight`` is told where the setting bounds it: how many there were, itself among them.
        """
        ...


class Calls:
    """Tells a setting of the calls of one step: of all that end within 5 ms together, if it is `Together`.

    The step adds each call that ended: its seconds to ``took``, or to ``failed`` where it failed, how many were in flight to
    ``flying``; and it keeps when the first of them ended. Once `EVERY` has passed since the ``last`` time, it tells them.
    """

    __slots__ = ("_setting", "_together", "failed", "first", "flying", "last", "took")

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._together = isinstance(setting, Together)
        self.took = array("d")
        self.failed = array("d")
        self.flying = 0
        self.first = self.last = 0.0

    def tell(self, now: float) -> None:
        """Tell the setting of all until now, and begin anew."""
        took, failed, setting = self.took, self.failed, self._setting
        self.last = now
        if self._together:
            setting.ended_together(self)  # type: ignore[attr-defined]  # that is what the check has shown
        else:
            for each, success in (*((each, True) for each in took), *((each, False) for each in failed)):
                setting.ended(each, success, in_flight=self.flying / (len(took) + len(failed)))
        del took[:], failed[:]
        self.flying = 0


@runtime_checkable
class Together(Protocol):
    """A `Setting` that can be told of many calls at once, which costs less than one after another."""

    def ended_together(self, calls: Calls) -> Any:
        """So many calls with one message each have ended; what they hold is another's after this."""
        ...


class Dial:
    """A setting that is turned by hand: ``value`` may be set while the pipeline runs, within the bounds of the knob.

    What is under way goes on; a step takes the new number with its next message, or with the end of a call
    5 ms later. Raises `GraphError` for a value out of bounds, and stays as it is.

    >>> dial = Dial(Knob("concurrency", 1, 64, start=16))
    >>> dial.value = 32
    """

    def __init__(self, knob: Knob) -> None:
        self.knob = knob
        self._value = knob.start

    @property
    def value(self) -> int:
        """The number that holds now."""
        return self._value

    @value.setter
    def value(self, value: int) -> None:
        knob = self.knob
        if isinstance(value, bool) or not isinstance(value, int) or not knob.low <= value <= knob.high:
            raise GraphError(f"Dial({knob.name!r}): {value!r} is no whole number from {knob.low} to {knob.high}")
        self._value = value

    def open(self, clock: Clock) -> None:
        """A run begins; the value stays."""

    def ended(self, seconds: float, success: bool, *, in_flight: float = nan, count: int = 1) -> None:
        """A call has ended, which changes nothing."""

    def ended_together(self, calls: Calls) -> None:
        """Nor do many."""
