from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import DecodeError, GraphError, HandlerError
from warren.operators import batch, constant, dead_letter, fallback, filter, map, retry, window
from warren.operators.window import tumbling


def inverse(value: Any) -> float:
    return 6 / value  # type: ignore[no-any-return]


def test_values_pass_and_nothing_gives_nothing() -> None:
    bench = Bench(fallback(None)).push().push(1).push(2, 3, attempt=2)
    assert [(chunk.values, chunk.attempt) for chunk in bench.out] == [([1], 1), ([2, 3], 2)]
    bench.finish()


def test_a_value_stands_for_each_failure() -> None:
    bench = Bench(map(inverse) | fallback(-1)).push(2, 0, 3, "x")
    assert (bench.values, bench.failures) == ([-1, -1, 3.0, 2.0], [])
    bench.finish()
    assert bench.kinds() == ["DELIVERED"] * 4


def test_a_function_is_told_the_value_and_the_error() -> None:
    bench = Bench(map(inverse) | fallback(lambda value, error: (value, str(error)))).push(0)
    assert bench.values == [(0, "division by zero")]
    bench.finish()


def test_none_is_a_replacement_like_any_other() -> None:
    bench = Bench(map(inverse) | fallback(None)).push(0)
    assert bench.values == [None]
    bench.finish()


@pytest.mark.parametrize("on", [ZeroDivisionError, (KeyError, ArithmeticError)])
def test_only_the_named_exceptions_are_taken(on: Any) -> None:
    bench = Bench(map(inverse) | fallback(0, on=on)).push(0, "x")
    assert bench.values == [0]
    assert [failure.value for failure in bench.failures] == ["x"]
    bench.finish()


def test_an_error_of_the_message_itself_is_taken_only_by_name() -> None:
    def answer(value: int) -> int:
        raise HandlerError("no use")

    bench = Bench(map(answer) | fallback(0)).push(1)
    assert (bench.values, bench.errors) == ([], ["no use"])
    bench.finish()
    bench = Bench(map(answer) | fallback(0, on=(OSError, HandlerError))).push(1)
    assert bench.values == [0]
    bench.finish()


def test_a_function_that_raises_leaves_the_message_failed_with_both_errors() -> None:
    def give_up(value: int, error: Exception) -> int:
        raise LookupError("nothing in the cache")

    bench = Bench(map(inverse) | fallback(give_up)).push(0)
    [failure] = bench.failures
    assert str(failure.error) == "nothing in the cache"
    assert isinstance(failure.error.__cause__, ZeroDivisionError)
    assert (failure.value, failure.stage, failure.attempt) == (0, "fallback(give_up)", 1)
    bench.finish()


def test_a_function_that_raises_the_error_again_leaves_the_failure_as_it_was() -> None:
    def again(value: int, error: Exception) -> int:
        raise error

    bench = Bench(map(inverse) | fallback(again)).push(0)
    [failure] = bench.failures
    assert (failure.stage, failure.error.__cause__) == ("map(inverse)", None)
    bench.finish()


def test_a_cause_that_the_function_gives_is_kept() -> None:
    cause = OSError("disk")

    def give_up(value: int, error: Exception) -> int:
        raise LookupError("nothing") from cause

    bench = Bench(map(inverse) | fallback(give_up)).push(0)
    assert bench.failures[0].error.__cause__ is cause
    bench.finish()


def test_a_coroutine_as_the_answer_fails_the_message() -> None:
    async def look(value: int) -> int:
        return value

    bench = Bench(map(inverse) | fallback(lambda value, error: look(value))).push(0)
    assert "answered with a coroutine for 0; it must not be async" in bench.errors[0]
    assert isinstance(bench.failures[0].error.__cause__, ZeroDivisionError)
    bench.finish()


def test_the_attempt_is_kept() -> None:
    bench = Bench(map(inverse) | fallback("none")).push(0, attempt=3).push(0, 0)
    assert [(chunk.values, chunk.attempt) for chunk in bench.out] == [(["none"], 3), (["none", "none"], 1)]
    bench.finish()


