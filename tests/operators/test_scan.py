from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.errors import GraphError, HandlerError
from warren.operators import map, retry
from warren.operators.scan import scan


def add(total: int, value: int) -> int:
    return total + value


def keep(values: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if value == "bad":
        raise ValueError(value)
    return (*values, value)


def first(value: Any) -> Any:
    return value[0]


def test_nothing_comes_of_nothing() -> None:
    bench = Bench(scan(add, 0)).push().finish()
    assert bench.out == []


def test_one_value_gives_one_state() -> None:
    assert Bench(scan(add, 10)).push(1).finish().values == [11]


def test_every_state_goes_on_and_lives_on_between_chunks() -> None:
    bench = Bench(scan(add, 0)).push(1, 2).push(3)
    assert bench.values == [1, 3, 6]
    assert bench.kinds() == ["", "", ""]
    assert bench.finish().kinds() == ["DELIVERED"] * 3


def test_each_run_starts_from_the_initial_state() -> None:
    step = scan(add, 0)
    assert [Bench(step).push(5).finish().values for _ in range(2)] == [[5], [5]]


def test_a_state_may_be_none() -> None:
    seen: list[Any] = []

    def forget(state: Any, value: int) -> None:
        seen.append(state)

    for by in (None, lambda value: "k"):
        assert Bench(scan(forget, 1, by=by)).push(1, 2).push(3).finish().values == [None] * 3
    assert seen == [1, None, None] * 2


@pytest.mark.parametrize("by", [None, lambda value: "k"])
def test_what_raises_fails_alone_and_leaves_the_state(by: Any) -> None:
    bench = Bench(scan(keep, (), by=by)).push("bad", "a", "bad", "b", "bad", attempt=2).push("c")
    assert bench.values == [("a",), ("a", "b"), ("a", "b", "c")]
    assert [(f.value, f.attempt, str(f.error)) for f in bench.failures] == [("bad", 2, "bad")] * 3
    assert [bench.pushed.index(f.token) for f in bench.failures] == [0, 2, 4]  # type: ignore[arg-type]
    bench.finish()


@pytest.mark.parametrize("by", [None, lambda value: "k"])
def test_the_function_is_called_once_for_each_value(by: Any) -> None:
    calls: list[int] = []

    def step(state: int, value: int) -> int:
        calls.append(value)
        if value == 1:
            raise StopIteration
        if value == 3:
            raise KeyError(value)
        return state + value

    bench = Bench(scan(step, 0, by=by)).push(*range(6)).finish()
    assert calls == list(range(6))
    assert bench.values == [0, 2, 6, 11]
    assert [f.value for f in bench.failures] == [1, 3]
    assert "StopIteration" in bench.errors[0]


@pytest.mark.parametrize("by", [None, lambda value: "k"])
def test_a_coroutine_is_no_state(by: Any) -> None:
    async def later() -> int:
        return 1

    def step(state: Any, value: int) -> Any:
        if value == 0:
            raise ValueError
        return later() if value > 1 else state + value

    bench = Bench(scan(step, 0, by=by)).push(0, 1, 2, 2)
    assert bench.values == [1]
    assert [type(f.error) for f in bench.failures] == [ValueError, HandlerError, HandlerError]
    assert "scan(step" in bench.errors[1] and "it must answer with the next state" in bench.errors[1]
    bench.push(2)
    bench.push(1)
    assert bench.values == [1, 2]
    bench.finish()


def test_a_key_that_cannot_be_had_is_its_own_failure() -> None:
    bench = Bench(scan(keep, (), by=first)).push("ab", "", [[]], "ac", "x")
    assert bench.values == [("ab",), ("ab", "ac"), ("x",)]
    assert [type(f.error) for f in bench.failures] == [IndexError, HandlerError]
    bench.finish()


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-9, 9)), max_size=9), max_size=9),
    st.booleans(),
)
def test_it_equals_a_loop(chunks: list[list[tuple[str, int]]], by_key: bool) -> None:
    def step(state: int, pair: tuple[str, int]) -> int:
        if pair[1] % 4 == 0:
            raise ValueError
        return state * 2 + pair[1]

    bench = Bench(scan(step, 1, by=first if by_key else None))
    states: dict[Any, int] = {}
    expected: list[int] = []
    for chunk in chunks:
        bench.push(*chunk)
        for key, value in chunk:
            key = key if by_key else ""
            if value % 4:
                states[key] = states.get(key, 1) * 2 + value
                expected.append(states[key])
    assert bench.values == expected
    bench.finish()


def test_failures_of_earlier_steps_pass_by() -> None:
    bench = Bench(map(lambda x: 6 // x) | scan(add, 0)).push(1, 0, 2)
    assert bench.values == [6, 9]
    assert [f.value for f in bench.failures] == [0]
    bench.finish()


def test_in_a_pipeline_with_a_retry_behind_it_each_message_counts_once() -> None:
    answers = iter([ConnectionError("busy"), None, None])

    def ask(value: int) -> int:
        answer = next(answers)
        if answer is not None:
            raise answer
        return value

    flow = memory.items([]) | scan(add, 0) | map(ask) | retry(constant("1s"), on=ConnectionError) | memory.into([])
    trial = Pipeline("p", flow).test([1, 2])
    assert sorted(trial.values) == list(accumulate([1, 2]))
    assert trial.outcomes == {"delivered": 2}


def test_what_cannot_work_is_refused() -> None:
    async def later(state: int, value: int) -> int:
        return state + value

    for arguments, says in [
        ((3, 0), r"scan: 3 is not a function; give a function of the state so far and a value"),
        ((later, 0), "scan: later must not be async"),
    ]:
        with pytest.raises(GraphError, match=says):
            scan(*arguments)  # type: ignore[arg-type]
    with pytest.raises(
        GraphError, match=r"scan\(add, by=\.\.\.\): 'id' is not a function; give a function of one value that gives its key"
    ):
        scan(add, 0, by="id")  # type: ignore[arg-type]


def test_names() -> None:
    assert scan(add, 0).name == "scan(add)"
    assert scan(add, 0, by=first).name == "scan(add by first)"
    assert "where the pipeline keeps state" in scan(add, 0).guarantee
