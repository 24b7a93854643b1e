"""`map` with a say in which of the values that wait is next."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.graph import Operator
from warren.operators import constant, map, retry
from warren.pipelines import Trial


def trial(step: Operator[Any, Any], *values: Any) -> Trial:
    return Pipeline("p", memory.items([]) | step | memory.into([])).test(values)


async def nap(value: tuple[str, float]) -> tuple[str, float]:
    await asyncio.sleep(value[1])
    return value


def name(value: tuple[str, float]) -> str:
    return value[0]


def test_values_of_one_key_leave_in_their_order_and_other_keys_pass_by() -> None:
    values = [("a", 3.0), ("a", 1.0), ("b", 1.0), ("b", 1.5), ("c", 0.5)]
    result = trial(map(nap, order_by=name), *values)
    assert result.values == [("c", 0.5), ("b", 1.0), ("b", 1.5), ("a", 3.0), ("a", 1.0)]
    assert result.elapsed == pytest.approx(4)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=20), st.integers(1, 4))
def test_of_one_key_one_is_at_work_at_a_time_and_their_order_is_kept(
    values: list[tuple[str, int]], concurrency: int
) -> None:
    working: Counter[str] = Counter()

    async def work(value: tuple[int, tuple[str, int]]) -> tuple[int, tuple[str, int]]:
        key, time = value[1]
        working[key] += 1
        assert working[key] == 1
        assert working.total() <= concurrency
        await asyncio.sleep(time)
        working[key] -= 1
        return value

    result = trial(map(work, concurrency=concurrency, order_by=lambda value: value[1][0]), *enumerate(values))
    assert result.dead_letters == {}
    assert sorted(result.values) == list(enumerate(values))
    for key in "abc":
        numbers = [number for number, (each, _) in result.values if each == key]
        assert numbers == sorted(numbers)


def test_a_slow_key_does_not_take_all_places() -> None:
    slow, quick = [("slow", 100.0)] * 10, [("quick", 1.0)] * 4
    shared = map(nap, concurrency=4, limit_by=name, limit=2, ordered=False)
    assert trial(shared, *slow, *quick).values == [*quick, *slow]
    assert trial(map(nap, concurrency=4, ordered=False), *slow, *quick).values[:4] == slow[:4]


def test_results_still_leave_in_order_unless_told_otherwise() -> None:
    values = [("a", 3.0), ("a", 1.0), ("b", 1.0)]
    assert trial(map(nap, concurrency=2, limit_by=name, limit=1), *values).values == values


def test_all_places_are_used_where_there_are_values_for_them() -> None:
    values = [(key, 1.0) for key in "abababab"]
    assert trial(map(nap, concurrency=4, limit_by=name, limit=2), *values).elapsed == pytest.approx(2)
    assert trial(map(nap, concurrency=4, limit_by=name, limit=1), *values).elapsed == pytest.approx(4)


def test_the_most_urgent_of_those_that_wait_goes_first() -> None:
    values = [("first", 1.0), ("low", 1.0), ("high", 1.0), ("low", 1.5), ("top", 1.0), ("high", 0.5)]
    rank = {"first": 0, "low": 1, "high": 2, "top": 3}
    result = trial(map(nap, concurrency=1, priority=lambda value: rank[value[0]]), *values)
    assert [key for key, _ in result.values] == ["top", "high", "high", "low", "low", "first"]
    assert result.values[1:3] == [("high", 1.0), ("high", 0.5)]


@pytest.mark.parametrize("options", [{"order_by": name}, {"limit_by": name, "limit": 1}])
def test_a_key_that_cannot_be_told_fails_its_message_only(options: Any) -> None:
    result = trial(map(nap, **options), ("a", 0.0), (["b"], 0.0), ("c", 0.0))
    assert sorted(result.values) == [("a", 0.0), ("c", 0.0)]
    [letter] = result.dead_letters["p.dead"]
    assert (letter.error, "cannot be a key" in letter.reason) == ("HandlerError", True)


def test_a_priority_that_is_none_fails_its_message_only() -> None:
    result = trial(map(nap, priority=lambda value: 1 / value[1]), ("a", 1.0), ("b", 0.0))
    assert result.values == [("a", 1.0)]
    assert [letter.error for letter in result.dead_letters["p.dead"]] == ["ZeroDivisionError"]


def test_a_value_that_fails_lets_the_next_of_its_key_go_and_is_tried_again() -> None:
    tries = iter([ConnectionError("busy")])

    async def flaky(value: tuple[str, float]) -> tuple[str, float]:
        if error := next(tries, None):
            raise error
        return await nap(value)

    flow = map(flaky, order_by=name) | retry(constant("10s"))
    result = trial(flow, ("a", 1.0), ("a", 2.0), ("b", 3.0))
    assert result.values == [("a", 2.0), ("b", 3.0), ("a", 1.0)]
    assert result.outcomes == {"delivered": 3}


def test_a_timeout_frees_the_place_of_its_key() -> None:
    result = trial(map(nap, order_by=name, timeout="2s"), ("a", 60.0), ("a", 1.0))
    assert result.values == [("a", 1.0)]
    assert result.elapsed == pytest.approx(3)


def test_explain_says_what_becomes_of_the_order() -> None:
    def explained(step: Operator[Any, Any]) -> str:
        return str(Pipeline("p", memory.queue("in") | step | memory.queue("out")).explain())

    assert "8 at once, order kept by key" in explained(map(nap, concurrency=8, order_by=name))
    assert "the most urgent first" in explained(map(nap, priority=lambda value: 1))
    assert "order kept" in explained(map(nap, limit_by=name, limit=2))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: map(name, order_by=name), "options such as order_by need an async function; name is not one"),  # type: ignore[call-overload]
        (lambda: map(name, priority=len), "options such as priority need an async function"),  # type: ignore[call-overload]
        (lambda: map(nap, order_by="a"), r"map\(nap, order_by=...\): 'a' is not a function"),  # type: ignore[call-overload]
        (lambda: map(nap, priority=nap), "nap must not be async"),
        (lambda: map(nap, order_by=name, priority=len), "give only one of order_by, priority"),
        (lambda: map(nap, limit_by=name), "give both or none"),
        (lambda: map(nap, limit=3), "give both or none"),
        (lambda: map(nap, order_by=name, limit=3), "give both or none"),
        (lambda: map(nap, limit_by=name, limit=0), "limit must be a whole number from 1 to concurrency, 16"),
        (lambda: map(nap, concurrency=4, limit_by=name, limit=5), "from 1 to concurrency, 4"),
        (lambda: map(nap, limit_by=name, limit=True), "whole number"),
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
