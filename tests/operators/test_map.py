from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.graph import Operator
from warren.operators import map
from warren.pipelines import Trial


def trial(step: Operator[Any, Any], *values: Any) -> Trial:
    return Pipeline("p", memory.items([]) | step | memory.into([])).test(values)


def reasons(result: Trial) -> list[tuple[Any, str, str]]:
    return [(letter.value, letter.error, letter.reason) for letter in result.dead_letters.get("p.dead", [])]


async def nap(value: float) -> float:
    await asyncio.sleep(value)
    return value


@given(st.lists(st.integers()))
def test_it_gives_the_results_in_order(values: list[int]) -> None:
    assert trial(map(lambda x: x * 2), *values).values == [x * 2 for x in values]


def test_an_exception_fails_its_message_only() -> None:
    result = trial(map(lambda x: 6 // x), 1, 0, 3)
    assert result.values == [6, 2]
    assert reasons(result) == [(0, "ZeroDivisionError", "integer division or modulo by zero")]
    assert result.outcomes == {"delivered": 2, "dead-lettered": 1}


def test_each_value_is_handled_once_whatever_fails_beside_it() -> None:
    calls: list[int] = []

    def odd_only(value: int) -> int:
        calls.append(value)
        if value % 2 == 0:
            raise ValueError(value)
        return value

    assert trial(map(odd_only), *range(7)).values == [1, 3, 5]
    assert calls == list(range(7))


def test_stop_iteration_out_of_a_handler_is_a_failure_like_any_other() -> None:
    def stop(value: int) -> int:
        if value == 1:
            raise StopIteration
        return value

    result = trial(map(stop), 0, 1, 2)
    assert result.values == [0, 2]
    assert "StopIteration" in reasons(result)[0][2]


def test_a_coroutine_as_the_answer_is_refused_with_the_remedy() -> None:
    def indirect(value: int) -> Any:
        return nap(value)

    result = trial(map(indirect), 1, 2)
    assert [(value, kind) for value, kind, _ in reasons(result)] == [(1, "HandlerError"), (2, "HandlerError")]
    assert "write it as an async def" in reasons(result)[0][2]


@pytest.mark.parametrize("ordered", [True, False])
def test_async_handlers_run_at_the_same_time(ordered: bool) -> None:
    result = trial(map(nap, ordered=ordered), 3, 1, 2)
    assert result.values == ([3, 1, 2] if ordered else [1, 2, 3])
    assert result.elapsed == pytest.approx(3)


@pytest.mark.parametrize(("concurrency", "seconds"), [(1, 20), (3, 7), (20, 1)])
def test_no_more_run_at_once_than_concurrency(concurrency: int, seconds: int) -> None:
    running = most = 0

    async def count(value: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1
        return value

    result = trial(map(count, concurrency=concurrency), *range(20))
    assert result.values == list(range(20))
    assert most == concurrency
    assert result.elapsed == pytest.approx(seconds)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30), st.integers(1, 5), st.booleans(), st.booleans())
def test_async_keeps_every_message(values: list[tuple[int, bool]], concurrency: int, ordered: bool, bounded: bool) -> None:
    async def work(value: tuple[int, tuple[int, bool]]) -> int:
        number, (wait, fails) = value
        await asyncio.sleep(wait)
        if fails:
            raise ValueError("no")
        return number

    step = map(work, concurrency=concurrency, ordered=ordered, timeout=2.5 if bounded else None)
    result = trial(step, *enumerate(values))
    good = [i for i, (wait, fails) in enumerate(values) if not fails and not (bounded and wait == 3)]
    assert (result.values if ordered else sorted(result.values)) == good
    assert sorted(letter[0][0] for letter in reasons(result)) == sorted(set(range(len(values))) - set(good))


def test_a_call_past_its_timeout_fails_with_the_limit() -> None:
    result = trial(map(nap, timeout="2s"), 1, 5)
    assert result.values == [1]
    assert reasons(result) == [(5, "TimeoutError", "1:map(nap): no answer within 2 s")]
    assert result.elapsed == pytest.approx(2)


def test_a_timeout_error_of_the_handler_is_its_own() -> None:
    async def own(value: int) -> None:
        raise TimeoutError("the service is slow")

    assert reasons(trial(map(own, timeout=5), 1)) == [(1, "TimeoutError", "the service is slow")]


def test_a_handler_that_is_cancelled_by_its_own_code_fails() -> None:
    async def cancelled(value: int) -> int:
        if value == 1:
            raise asyncio.CancelledError
        return value

    result = trial(map(cancelled), 0, 1, 2)
    assert result.values == [0, 2]
    assert reasons(result)[0][1:] == ("HandlerError", "1:map(cancelled): the call was cancelled by its own code")


def test_partials_methods_and_callable_objects_are_seen_as_async() -> None:
    class Doubler:
        async def __call__(self, value: int) -> int:
            return value * 2

        async def method(self, value: int) -> int:
            return value * 3

    async def scaled(factor: int, value: int) -> int:
        return factor * value

    both = map(Doubler()) | map(Doubler().method) | map(functools.partial(scaled, 5))
    assert trial(both, 1).values == [30]


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: map(3), r"map\(3\): give a function of one value"),
        (lambda: map(len, concurrency=2), "need an async function; len is not one"),
        (lambda: map(len, timeout=2), "need an async function; len is not one"),
        (lambda: map(nap, concurrency=0), "concurrency must be at least 1"),
        (lambda: map(nap, timeout="soon"), "'soon' is not a duration"),
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
