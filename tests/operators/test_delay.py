from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.operators import constant, delay, map, retry


def at(bench: Bench) -> list[tuple[float, Any]]:
    return [(round(time, 3), value) for time, value in zip(bench.at, bench.values, strict=True)]


@pytest.mark.parametrize("step", [delay("1s"), delay(lambda value: "1s")])
def test_no_value_gives_nothing_and_no_timer_runs(step: Any) -> None:
    bench = Bench(step).push().wait(5)
    assert (bench.out, bench.run.busy) == ([], 0)
    bench.finish()


@pytest.mark.parametrize("step", [delay("2s"), delay(lambda value: timedelta(seconds=2))])
def test_each_value_goes_on_that_much_later(step: Any) -> None:
    bench = Bench(step, start=1.7e9).push(1, 2).wait(0.5).push(3).wait(1.499)
    assert (bench.values, bench.run.busy) == ([], 1)
    bench.wait(0.001)
    assert (bench.values, bench.run.busy) == ([1, 2], 1)
    bench.wait(0.5)
    assert at(bench) == [(1.7e9 + 2, 1), (1.7e9 + 2, 2), (1.7e9 + 2.5, 3)]
    assert bench.run.busy == 0
    bench.finish()


def test_a_function_says_how_much_later_and_the_earliest_leaves_first() -> None:
    bench = Bench(delay(lambda value: value[0])).push((3, "a"), (1, "b"), (3, "c"), (1, "d"), (0, "e")).wait(4)
    assert at(bench) == [(0, (0, "e")), (1, (1, "b")), (1, (1, "d")), (3, (3, "a")), (3, (3, "c"))]
    bench.finish()


def test_an_earlier_one_that_comes_later_is_not_held_up() -> None:
    bench = Bench(delay(lambda value: value)).push(10).wait(1).push(2).wait(9)
    assert at(bench) == [(3, 2), (10, 10)]
    bench.finish()


def test_a_flush_lets_nothing_leave_early() -> None:
    bench = Bench(delay("1m")).push(1).flush()
    assert (bench.values, bench.run.busy) == ([], 1)
    bench.wait(60)
    assert bench.values == [1]
    bench.finish()


def test_the_attempt_is_kept_and_what_is_due_together_leaves_together() -> None:
    bench = Bench(delay("1s")).push(1).push(2).push(3, attempt=2).wait(1)
    assert [(chunk.values, chunk.attempt) for chunk in bench.out] == [([1, 2], 1), ([3], 2)]
    bench.finish()


async def look(value: int) -> float:
    return value


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("soon", r"the function answered 'soon' for 1: 'soon' is not a duration"),
        (-1, "it must not be negative"),
        (None, "the function answered None for 1"),
        (float("inf"), "a delay must end"),
        (float("nan"), "it must not be negative"),
    ],
)
def test_an_answer_that_is_no_duration_fails_its_message_only(answer: Any, sentence: str) -> None:
    bench = Bench(delay(lambda value: answer if value == 1 else 0)).push(0, 1, 2).wait(0.1)
    assert bench.values == [0, 2]
    [error] = bench.errors
    assert sentence in error
    bench.finish()


def test_a_function_that_raises_or_answers_with_a_coroutine_fails_its_message() -> None:
    bench = Bench(delay(lambda value: look(value) if value else 1 // 0)).push(0, 1)  # type: ignore[arg-type, return-value]
    assert bench.errors[0] == "integer division or modulo by zero"
    assert "answered with a coroutine for 1" in bench.errors[1]
    bench.finish()


@given(st.lists(st.tuples(st.integers(0, 20), st.lists(st.integers(0, 30), max_size=4)), max_size=25))
def test_it_gives_what_sorting_by_time_gives(pushes: list[tuple[int, list[int]]]) -> None:
    bench = Bench(delay(lambda value: value[1] / 8), start=1024)
    came: list[tuple[int, tuple[int, int]]] = []
    now = 0
    for pause, lengths in pushes:
        bench.wait(pause / 8)
        now += pause
        values = [(len(came) + i, length) for i, length in enumerate(lengths)]
        came += [(now + value[1], value) for value in values]
        bench.push(*values)
    bench.wait(10)
    came.sort(key=lambda item: item[0])
    assert bench.values == [value for _, value in came]
    assert [time - 1024 for time in bench.at] == pytest.approx([time / 8 for time, _ in came], abs=1e-4)
    bench.finish()


def test_in_a_pipeline_the_drain_waits_for_it() -> None:
    result = Pipeline("p", memory.items([]) | delay("1h") | memory.into([])).test([1, 2])
    assert result.values == [1, 2]
    assert result.outcomes == {"delivered": 2}
    assert result.elapsed == pytest.approx(3600)


def test_a_value_that_is_tried_again_behind_it_waits_for_the_retry_only() -> None:
    tries = iter([ConnectionError("busy")])

    def flaky(value: int) -> int:
        if error := next(tries, None):
            raise error
        return value

    flow = memory.items([]) | delay("1m") | map(flaky) | retry(constant("5s")) | memory.into([])
    result = Pipeline("p", flow).test([1, 2])
    assert result.values == [2, 1]
    assert result.elapsed == pytest.approx(65)


def test_failures_pass_by_at_once_while_a_value_is_held() -> None:
    bench = Bench(map(lambda value: 6 // value) | delay("1s")).push(3, 0)
    assert (bench.values, [failure.value for failure in bench.failures]) == ([], [0])
    bench.wait(1)
    assert bench.values == [2]
    bench.finish()


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: delay("soon"), "'soon' is not a duration"),
        (lambda: delay(-1), "must not be negative"),
        (lambda: delay(float("inf")), "a delay must end"),
        (lambda: delay(look), "look must not be async"),
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
