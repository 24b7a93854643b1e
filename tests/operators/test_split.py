from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.errors import GraphError, HandlerError
from warren.core.graph import Sink
from warren.operators import batch, dead_letter, filter, map, retry, split


def odd(n: int) -> int:
    return n % 2


def halves() -> Any:
    return split(odd, map(lambda n: ("odd", n)), map(lambda n: ("even", n // 2)))


def test_nothing_comes_of_nothing() -> None:
    assert Bench(halves()).push().finish().out == []


@given(st.lists(st.integers()))
def test_each_value_takes_one_branch_and_keeps_its_order_there(values: list[int]) -> None:
    bench = Bench(halves()).push(*values).finish()
    assert [n for kind, n in bench.values if kind == "odd"] == [n for n in values if n % 2]
    assert [n for kind, n in bench.values if kind == "even"] == [n // 2 for n in values if not n % 2]


def test_whatever_is_true_counts_as_true() -> None:
    bench = Bench(split(lambda x: x, map(str), filter(lambda x: False))).push("a", "", [0], None, 0, 1).finish()
    assert bench.values == ["a", "[0]", "1"]
    assert bench.kinds() == ["DELIVERED", "FILTERED", "DELIVERED", "FILTERED", "FILTERED", "DELIVERED"]


def test_a_branch_may_hold_values_until_the_flush_and_the_attempt_is_kept() -> None:
    bench = Bench(split(odd, batch(10), map(str))).push(1, 2, 3, attempt=2)
    assert [(chunk.values, chunk.attempt) for chunk in bench.out] == [(["2"], 2)]
    assert bench.finish().values == ["2", [1, 3]]


def test_a_predicate_that_raises_or_is_async_fails_its_message_alone() -> None:
    async def coroutine() -> bool:
        return True

    bench = Bench(split(lambda x: coroutine() if x == 1 else 1 / x, map(str), map(str))).push(0, 1, 2, attempt=3)
    assert bench.values == ["2"]
    assert [type(f.error) for f in bench.failures] == [ZeroDivisionError, HandlerError]
    assert {f.attempt for f in bench.failures} == {3}
    assert "split(…): the answer for 1 is a coroutine; it must not be async" in bench.errors
    bench.finish()


def test_with_two_sinks_it_is_a_sink() -> None:
    both = split(odd, memory.queue("odd"), dead_letter("even"))
    assert isinstance(both, Sink)
    trial = Pipeline("p", memory.items([]) | both).test([1, 2, 3])
    assert trial.outputs == {"memory:odd": [1, 3]}
    assert [letter.value for letter in trial.dead_letters["even"]] == [2]
    assert trial.outcomes == {"delivered": 2, "dead-lettered": 1}


def test_a_retry_behind_an_open_branch_repeats_that_branch() -> None:
    tries = iter([ConnectionError("busy")])

    def flaky(n: int) -> int:
        if error := next(tries, None):
            raise error
        return n

    flow = memory.items([]) | split(odd, map(flaky), memory.queue("even")) | retry(constant("1s")) | memory.queue("odd")
    assert Pipeline("p", flow).test([1, 2, 3]).outputs == {"memory:even": [2], "memory:odd": [3, 1]}


def test_it_is_drawn_with_both_branches() -> None:
    text = str(Pipeline("p", memory.items([]) | split(odd, memory.queue("a"), memory.queue("b"))).explain())
    assert "split(odd)" in text and "True" in text and "False" in text


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: split(3, map(str), map(str)), "split: 3 is not a function"),  # type: ignore[call-overload]
        (lambda: split(odd, map(str), str), "the branch False is .*; it must be an operator or a sink"),  # type: ignore[call-overload]
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()


def test_an_async_predicate_is_refused() -> None:
    async def ask(n: int) -> bool:
        return True

    with pytest.raises(GraphError, match="ask must not be async; map first, then split"):
        split(ask, map(str), map(str))
