from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.operators import constant, debounce, map, retry


def at(bench: Bench) -> list[tuple[float, Any]]:
    return [(round(time, 3), value) for time, value in zip(bench.at, bench.values, strict=True)]


def test_one_value_goes_on_after_the_quiet() -> None:
    bench = Bench(debounce("1s")).push(1).wait(0.999)
    assert (bench.values, bench.run.pending_timers) == ([], 1)
    bench.wait(0.001)
    assert at(bench) == [(1, 1)]
    bench.finish()


def test_every_value_starts_the_quiet_anew_and_replaces_the_one_before() -> None:
    bench = Bench(debounce("1s"))
    for value in range(5):
        bench.push(value).wait(0.6)
    assert bench.values == []
    assert bench.kinds() == ["FILTERED"] * 4 + [""]
    bench.wait(1)
    assert at(bench) == [(3.4, 4)]
    bench.finish()


def test_values_further_apart_than_the_quiet_all_go_on() -> None:
    bench = Bench(debounce("1s"), start=1.7e9)
    for value in range(3):
        bench.push(value).wait(1.5)
    assert bench.values == [0, 1, 2]
    bench.finish()


def test_a_value_right_at_the_end_of_the_quiet_comes_too_late_to_replace() -> None:
    bench = Bench(debounce("1s")).push(1).wait(1).push(2).wait(1)
    assert at(bench) == [(1, 1), (2, 2)]
    bench.finish()


def test_of_a_whole_chunk_the_last_is_the_newest() -> None:
    bench = Bench(debounce("1s")).push(1, 2, 3)
    assert bench.kinds() == ["FILTERED", "FILTERED", ""]
    bench.wait(1)
    assert bench.values == [3]
    bench.finish()


def test_each_key_has_its_own_quiet() -> None:
    bench = Bench(debounce("1s", by=lambda value: value[0])).push("a1", "b1").wait(0.5).push("a2").wait(0.5)
    assert at(bench) == [(1, "b1")]
    bench.push("c1").wait(0.5)
    assert at(bench) == [(1, "b1"), (1.5, "a2")]
    bench.wait(0.5)
    assert at(bench) == [(1, "b1"), (1.5, "a2"), (2, "c1")]
    assert bench.run.pending_timers == 0
    bench.finish()


def test_a_flush_gives_what_is_held_in_the_order_it_came() -> None:
    bench = Bench(debounce("1h", by=lambda value: value[0])).push("a1", "b1").push("a2").flush()
    assert (bench.values, bench.run.pending_timers) == (["b1", "a2"], 0)
    bench.push("a3").finish()
    assert bench.values == ["b1", "a2", "a3"]


def test_a_value_is_acknowledged_only_when_it_is_safe_or_replaced() -> None:
    bench = Bench(debounce("1s")).push(1).wait(2).push(2)
    assert bench.kinds() == ["", ""]
    bench.finish()
    assert bench.kinds() == ["DELIVERED", "DELIVERED"]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.lists(st.integers(0, 3), max_size=4)), max_size=25),
    st.booleans(),
    st.sampled_from([0.0, 1.7e9]),
)
def test_it_gives_what_a_plain_loop_over_times_gives(pushes: list[tuple[int, list[int]]], keyed: bool, start: float) -> None:
    bench = Bench(debounce(1.0, by=(lambda value: value[1]) if keyed else None), start)
    came: list[tuple[int, int, Any]] = []
    now = 0
    for pause, keys in pushes:
        bench.wait(pause / 10)
        now += pause
        values = [(len(came) + i, key) for i, key in enumerate(keys)]
        came += [(now, key if keyed else 0, value) for key, value in zip(keys, values, strict=True)]
        bench.push(*values)
    bench.wait(5)
    model = [
        (time + 10, i, value)
        for i, (time, key, value) in enumerate(came)
        if not any(key == other and time2 < time + 10 for time2, other, _ in came[i + 1 :])
    ]
    assert bench.values == [value for _, _, value in sorted(model)]
    assert [time - start for time in bench.at] == pytest.approx([time / 10 for time, _, _ in sorted(model)], abs=1e-4)
    bench.finish()


def test_in_a_pipeline_it_takes_virtual_time_only() -> None:
    async def late(value: int) -> int:
        await asyncio.sleep(value)
        return value

    flow = memory.items([]) | map(late, ordered=False) | debounce("90s") | memory.into([])
    result = Pipeline("p", flow).test([10, 60, 3600])
    assert result.values == [60, 3600]
    assert result.outcomes == {"filtered": 1, "delivered": 2}


def test_it_stands_before_a_retry() -> None:
    tries = iter([ConnectionError("no key")])

    def key(value: int) -> int:
        if error := next(tries, None):
            raise error
        return value

    flow = memory.items([]) | debounce("1s", by=key) | retry(constant("5s")) | memory.into([])
    result = Pipeline("p", flow).test([1, 2, 3])
    assert result.values == [2, 3, 1]
