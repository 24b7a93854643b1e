from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.operators import map, sample


def at(bench: Bench) -> list[tuple[float, Any]]:
    return [(round(time, 3), value) for time, value in zip(bench.at, bench.values, strict=True)]


def test_the_newest_of_a_period_goes_on_at_its_end_and_the_others_are_settled() -> None:
    bench = Bench(sample("1s")).push(1).wait(0.3).push(2).wait(0.3).push(3, 4).wait(0.399)
    assert bench.values == []
    assert bench.kinds() == ["FILTERED", "FILTERED", "FILTERED", ""]
    bench.wait(0.001)
    assert at(bench) == [(1, 4)]
    bench.finish()


def test_a_period_without_a_value_gives_nothing_and_the_next_keep_their_places() -> None:
    bench = Bench(sample("1s")).push(1).wait(3.4).push(2).wait(0.7)
    assert at(bench) == [(1, 1), (4, 2)]
    bench.finish()


def test_a_value_right_at_the_end_of_a_period_is_of_the_next() -> None:
    bench = Bench(sample("1s")).push(1).wait(1).push(2).wait(1)
    assert at(bench) == [(1, 1), (2, 2)]
    bench.finish()


def test_a_period_ends_in_time_even_if_its_timer_is_late() -> None:
    bench = Bench(sample("1s")).push(1)
    bench.run.clock = lambda: 1.5  # type: ignore[method-assign]
    bench.push(2)
    assert bench.values == [1]
    bench.finish()
    assert bench.values == [1, 2]


def test_with_keys_the_newest_of_each_goes_on_in_the_order_they_came() -> None:
    bench = Bench(sample("1s", by=lambda value: value[0])).push("a1", "b1", "c1", "a2").wait(1)
    assert (at(bench), len(bench.out)) == ([(1, "b1"), (1, "c1"), (1, "a2")], 1)
    bench.finish()


def test_the_attempt_is_kept() -> None:
    bench = Bench(sample("1s", by=lambda value: value)).push(1, 2, attempt=3).push(3).wait(1)
    assert [(chunk.values, chunk.attempt) for chunk in bench.out] == [([1, 2], 3), ([3], 1)]
    bench.finish()


@given(
    st.lists(st.tuples(st.integers(0, 30), st.lists(st.integers(0, 3), max_size=4)), max_size=25),
    st.booleans(),
    st.sampled_from([0.0, 1024.0]),
)
def test_it_gives_what_a_plain_loop_over_periods_gives(
    pushes: list[tuple[int, list[int]]], keyed: bool, start: float
) -> None:
    bench = Bench(sample(1.25, by=(lambda value: value[1]) if keyed else None), start)
    periods: dict[int, dict[int, Any]] = {}
    now, first, count = 0, None, 0
    for pause, keys in pushes:
        bench.wait(pause / 8)
        now += pause
        if keys and first is None:
            first = now
        for key in keys:
            newest = periods.setdefault((now - (first or 0)) // 10, {})
            newest.pop(key if keyed else 0, None)
            newest[key if keyed else 0] = (count, key)
            count += 1
        bench.push(*((count - len(keys) + i, key) for i, key in enumerate(keys)))
    bench.wait(5)
    expected = [((period + 1) * 10 + (first or 0), value) for period, newest in periods.items() for value in newest.values()]
    assert bench.values == [value for _, value in expected]
    assert [time - start for time in bench.at] == pytest.approx([time / 8 for time, _ in expected], abs=1e-4)
    bench.finish()


def test_in_a_pipeline_it_takes_virtual_time_only() -> None:
    async def late(value: int) -> int:
        await asyncio.sleep(value)
        return value

    flow = memory.items([]) | map(late, ordered=False) | sample("1m") | memory.into([])
    result = Pipeline("p", flow).test([10, 30, 100, 3600])
    assert result.values == [30, 100, 3600]
    assert result.outcomes == {"filtered": 1, "delivered": 3}
