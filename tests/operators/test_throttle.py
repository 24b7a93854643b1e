import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.operators.throttle import throttle


def test_the_rest_waits_in_order() -> None:
    bench = Bench(throttle(2)).push(1, 2, 3, 4, 5)
    assert (bench.values, bench.run.busy) == ([1, 2], 1)
    bench.wait(1)
    assert bench.values == [1, 2, 3, 4]
    bench.wait(1)
    assert (bench.values, bench.run.busy) == ([1, 2, 3, 4, 5], 0)
    bench.finish()


def test_with_a_burst_of_one_values_are_spaced_evenly() -> None:
    bench = Bench(throttle(4, "1s", burst=1), start=1.7e9).push(*range(5), attempt=2).wait(10)
    assert bench.at == pytest.approx([1.7e9, 1.7e9 + 0.25, 1.7e9 + 0.5, 1.7e9 + 0.75, 1.7e9 + 1], abs=1e-5)
    assert {chunk.attempt for chunk in bench.out} == {2}
    bench.finish()


@given(st.integers(1, 5), st.sampled_from([0.1, 1 / 3, 1.0, 7.0]), st.lists(st.tuples(st.integers(1, 8), st.floats(0, 3))))
def test_never_more_than_the_rate_in_any_period(rate: int, per: float, pushes: list[tuple[int, float]]) -> None:
    bench = Bench(throttle(rate, per), start=1e9)
    sent: list[int] = []
    for count, pause in pushes:
        values = list(range(len(sent), len(sent) + count))
        sent += values
        bench.push(*values).wait(pause)
    bench.wait(1000)
    assert bench.values == sent
    for i in range(len(sent) - rate):
        assert bench.at[i + rate] - bench.at[i] >= per - 1e-5
    bench.finish()


def test_what_is_no_rate_is_refused() -> None:
    with pytest.raises(GraphError, match="whole number of at least 1"):
        throttle(0)
    with pytest.raises(GraphError, match="longer than 0"):
        throttle(1, per=0)
    with pytest.raises(GraphError, match="from 1 to 5"):
        throttle(5, burst=6)


def test_in_a_pipeline_it_takes_virtual_time() -> None:
    trial = Pipeline("slow", memory.items([]) | throttle(2, "1m") | memory.into([])).test(list(range(7)))
    assert trial.values == list(range(7))
    assert trial.elapsed == pytest.approx(180, abs=1)


def test_of_those_that_wait_the_most_urgent_passes_first() -> None:
    bench = Bench(throttle(2, priority=lambda value: value[0])).push((1, "a"), (1, "b"))
    bench.push((1, "c"), (3, "d")).push((2, "e"), (3, "f"), (1, "g"), attempt=2)
    assert [value for _, value in bench.values] == ["a", "b"]
    bench.wait(1)
    assert [value for _, value in bench.values] == ["a", "b", "f", "d"]
    assert [chunk.attempt for chunk in bench.out] == [1, 2, 1]
    bench.wait(2)
    assert "".join(value for _, value in bench.values) == "abfdegc"
    bench.finish()


def test_those_that_come_together_are_not_urgent_before_each_other_when_there_is_room_for_all() -> None:
    bench = Bench(throttle(3, priority=lambda value: value)).push(1, 3, 2)
    assert bench.values == [1, 3, 2]
    bench.push(1, 3, 2, 4).wait(10)
    assert bench.values == [1, 3, 2, 4, 3, 2, 1]
    bench.finish()


@given(st.lists(st.tuples(st.lists(st.integers(0, 3), max_size=6), st.floats(0, 2)), max_size=20))
def test_with_priorities_the_rate_is_kept_and_nothing_is_lost(pushes: list[tuple[list[int], float]]) -> None:
    bench = Bench(throttle(2, 1.0, priority=lambda value: value), start=1e9)
    for values, pause in pushes:
        bench.push(*values).wait(pause)
    bench.wait(1000)
    assert sorted(bench.values) == sorted(value for values, _ in pushes for value in values)
    assert all(bench.at[i + 2] - bench.at[i] >= 1 - 1e-5 for i in range(len(bench.at) - 2))
    bench.finish()


def test_a_priority_that_is_no_number_fails_its_message_only() -> None:
    bench = Bench(throttle(1, priority=lambda value: value or None)).push(0, 1, 2).wait(5)  # type: ignore[arg-type, return-value]
    assert (bench.values, len(bench.failures)) == ([2, 1], 1)
    assert "priority= answered None for 0" in bench.errors[0]
    bench.finish()


def test_a_priority_that_is_no_function_is_refused() -> None:
    with pytest.raises(GraphError, match=r"throttle\(priority=...\): 5 is not a function"):
        throttle(1, priority=5)  # type: ignore[call-overload]
