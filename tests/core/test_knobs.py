from __future__ import annotations

import pytest

from warren.core.clock import Clock
from warren.core.errors import GraphError
from warren.core.knobs import Calls, Dial, Knob, Setting


def test_a_dial_is_a_setting_that_holds_what_it_is_turned_to() -> None:
    dial = Dial(Knob("concurrency", 2, 8, start=4))
    assert isinstance(dial, Setting) and dial.value == 4
    dial.value = 8
    dial.open(lambda: 0.0)
    dial.ended(0.1, True)
    assert dial.value == 8


@pytest.mark.parametrize("value", [1, 9, 4.0, True, float("nan"), None])
def test_a_dial_is_not_turned_out_of_its_bounds(value: int) -> None:
    dial = Dial(Knob("concurrency", 2, 8, start=4))
    with pytest.raises(GraphError, match="no whole number from 2 to 8"):
        dial.value = value
    assert dial.value == 4


class Told:
    """A setting that is told of calls one by one, or in the class below of many together."""

    knob = Knob("concurrency", 2, 8, start=4)
    value = 4

    def __init__(self) -> None:
        self.told: list[tuple[float, bool, float]] = []

    def open(self, clock: Clock) -> None: ...

    def ended(self, seconds: float, success: bool, *, in_flight: float = 0.0, count: int = 1) -> None:
        self.told.append((seconds, success, in_flight))


class ToldTogether(Told):
    def ended_together(self, calls: Calls) -> None:
        self.told += [(seconds, True, calls.flying) for seconds in calls.took]
        self.told += [(seconds, False, calls.first) for seconds in calls.failed]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (Told(), [(0.1, True, 2.0), (0.3, True, 2.0), (0.2, False, 2.0)]),
        (ToldTogether(), [(0.1, True, 6), (0.3, True, 6), (0.2, False, 7.0)]),
    ],
)
def test_calls_that_ended_are_told_once(setting: Told, told: list[tuple[float, bool, float]]) -> None:
    calls = Calls(setting)
    calls.first = 7.0
    calls.took.extend([0.1, 0.3])
    calls.failed.append(0.2)
    calls.flying += 6
    calls.tell(7.5)
    assert setting.told == told
    assert (len(calls.took), len(calls.failed), calls.flying, calls.last) == (0, 0, 0, 7.5)
