from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.receipt import DELIVERED
from warren.operators import batch, broadcast, constant, dead_letter, delay, fallback, filter, flat_map, map, retry, timeout
from warren.pipelines import Trial


def trial(step: Any, values: Any) -> Trial:
    return Pipeline("p", memory.items([]) | step | memory.into([])).test(list(values))


def late(bench: Bench) -> list[Any]:
    assert {type(failure.error) for failure in bench.failures} <= {TimeoutError}
    return [failure.value for failure in bench.failures]


own_delay = delay(lambda value: value)


def test_no_value_gives_nothing_and_no_timer_runs() -> None:
    bench = Bench(timeout(own_delay, "1s")).push().wait(5)
    assert (bench.out, bench.run.pending_timers) == ([], 0)
    bench.finish()


def test_what_is_quick_enough_passes_with_its_own_token() -> None:
    bench = Bench(timeout(map(str) | map(len), "1s")).push(1, 22).push(333, attempt=2)
    assert [(chunk.values, list(chunk.tokens), chunk.attempt) for chunk in bench.out] == [
        ([1, 2], bench.pushed[:2], 1),
        ([3], bench.pushed[2:], 2),
    ]
    assert bench.run.pending_timers == 0
    bench.finish()


def test_what_is_not_out_in_time_fails_then_and_its_late_result_is_dropped() -> None:
    bench = Bench(timeout(own_delay, "3s")).push(1, 5, 2).wait(2.9)
    assert (bench.values, bench.failures) == ([1, 2], [])
    bench.wait(0.1)
    assert late(bench) == [5]
    assert bench.errors == ["timeout(3s): not out of delay(…) within 3 s"]
    bench.wait(10)
    assert bench.values == [1, 2]
    bench.finish()
    assert bench.kinds() == ["DELIVERED", "DEAD_LETTERED", "DELIVERED"]


def test_each_chunk_has_its_own_time() -> None:
    bench = Bench(timeout(own_delay, "3s")).push(5).wait(2).push(2.5).push(4).wait(1)
    assert late(bench) == [5]
    bench.wait(2)
    assert (late(bench), bench.values, bench.run.pending_timers) == ([5, 4], [2.5], 0)
    bench.wait(2).finish()


def test_the_failure_alone_decides_over_the_message() -> None:
    bench = Bench(timeout(own_delay, "1s")).push(2).wait(1)
    bench.wait(1)
    assert bench.kinds() == [""]
    bench.run.ledger.settle([bench.failures[0].token], DELIVERED)
    assert bench.kinds() == ["DELIVERED"]
    assert [bench.failures[0].token] == bench.pushed
    bench.finish()


