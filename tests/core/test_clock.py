from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.core.clock import seconds
from warren.core.errors import GraphError


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("250us", 0.00025),
        ("200ms", 0.2),
        (" 1.5 s ", 1.5),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1w 2d", 9 * 86400.0),
        (0, 0.0),
        (2.5, 2.5),
        (timedelta(minutes=1), 60.0),
    ],
)
def test_durations(duration: Any, expected: float) -> None:
    assert seconds(duration) == pytest.approx(expected)


@pytest.mark.parametrize(
    "duration", ["", "5", "5 parsecs", "s", "-1s", -1, math.nan, True, None, timedelta(seconds=-1), "1s!"]
)
def test_what_is_no_duration_is_refused_with_the_remedy(duration: Any) -> None:
    with pytest.raises(GraphError, match="is not a duration: "):
        seconds(duration)


@given(st.integers(0, 10**9), st.sampled_from(["ms", "s", "m", "h"]))
def test_texts_and_timedeltas_agree(number: int, unit: str) -> None:
    name = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours"}[unit]
    assert seconds(f"{number}{unit}") == pytest.approx(timedelta(**{name: number}).total_seconds())
