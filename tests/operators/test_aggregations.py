from __future__ import annotations

import copy
import pickle
import statistics
from collections import Counter
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
    deviation,
    distinct_count,
    first,
    largest,
    last,
    mean,
    quantile,
    smallest,
    top,
    total,
    variance,
)

BUILT_IN: dict[str, Callable[[], Aggregation[Any]]] = {
    "count": count,
    "total": total,
    "mean": mean,
    "smallest": smallest,
    "largest": largest,
    "quantile": lambda: quantile(0.3),
    "collect": collect,
    "first": first,
    "last": last,
    "variance": variance,
    "deviation": lambda: deviation(ddof=0),
    "distinct_count": distinct_count,
    "distinct_count within": lambda: distinct_count(error=0.25),
    "quantile within": lambda: quantile(0.9, error=0.01),
    "top": lambda: top(3),
    "custom": lambda: custom(0, lambda state, value: state * 31 + value, lambda a, b: a + b),
}


def folded(aggregation: Aggregation[Any], values: list[Any]) -> Any:
    return aggregation.fold(aggregation.initial, values)


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "custom"])
@given(a=st.lists(st.integers(-50, 50)), b=st.lists(st.integers(-50, 50)))
def test_two_groups_joined_are_as_one(name: str, a: list[int], b: list[int]) -> None:
    figure = BUILT_IN[name]()
    assert figure.merge is not None
    joined, whole = figure.merge(folded(figure, a), folded(figure, b)), folded(figure, a + b)
    assert joined == (pytest.approx(whole) if name in ("variance", "deviation") else whole)
    if a or b:
        found, exact = figure.result(figure.fold(folded(figure, a), b)), figure.result(whole)
        assert found == (pytest.approx(exact) if isinstance(exact, float) else exact)


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


@given(st.lists(st.integers(-(10**6), 10**6).map(float), min_size=2), st.integers(0, 9))
def test_variances_agree_with_the_standard_library(values: list[float], cut: int) -> None:
    for figure, exact in (
        (variance(), statistics.variance),
        (variance(ddof=0), statistics.pvariance),
        (deviation(), statistics.stdev),
        (deviation(ddof=0), statistics.pstdev),
    ):
        found = figure.result(figure.fold(folded(figure, values[:cut]), values[cut:]))
        assert found == pytest.approx(exact(values), rel=1e-9, abs=1e-6)


def test_a_variance_far_from_zero_is_not_lost() -> None:
    figure = variance()
    state = figure.initial
    for value in (1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16):
        state = figure.fold(state, [value])
    assert figure.result(state) == pytest.approx(30)


def test_one_value_has_no_variance() -> None:
    assert variance().result(folded(variance(), [3])) is None
    assert deviation().result(folded(deviation(), [3])) is None
    assert deviation(ddof=0).result(folded(deviation(ddof=0), [3])) == 0


@given(st.lists(st.integers(0, 20), min_size=1))
def test_the_others_agree_with_plain_python(values: list[int]) -> None:
    def figure(aggregation: Aggregation[Any]) -> Any:
        return aggregation.result(folded(aggregation, values))

    assert (figure(first()), figure(last())) == (values[0], values[-1])
    assert figure(distinct_count()) == figure(distinct_count(error=0.01)) == len(set(values))
    assert figure(top(3)) == Counter(values).most_common(3)
    assert figure(quantile(0, error=0.01)) == pytest.approx(min(values), rel=0.0101)
    assert figure(quantile(1, error=0.01)) == pytest.approx(max(values), rel=0.0101)


def test_of_equals_the_first_counts() -> None:
    assert type(smallest().result(folded(smallest(), [1, 1.0, True]))) is int
    assert type(largest().result(folded(largest(), [1.0, 1]))) is float


def test_only_what_says_how_is_joined() -> None:
    assert custom(0, lambda state, value: state + value).merge is None


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: quantile(50), "from 0 to 1"),
        (lambda: quantile(0.5, error=2), "from 0.0001 to 0.5"),
        (lambda: distinct_count(error=0.001), "from 0.003 to 0.25"),
        (lambda: top(0), "at least 1"),
        (lambda: top(5, capacity=4), "at least 5"),
        (lambda: variance(ddof=-1), "1 for a sample"),
        (lambda: total("amount"), "not a function"),  # type: ignore[arg-type]
        (lambda: custom(0, 3), "a function of the state so far and a value"),  # type: ignore[arg-type]
        (lambda: custom(0, max, 3), "a function of two states"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
