from __future__ import annotations

import pytest

from warren.core.errors import GraphError
from warren.core.knobs import Dial, Knob, Setting


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
