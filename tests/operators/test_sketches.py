from __future__ import annotations

import math
import pickle
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.operators.sketches import Distinct, Frequent, Quantiles

NUMBERS = st.one_of(st.just(0.0), st.floats(1e-6, 1e9), st.floats(-1e9, -1e-6), st.integers(-1000, 1000))
SLACK = 1e-9


@given(st.lists(NUMBERS, min_size=1), st.floats(0, 1), st.sampled_from([0.5, 0.1, 0.01, 0.001]))
def test_a_quantile_is_within_its_error_of_the_exact_one(numbers: list[float], q: float, error: float) -> None:
    sketch = Quantiles(error).add(numbers)
    exact = sorted(numbers)[math.floor(q * (len(numbers) - 1))]
    assert abs(sketch.quantile(q) - exact) <= error * abs(exact) * (1 + SLACK) + 1e-300
    assert sketch.count == len(numbers)


@given(st.lists(NUMBERS), st.lists(NUMBERS))
def test_quantiles_of_two_groups_are_those_of_all(a: list[float], b: list[float]) -> None:
    empty = Quantiles(0.02)
    assert empty.add(a).merge(empty.add(b)) == empty.add(a).add(b) == empty.add([*a, *b])


@given(st.lists(st.floats(5e-324, 1.7e308), min_size=2), st.lists(st.floats(-1.7e308, -5e-324)), st.integers(0, 9))
def test_buckets_are_bounded_over_the_whole_range_of_floats(above: list[float], below: list[float], cut: int) -> None:
    empty = Quantiles(0.01)
    sketch = empty.add([*above, *below])
    most = math.log(1e18) / math.log(1.01 / 0.99) + 2
    assert len(sketch.positive) <= most and len(sketch.negative) <= most
    assert empty.add(above[:cut]).merge(empty.add([*above[cut:], *below])) == sketch
    assert sketch.quantile(1) == pytest.approx(max(above), rel=0.0100001)


@given(st.lists(st.floats(1e-300, 1e300), min_size=1), st.floats(0, 1))
def test_what_is_far_below_the_largest_is_taken_for_larger_and_never_for_smaller(numbers: list[float], q: float) -> None:
    found = Quantiles(0.01).add(numbers).quantile(q)
    exact = sorted(numbers)[math.floor(q * (len(numbers) - 1))]
    assert found >= exact * 0.9899
    if exact * 1e18 > max(numbers):
        assert found <= exact * 1.0101


@pytest.mark.parametrize("wrong", ["1", b"1", None, math.nan, math.inf, object(), 10**400])
def test_what_is_no_number_is_refused_and_changes_nothing(wrong: Any) -> None:
    sketch = Quantiles(0.01).add([1.0])
    with pytest.raises((TypeError, ValueError, OverflowError)):
        sketch.add([2.0, wrong])
    assert sketch == Quantiles(0.01).add([1.0])


@pytest.mark.parametrize("error", [0.2, 0.05, 0.01])
@pytest.mark.parametrize("count", [1, 10, 1_000, 30_000])
@pytest.mark.parametrize("make", [str, int, float, lambda i: ("x", i)])
def test_distinct_values_are_counted_within_four_standard_errors(error: float, count: int, make: Any) -> None:
    values = [make(i) for i in range(count)]
    estimate = Distinct.within(error).add(values).add(values[:100]).estimate
    assert abs(estimate - count) <= 4 * error * count


@given(st.lists(st.integers(0, 3000), max_size=2000), st.integers(0, 2000), st.sampled_from([0.25, 0.03]))
def test_distinct_values_of_two_groups_are_those_of_all(values: list[int], cut: int, error: float) -> None:
    empty = Distinct.within(error)
    a, b = empty.add(values[:cut]), empty.add(values[cut:])
    assert a.merge(b) == b.merge(a) == empty.add(values) == empty.add(values[:cut]).add(values[cut:])


@given(st.sets(st.one_of(st.integers(), st.text(), st.binary(), st.none(), st.floats(allow_nan=False)), max_size=100))
def test_few_distinct_values_are_counted_exactly(values: set[Any]) -> None:
    assert Distinct.within(0.01).add(values).estimate == len(values)


def test_equal_numbers_are_one_and_nothing_else_is() -> None:
    assert Distinct.within(0.01).add([1, 1.0, True]).estimate == 1
    assert Distinct.within(0.01).add([1, "1", b"1", (1,), None, "", 2**70, -(2**70), 1.5]).estimate == 9
    with pytest.raises(TypeError, match=r"no telling whether .* came before"):
        Distinct.within(0.01).add([object()])


def test_registers_take_the_memory_that_the_error_says() -> None:
    assert len(Distinct.within(0.01).add(range(5000)).registers) == 2**14
    assert len(Distinct.within(0.25).add(range(5000)).registers) == 2**5


@given(st.lists(st.integers(0, 30)), st.integers(0, 100), st.integers(1, 12))
def test_frequent_values_keep_to_their_bounds(values: list[int], cut: int, capacity: int) -> None:
    empty = Frequent(capacity)
    exact = Counter(values)
    one_by_one = empty
    for value in values:
        one_by_one = one_by_one.add([value])
    for sketch in (empty.add(values), one_by_one, empty.add(values[:cut]).merge(empty.add(values[cut:]))):
        assert len(sketch.counts) <= capacity
        assert sketch.missed * (capacity + 1) <= len(values)
        assert all(count <= exact[value] <= count + sketch.missed for value, count in sketch.counts.items())
        assert all(exact[value] <= sketch.missed for value in exact.keys() - sketch.counts.keys())
        if len(exact) <= capacity:
            assert sketch.top(5) == exact.most_common(5)


def test_what_cannot_be_hashed_is_refused() -> None:
    with pytest.raises(TypeError):
        Frequent(10).add([[1]])


@given(st.lists(st.integers(0, 500)))
def test_a_sketch_can_be_pickled(values: list[int]) -> None:
    for empty in (Quantiles(0.1), Distinct.within(0.2), Frequent(5)):
        sketch = empty.add(values)
        assert pickle.loads(pickle.dumps(sketch)) == sketch  # noqa: S301  it was made here
