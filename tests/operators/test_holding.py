from __future__ import annotations

from typing import Any

import pytest

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.chunk import Chunk
from warren.core.errors import GraphError
from warren.operators import debounce, map, sample, tap
from warren.operators.holding import Alarm, Newest, period, together


def bench_and_alarm(start: float = 0.0) -> tuple[Bench, Alarm, list[float]]:
    bench = Bench(tap(lambda value: None), start)
    rung: list[float] = []
    return bench, Alarm(bench.stages[0], rung.append), rung


def test_an_alarm_rings_at_the_earliest_time_it_was_set_to() -> None:
    bench, alarm, rung = bench_and_alarm()
    alarm.set(5)
    alarm.set(3)
    alarm.set(4)
    bench.wait(2.9)
    assert rung == []
    bench.wait(7)
    assert rung == [3]
    bench.finish()


def test_an_alarm_that_is_cleared_does_not_ring() -> None:
    bench, alarm, rung = bench_and_alarm()
    alarm.set(1)
    alarm.clear()
    alarm.clear()
    bench.wait(2)
    assert rung == []
    bench.finish()


def test_its_time_does_not_go_back_with_the_clock() -> None:
    bench, alarm, rung = bench_and_alarm(1000)
    assert alarm.now() == 1000
    bench.run.clock = lambda: 10.0  # type: ignore[method-assign]
    assert alarm.now() == 1000
    alarm.set(1005)
    bench.wait(5)
    assert rung == [1005]
    assert alarm.now() == 1005


def test_the_newest_of_each_key_waits_in_the_order_they_came() -> None:
    bench, _, _ = bench_and_alarm()
    newest = Newest(bench.stages[0], lambda value: value[0])
    values = ["a1", "b1", "a2", "c1", "b2"]
    assert not newest.add(Chunk(values, bench.accept(values)), 1.0)
    assert bench.kinds() == ["FILTERED", "FILTERED", "", "", ""]
    assert not newest.add(Chunk(["a3"], bench.accept(["a3"]), (), 2), 2.0)
    newest.give(1.0, 2.0)
    assert bench.values == ["c1", "b2"]
    newest.give()
    assert bench.values == ["c1", "b2", "a3"]
    assert [chunk.attempt for chunk in bench.out] == [1, 2]
    bench.finish()


def test_chunks_join_their_neighbours() -> None:
    assert list(together([])) == []
    one = Chunk([1, 2], range(2))
    assert list(together([one])) == [one]
    joined = list(together([one, Chunk([3], [9]), Chunk([4], [5], (), 2), Chunk([6], [7])]))
    assert [(chunk.values, list(chunk.tokens), chunk.attempt) for chunk in joined] == [
        ([1, 2, 3], [0, 1, 9], 1),
        ([4], [5], 2),
        ([6], [7], 1),
    ]


@pytest.mark.parametrize("length", [0, float("inf"), -1, float("nan"), "soon"])
def test_what_is_no_length_of_time_is_refused(length: object) -> None:
    with pytest.raises(GraphError):
        period(length, "sample")  # type: ignore[arg-type]


# What debounce and sample have in common; the times at which they let a value go are in their own files.
thinned = pytest.mark.parametrize("step", [debounce, sample])


@thinned
def test_thinning_nothing_gives_nothing_and_no_timer_runs(step: Any) -> None:
    bench = Bench(step("1s")).push().wait(5)
    assert (bench.out, bench.run.pending_timers) == ([], 0)
    bench.finish()


@thinned
def test_thinning_gives_what_is_held_at_a_flush(step: Any) -> None:
    bench = Bench(step("1h")).push(1).flush()
    assert (bench.values, bench.run.pending_timers) == ([1], 0)
    bench.push(2).finish()
    assert bench.values == [1, 2]


@thinned
def test_a_key_that_fails_while_thinning_fails_its_message_only(step: Any) -> None:
    bench = Bench(step("1s", by=lambda value: 6 // value)).push(0)
    assert (bench.errors, bench.run.pending_timers) == (["integer division or modulo by zero"], 0)
    bench.push(1, 0, 1).wait(2)
    assert (bench.values, [failure.value for failure in bench.failures]) == ([1], [0, 0])
    bench.finish()


@thinned
def test_thinning_keeps_the_attempt(step: Any) -> None:
    bench = Bench(step("1s", by=lambda value: value)).push(1, 2, attempt=3).push(3).wait(1)
    assert [(chunk.values, chunk.attempt) for chunk in bench.out] == [([1, 2], 3), ([3], 1)]
    bench.finish()


@thinned
def test_failures_pass_thinning_by_at_once_while_a_value_is_held(step: Any) -> None:
    bench = Bench(map(lambda value: 6 // value) | step("1s")).push(3, 0)
    assert (bench.values, [failure.value for failure in bench.failures]) == ([], [0])
    bench.wait(1)
    assert bench.values == [2]
    bench.finish()


@thinned
def test_with_a_single_credit_thinning_sees_every_value_on_its_own(step: Any) -> None:
    flow = memory.items([]) | step("1s") | memory.into([])
    assert Pipeline("p", flow, credit=1).test([1, 2, 3]).values == [1, 2, 3]


@thinned
def test_more_keys_than_credit_do_not_stall_thinning(step: Any) -> None:
    flow = memory.items([]) | step("1s", by=lambda value: value) | memory.into([])
    assert sorted(Pipeline("p", flow, credit=3).test(range(10)).values) == list(range(10))


@thinned
def test_what_cannot_thin_is_refused(step: Any) -> None:
    name = step.__name__
    for arguments, sentence in [
        ((0,), rf"{name}\(0\): give a duration longer than 0"),
        (("soon",), "'soon' is not a duration"),
        (("1s", "id"), rf"{name}\(by=...\): 'id' is not a function"),
    ]:
        with pytest.raises(GraphError, match=sentence):
            step(arguments[0], by=arguments[1] if len(arguments) > 1 else None)


def test_a_thinned_step_says_what_it_drops_and_holds() -> None:
    steps = [debounce("1m"), sample("1s", by=str.lower)]
    assert [step.name for step in steps] == ["debounce(60s)", "sample(1s by lower)"]
    assert [step.holds for step in steps] == [1, None]
    assert {step.guarantee for step in steps} == {"older values dropped"}
