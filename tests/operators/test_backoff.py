from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.core.errors import GraphError
from warren.operators import constant, decorrelated, exponential, linear


def test_the_policies() -> None:
    assert [constant("1s", attempts=3)(n) for n in (1, 2, 3)] == [1, 1, None]
    assert [linear("1s", attempts=4, maximum="2s")(n) for n in (1, 2, 3, 4)] == [1, 2, 2, None]
    policy = exponential("1s", factor=3, attempts=5, maximum="10s", jitter="none")
    assert [policy(n) for n in (1, 2, 3, 4, 5)] == [1, 3, 9, 10, None]


def test_attempts_count_the_first_try() -> None:
    assert constant(1, attempts=1)(1) is None


@given(st.integers(1, 5000))
def test_jitter_stays_in_its_part_and_a_wait_never_overflows(failed: int) -> None:
    full = exponential(1, attempts=9999, maximum=60, jitter="full")(failed)
    equal = exponential(1, attempts=9999, maximum=60, jitter="equal")(failed)
    plain = exponential(1, attempts=9999, maximum=60, jitter="none")(failed)
    assert full is not None and equal is not None and plain is not None
    assert 0 <= full <= plain <= 60
    assert plain / 2 <= equal <= plain


@given(st.integers(1, 5000), st.sampled_from([0, 1, 60, 90]))
def test_decorrelated_waits_lie_between_the_base_and_what_three_times_the_one_before_can_be(failed: int, base: int) -> None:
    found = decorrelated(base, attempts=9999, maximum=60)(failed)
    assert found is not None
    assert min(base, 60) <= found <= min(60, base * 3 ** min(failed, 10))


def test_decorrelated_waits_are_spread_as_in_a_chain_of_waits() -> None:
    policy = decorrelated(1, attempts=9, maximum="1h")
    draws = [[policy(n) or 0.0 for _ in range(4000)] for n in (1, 2, 3)]
    # The mean of a wait is half the base and three times the wait before.
    assert [statistics.fmean(each) for each in draws] == pytest.approx([2, 3.5, 5.75], rel=0.1)
    assert len(set(draws[0])) > 1000


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: constant(1, attempts=0), "attempts=0 must be at least 1"),
        (lambda: exponential(1, factor=0.5), "factor=0.5 must be at least 1"),
        (lambda: linear("x"), "'x' is not a duration"),
        (lambda: constant(1, jitter="some"), "must be 'none', 'full' or 'equal'"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
