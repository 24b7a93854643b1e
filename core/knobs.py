"""Settings that may change while a pipeline runs: their bounds, and what a step tells of how it does with them."""

from __future__ import annotations

from math import floor, isfinite, nan
from typing import Protocol, runtime_checkable

import msgspec

from warren.core.clock import Clock
from warren.core.errors import GraphError

__all__ = ["Dial", "Knob", "Setting"]


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


class Dial:
    """A setting that is turned by hand: ``value`` may be set while the pipeline runs, within the bounds of the knob.

    What is under way goes on; a step takes the new number with its next message or the end of its next call. Raises
    `GraphError` for a value out of bounds, and stays as it is.

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
