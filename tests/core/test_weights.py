from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.core.errors import GraphError
from warren.core.weights import Weights


@given(st.floats(0, 1), st.integers(1, 500))
def test_a_target_gets_its_share_to_within_one(weight: float, times: int) -> None:
    weights = Weights()
    weights["eu"] = weight
    assert abs(sum(weights.open("eu") for _ in range(times)) - weight * times) < 1 + 1e-6


@given(st.dictionaries(st.sampled_from("abc"), st.sampled_from([0.0, 0.3, 1.0])), st.integers(1, 30))
def test_some_target_is_always_left(set_to: dict[str, float], times: int) -> None:
    weights = Weights()
    for target, weight in set_to.items():
        weights[target] = weight
    for _ in range(times):
        assert set(weights.places("abc")) <= {0, 1, 2} and len(weights.places("abc")) > 0


def test_what_is_turned_up_again_is_as_before() -> None:
    weights = Weights()
    weights["eu"] = 0.0
    assert weights.places(["eu", "us"]) == [1]
    weights["eu"] = 1
    assert weights.places(["eu", "us"]) == range(2)


def test_a_function_whose_other_target_is_ejected_too_goes_on_as_before() -> None:
    weights = Weights()
    choose = weights.around(lambda value: value, {"eu": "us"})
    weights["eu"] = weights["us"] = 0.0
    assert [choose("eu"), choose("us"), choose("asia")] == ["eu", "us", "asia"]


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan"), True, "0.5", None])
def test_what_is_no_share_is_refused(weight: float) -> None:
    weights = Weights()
    with pytest.raises(GraphError, match="from 0, nothing goes there, to 1"):
        weights["eu"] = weight
    assert weights["eu"] == 1.0
