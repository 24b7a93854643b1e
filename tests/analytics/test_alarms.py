from __future__ import annotations

import copy

import pytest

from warren.analytics import Alarms
from warren.core.errors import GraphError


def test_one_incident_makes_one_alarm() -> None:
    alarms = Alarms(1.0, quiet=10, rise=0)
    assert [i for i in range(40) if alarms.step(5.0 if 5 <= i < 12 else 0.0)] == [5]
    assert [i for i in range(40) if alarms.step(5.0)] == [0, 11, 22, 33]


def test_each_alarm_raises_the_bar_which_sinks_again() -> None:
    alarms = Alarms(1.0, quiet=0, rise=0.5, half_life=10)
    assert [alarms.step(1.2), alarms.step(1.2), alarms.step(1.6)] == [True, False, True]
    assert next(i for i in range(60) if alarms.step(1.2)) in range(15, 30)


def test_the_threshold_itself_is_an_alarm_and_nan_is_none() -> None:
    assert Alarms(1.0).step(1.0)
    assert not Alarms(1.0).step(0.999)
    assert not Alarms(1.0).step(float("nan"))


def test_copies_go_on_alone() -> None:
    alarms = Alarms(1.0)
    twin = copy.deepcopy(alarms)
    assert alarms.step(2.0) and twin.step(2.0) and not alarms.step(2.0)


@pytest.mark.parametrize("settings", [{"threshold": 0}, {"quiet": -1}, {"rise": -1}, {"half_life": 0}])
def test_what_cannot_work_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(GraphError, match="must be above 0, the others not below"):
        Alarms(**{"threshold": 1.0, **settings})  # type: ignore[arg-type]
