from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.core.errors import GraphError
from warren.operators.aggregations import (
    Aggregation,
    collect,
    count,
    custom,
    largest,
    mean,
    quantile,
    smallest,
    total,
)

BUILT_IN: dict[str, Callable[[], Aggregation[Any]]] = {
    "count": count,
    "total": total,
    "mean": mean,
    "smallest": smallest,
    "largest": largest,
    "quantile": lambda: quantile(0.3),
    "collect": collect,
    "custom": lambda: custom(0, lambda state, value: state * 31 + value, lambda a, b: a + b),
}


def folded(aggregation: Aggregation[Any], values: list[Any]) -> Any:
    return aggregation.fold(aggregation.initial, values)


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "custom"])
@given(a=st.lists(st.integers(-50, 50)), b=st.lists(st.integers(-50, 50)))
def test_two_groups_joined_are_as_one(name: str, a: list[int], b: list[int]) -> None:
    figure = BUILT_IN[name]()
    assert figure.merge is not None
    assert figure.merge(folded(figure, a), folded(figure, b)) == folded(figure, a + b)
    if a or b:
        assert figure.result(figure.fold(folded(figure, a), b)) == figure.result(folded(figure, a + b))


@pytest.mark.parametrize("name", BUILT_IN)
@given(values=st.lists(st.integers(-50, 50), min_size=1), more=st.lists(st.integers(-50, 50), min_size=1))
def test_a_state_can_be_pickled_and_is_never_changed(name: str, values: list[int], more: list[int]) -> None:
    figure = BUILT_IN[name]()
    initial, state = copy.deepcopy(figure.initial), folded(figure, values)
    before = copy.deepcopy(state)
    later = figure.fold(state, more)
    assert figure.merge is not None
    figure.merge(state, later)
    figure.result(state)
    assert (state, figure.initial) == (before, initial)
    assert pickle.loads(pickle.dumps(state)) == state  # noqa: S301  it was made here


@given(st.floats(0, 1), st.lists(st.integers(-100, 100), min_size=1))
def test_quantiles_lie_between_and_agree_with_numpy(q: float, values: list[int]) -> None:
    figure = quantile(q)
    assert figure.result(folded(figure, values)) == pytest.approx(np.quantile(values, q))


def test_of_equals_the_first_counts() -> None:
    assert type(smallest().result(folded(smallest(), [1, 1.0, True]))) is int
    assert type(largest().result(folded(largest(), [1.0, 1]))) is float


def test_only_what_says_how_is_joined() -> None:
    assert custom(0, lambda state, value: state + value).merge is None


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: quantile(50), "from 0 to 1"),
        (lambda: total("amount"), "not a function"),  # type: ignore[arg-type]
        (lambda: custom(0, 3), "a function of the state so far and a value"),  # type: ignore[arg-type]
        (lambda: custom(0, max, 3), "a function of two states"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
