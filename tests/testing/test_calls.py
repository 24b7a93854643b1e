from __future__ import annotations

import asyncio
import functools
import inspect
from typing import Any

import pytest

from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.operators import filter, map, retry
from warren.testing import fail, slow
from warren.testing.assertions import assert_dead_lettered, assert_outcomes


def run(steps: Any, values: Any) -> Any:
    return Pipeline("p", memory.items([]) | steps | memory.into([])).test(values)


def double(value: int) -> int:
    """Twice as much."""
    return 2 * value


async def later(value: int) -> int:
    await asyncio.sleep(1)
    return 2 * value


def test_the_nth_call_fails_and_no_other() -> None:
    trial = run(map(fail(nth=2)(double)), [1, 2, 3])
    assert trial.values == [2, 6]
    assert_dead_lettered(trial, [2], error=ConnectionError, stage="map(double)")


def test_calls_are_counted_with_retries() -> None:
    trial = run(map(fail(nth=[1, 2])(double)) | retry(constant("1m", attempts=5)), [1])
    assert (trial.values, round(trial.elapsed)) == ([2], 120)


def test_each_trial_and_each_function_counts_anew() -> None:
    broken = fail(nth=2)
    pipeline = Pipeline("p", memory.items([]) | map(broken(double)) | map(broken(str)) | memory.into([]))
    for _ in range(2):
        trial = pipeline.test([1, 2, 3, 4])
        assert trial.values == ["2", "8"]
        assert_dead_lettered(trial, [2, 3])


def test_outside_a_trial_calls_are_counted_on() -> None:
    wrapped = fail(nth=2)(double)
    assert wrapped(1) == 2
    with pytest.raises(ConnectionError, match="the test says so"):
        wrapped(2)
    assert wrapped(3) == 6


class Later:
    async def __call__(self, value: int) -> int:
        return -value


def test_a_callable_object_can_be_async() -> None:
    assert run(map(fail(nth=2)(Later())), [1, 2]).values == [-1]


def test_an_async_function_stays_one() -> None:
    wrapped = fail(every=2, error=TimeoutError)(later)
    assert inspect.iscoroutinefunction(wrapped)
    trial = run(map(wrapped, concurrency=1), [1, 2, 3])
    assert trial.values == [2, 6]
    assert_dead_lettered(trial, [2], error=TimeoutError)


def test_the_error_is_the_one_given() -> None:
    with pytest.raises(KeyError, match="a"):
        fail(nth=1, error=KeyError("a"))(double)(1)


def test_a_share_fails_by_lot_and_the_seed_decides() -> None:
    def failed(seed: object) -> list[Any]:
        trial = run(map(fail(share=0.3, seed=seed)(double)), range(50))
        return [letter.value for letter in trial.dead_letters["p.dead"]]

    assert failed(1) == failed(1) != failed(2)


def test_an_operator_fails_before_it_and_a_retry_leads_back_there() -> None:
    steps = fail(nth=2)(filter(lambda x: x > 1)) | retry(constant("1s"))
    assert run(steps, [1, 2, 3]).values == [3, 2]
    assert_outcomes(run(fail(nth=1)(map(double) | map(double)), [1]), dead_lettered=1)


def test_the_wrapped_function_looks_like_the_other() -> None:
    wrapped = fail(nth=1)(double)
    assert (wrapped.__name__, wrapped.__doc__) == ("double", "Twice as much.")
    assert str(inspect.signature(slow("1s")(double))) == "(value: 'int') -> 'int'"


def test_partials_and_lambdas_can_be_wrapped() -> None:
    assert run(map(fail(nth=2)(functools.partial(int, base=2))), ["11", "1"]).values == [3]
    assert run(map(fail(nth=2)(lambda value: -value)), [1, 2]).values == [-1]


def test_a_slow_call_takes_longer_in_virtual_time() -> None:
    trial = run(map(slow("1h")(double), concurrency=2), [1, 2])
    assert (trial.values, trial.elapsed) == ([2, 4], 3600)
    assert run(map(slow("1h", nth=2)(later), concurrency=1), [1, 2]).elapsed == pytest.approx(3602, abs=0.01)


def test_a_slow_call_is_timed_out_as_any_other() -> None:
    trial = run(map(slow("1m", nth=1)(double), timeout="5s"), [1, 2])
    assert trial.values == [4]
    assert_dead_lettered(trial, [1], error=TimeoutError)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (fail, "fail: say which ones"),
        (lambda: fail(nth=1, error="gone"), r"fail\(error='gone'\): give an exception"),  # type: ignore[arg-type]
        (lambda: fail(nth=1, error=int), r"fail\(error=.*int.*\): "),  # type: ignore[arg-type]
        (lambda: fail(nth=1, error=UnicodeDecodeError), "it cannot be made of a text .*; give the exception"),
        (lambda: fail(nth=1)(3), r"fail\(...\)\(3\): give a function or an operator"),
        (lambda: slow("1s")(3), r"slow\(...\)\(3\): give a function"),  # type: ignore[arg-type]
        (lambda: slow("soon"), "'soon' is not a duration"),
        (lambda: slow("1s", nth=0), "slow: nth=0"),
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