def test_what_fails_inside_passes_with_its_own_error() -> None:
    bench = Bench(timeout(map(lambda x: 6 // x), "1s")).push(0, 2).wait(5)
    assert (bench.errors, bench.values) == (["integer division or modulo by zero"], [3])
    assert bench.failures[0].token == bench.pushed[0]
    bench.finish()


def test_what_fails_inside_too_late_has_failed_before() -> None:
    bench = Bench(timeout(own_delay | map(lambda x: 1 // 0), "1s")).push(2).wait(5)
    assert late(bench) == [2]
    bench.finish()


def test_earlier_failures_pass_it_by() -> None:
    bench = Bench(map(lambda x: 1 / x) | timeout(map(str), "1s")).push(0, 1)
    assert (bench.values, len(bench.failures)) == (["1.0"], 1)
    bench.finish()


def test_what_is_filtered_inside_is_not_late() -> None:
    bench = Bench(timeout(filter(lambda x: x > 1) | flat_map(lambda x: [x] * (x - 2)), "1s")).push(1, 2, 3).wait(5)
    assert (bench.values, bench.failures) == ([3], [])
    assert bench.kinds() == ["FILTERED", "FILTERED", ""]
    bench.finish()


def test_the_first_of_what_is_made_of_a_value_decides() -> None:
    bench = Bench(timeout(flat_map(lambda x: x) | own_delay, "3s")).push([1, 5], [4, 6]).wait(10)
    assert (bench.values, late(bench)) == ([1, 5], [[4, 6]])
    bench.finish()
    assert bench.kinds() == ["DELIVERED", "DEAD_LETTERED"]


def test_a_batch_of_which_some_are_late_goes_on_for_the_others() -> None:
    bench = Bench(timeout(batch(3), "2s")).push(1).wait(1).push(2).wait(1)
    assert late(bench) == [1]
    bench.push(3)
    assert bench.values == [[1, 2, 3]]
    bench.wait(5).finish()
    assert bench.kinds() == ["DEAD_LETTERED", "DELIVERED", "DELIVERED"]


def test_a_batch_of_late_values_alone_is_dropped() -> None:
    bench = Bench(timeout(batch(2), "1s")).push(1).wait(2).flush()
    assert (bench.values, late(bench)) == ([], [1])
    bench.finish()


def test_a_flush_reaches_inside() -> None:
    bench = Bench(timeout(batch(9), "1m")).push(1, 2).flush()
    assert (bench.values, bench.run.pending_timers) == ([[1, 2]], 0)
    bench.finish()


def test_one_inside_another() -> None:
    steps = timeout(timeout(own_delay, "3s") | fallback(0, on=TimeoutError) | delay("2s"), "4s")
    bench = Bench(steps).push(1, 2.5, 9).wait(20)
    assert (bench.values, late(bench)) == ([1], [2.5, 9])
    assert {failure.stage for failure in bench.failures} == {"timeout(4s)"}
    bench.finish()


def test_branches_inside() -> None:
    steps = timeout(broadcast(a=delay("1s"), b=delay("5s")), "2s")
    bench = Bench(steps).push(1).wait(10)
    assert (bench.values, bench.failures) == ([1, 1], [])
    bench.finish()


@given(
    st.lists(st.tuples(st.integers(0, 8), st.lists(st.integers(0, 20), max_size=4)), max_size=20),
    st.booleans(),
)
def test_it_gives_what_a_plain_comparison_gives(pushes: list[tuple[int, list[int]]], several: bool) -> None:
    steps = flat_map(lambda x: [x, x]) | delay(lambda x: x / 8) if several else delay(lambda x: x / 8)
    bench = Bench(timeout(steps, 10.5 / 8), start=1024)
    for pause, values in pushes:
        bench.wait(pause / 8).push(*values)
    bench.wait(100)
    given = [value for _, values in pushes for value in values]
    assert sorted(bench.values) == sorted([value for value in given if value <= 10] * (2 if several else 1))
    assert sorted(late(bench)) == sorted(value for value in given if value > 10)
    bench.finish()


class Slow:
    """Takes its time on the first calls, and none later."""

    __name__ = "slow"

    def __init__(self, *times: float) -> None:
        self.times = list(times)
        self.calls: list[Any] = []

    async def __call__(self, value: Any) -> Any:
        self.calls.append(value)
        if self.times:
            await asyncio.sleep(self.times.pop(0))
        return value


def test_a_retry_puts_the_value_through_all_of_the_steps_again() -> None:
    seen: list[int] = []
    steps = timeout(map(lambda x: seen.append(x) or x) | map(Slow(60, 60)), "2s")  # type: ignore[func-returns-value]
    result = trial(steps | retry(constant("1s")), [7])
    assert (result.values, seen, result.outcomes) == ([7], [7, 7, 7], {"delivered": 1})


def test_a_retry_of_what_failed_inside_has_the_same_time_again() -> None:
    tries = iter([ConnectionError("busy")])
    slow = Slow(1, 60)

    async def ask(value: int) -> int:
        await slow(value)
        if error := next(tries, None):
            raise error
        return value

    result = trial(timeout(map(ask), "2s") | retry(constant("1s")), [7])
    assert (result.values, slow.calls, result.outcomes) == ([7], [7, 7, 7], {"delivered": 1})


def test_it_bounds_a_retry_inside() -> None:
    def ask(value: int) -> int:
        raise ConnectionError("busy")

    result = trial(timeout(map(ask) | retry(constant("1s", attempts=9)), "4500ms"), [7])
    assert [letter.error for letter in result.dead_letters["p.dead"]] == ["TimeoutError"]
    assert result.outcomes == {"dead-lettered": 1}


def test_what_is_parked_or_dead_lettered_inside_is_not_late() -> None:
    slow = Slow(1)

    async def ask(value: int) -> int:
        await slow(value)
        if len(slow.calls) == 1:
            raise ConnectionError("busy")
        if value == 0:
            raise ValueError("zero")
        return value

    steps = timeout(map(ask) | retry(constant("1h"), on=ConnectionError) | dead_letter("zeros"), "5s")
    result = trial(steps, [0])
    assert result.outcomes == {"parked": 1, "dead-lettered": 1}
    assert [letter.error for letter in result.dead_letters["zeros"]] == ["ValueError"]


def test_a_late_value_can_be_replaced() -> None:
    result = trial(timeout(map(Slow(1, 60)), "5s") | fallback("late", on=TimeoutError), [7, 8])
    assert sorted(result.values, key=str) == [7, "late"]
    assert result.outcomes == {"delivered": 2}


def test_explain_shows_what_is_inside() -> None:
    text = str(Pipeline("p", memory.queue("in") | timeout(map(str) | batch(5), "5s") | memory.queue("out")).explain())
    assert "timeout(5s)   [late results dropped]" in text
    assert "within:" in text and "batch(5)" in text


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: timeout("5s", map(str)), r"timeout\('5s'\): give the steps to bound, as timeout\(map\(ask\)"),  # type: ignore[arg-type]
        (lambda: timeout(memory.into([]), "5s"), "give the steps to bound"),  # type: ignore[arg-type]
        (lambda: timeout(map(len), 0), "give a duration longer than 0"),
        (lambda: timeout(map(len), "soon"), "'soon' is not a duration"),
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
