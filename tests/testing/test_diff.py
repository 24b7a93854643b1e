from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.testing.diff import matched, same, side_by_side


class Stubborn:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compare me not")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 1, True),
        (1, 2, False),
        ({"a": [1]}, {"a": [1]}, True),
        (float("nan"), float("nan"), False),
        (np.array([1, 2]), np.array([1, 2]), True),
        (np.array([1, 2]), np.array([1, 3]), False),
        (np.array([1, 2]), np.array([1, 2, 3]), False),
        (pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]}), True),
        (pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]}), False),
        (pl.DataFrame({"a": [1]}), 1, False),
        (Stubborn(), Stubborn(), False),
    ],
)
def test_values_are_compared_whatever_they_are(left: Any, right: Any, expected: bool) -> None:
    assert same(left, right) is expected


def test_a_value_equals_itself() -> None:
    value = Stubborn()
    assert same(value, value)


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_lists_are_matched_as_bags(expected: list[int], actual: list[int]) -> None:
    missing, extra = matched(expected, actual)
    assert Counter(missing) == Counter(expected) - Counter(actual)
    assert Counter(extra) == Counter(actual) - Counter(expected)


def test_differences_are_marked() -> None:
    assert side_by_side([1, 2, 3], [1, 5, 3, 4]) == [
        "    expected  actual",
        "0   1         1",
        "1 ~ 2         5",
        "2   3         3",
        "3 +           4",
    ]


def test_values_without_a_hash_are_lined_up_too() -> None:
    assert side_by_side([{"a": 1}, {"b": 1}], [{"b": 1}]) == [
        "    expected  actual",
        "0 - {'a': 1}",
        "1   {'b': 1}  {'b': 1}",
    ]


def test_long_runs_of_equal_values_are_left_out() -> None:
    lines = side_by_side(range(100), [*range(50), -1, *range(51, 100)])
    assert lines[1:] == [
        "… 48 equal",
        "48   48        48",
        "49   49        49",
        "50 ~ 50        -1",
        "51   51        51",
        "52   52        52",
    ]


def test_very_many_differences_are_counted() -> None:
    lines = side_by_side([], range(1000))
    assert len(lines) == 42
    assert lines[-1] == "… and 960 more that differ"


def test_long_values_are_cut() -> None:
    assert max(map(len, side_by_side(["x" * 500], ["y" * 500]))) < 125