def test_a_failed_batch_is_replaced_as_a_whole() -> None:
    bench = Bench(batch(2) | map(lambda pair: pair[0] / pair[1]) | fallback(lambda pair, error: pair)).push(1, 0, 1, 2)
    assert bench.values == [[1, 0], 0.5]
    bench.finish()


def test_a_failure_of_two_fallbacks_goes_to_the_second() -> None:
    def first(value: int, error: Exception) -> str:
        raise KeyError("first")

    bench = Bench(map(inverse) | fallback(first) | map(str) | fallback(lambda value, error: repr(error))).push(0)
    assert bench.values == ["KeyError('first')"]
    bench.finish()


def test_a_flush_has_nothing_to_let_go() -> None:
    bench = Bench(map(inverse) | fallback(0)).push(0).flush()
    assert bench.values == [0]
    bench.finish()


@given(st.lists(st.integers(-2, 2)))
def test_every_message_becomes_one_value(values: list[int]) -> None:
    bench = Bench(map(inverse) | fallback(0.0)).push(*values)
    assert sorted(bench.values) == sorted(6 / value if value else 0.0 for value in values)
    bench.finish()


class Flaky:
    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, value: int) -> int:
        self.left -= 1
        if self.left >= 0:
            raise ConnectionError("busy")
        return value


def test_behind_a_retry_it_takes_what_that_gave_up() -> None:
    flow = memory.items([]) | map(Flaky(3)) | retry(constant("1s", attempts=3)) | fallback("none") | memory.into([])
    result = Pipeline("p", flow).test([1])
    assert (result.values, result.elapsed) == (["none"], pytest.approx(2))


def test_behind_it_a_retry_tries_the_step_that_failed_first() -> None:
    def busy_too(value: int, error: Exception) -> int:
        raise OSError("busy too")

    flow = memory.items([]) | map(Flaky(2)) | fallback(busy_too) | retry(constant("1s", attempts=3)) | memory.into([])
    result = Pipeline("p", flow).test([1])
    assert (result.values, result.elapsed) == ([1], pytest.approx(2))


def test_both_errors_reach_the_dead_letter() -> None:
    def give_up(value: int, error: Exception) -> int:
        raise LookupError(f"nothing for {value}")

    flow = memory.items([]) | map(inverse) | fallback(give_up) | filter(bool) | memory.into([])
    [letter] = Pipeline("p", flow).test([0]).dead_letters["p.dead"]
    assert (letter.error, letter.reason, letter.stage) == ("LookupError", "nothing for 0", "2:fallback(give_up)")


def test_event_time_does_not_wait_for_what_was_replaced() -> None:
    flow = (
        memory.items([])
        | map(lambda x: x if x != 5 else 1 / 0)
        | retry(constant("1s", attempts=2))
        | fallback(6.0)
        | window(tumbling(10), time=lambda x: x)
        | memory.into([])
    )
    result = Pipeline("p", flow).test([1, 5, 12, 25])
    assert sorted(window.start for window in result.values) == [0, 10, 20]
    assert result.outcomes == {"delivered": 4}


def test_an_undecodable_message_can_be_replaced_where_that_is_asked_for() -> None:
    flow = memory.queue("in", int) | fallback(0, on=DecodeError) | memory.into([])
    result = Pipeline("p", flow).test([b"1", b"x"])
    assert sorted(result.values) == [0, 1]


def test_what_a_dead_letter_took_does_not_come_here() -> None:
    flow = memory.items([]) | map(inverse) | dead_letter("bad", on=TypeError) | fallback(0) | memory.into([])
    result = Pipeline("p", flow).test([0, "x"])
    assert (result.values, [letter.value for letter in result.dead_letters["bad"]]) == ([0], ["x"])


async def ask(value: int, error: Exception) -> int:
    return value


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: fallback(ask), "fallback: ask must not be async; answer with what a map behind it can look up"),
        (lambda: fallback(0, on="ValueError"), r"fallback\(on='ValueError'\): give an exception type"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
