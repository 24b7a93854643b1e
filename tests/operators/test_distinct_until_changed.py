from __future__ import annotations

import asyncio
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline, linear
from warren.connectors import memory
from warren.core.chunk import Chunk
from warren.core.errors import GraphError, HandlerError
from warren.core.receipt import DELIVERED, Kind, Outcome
from warren.operators import map, retry, timeout
from warren.operators.distinct_until_changed import distinct_until_changed


def first(value: Any) -> Any:
    return value[0]


def second(value: Any) -> Any:
    return value[1]


DEAD = Outcome(Kind.DEAD_LETTERED)


def test_nothing_comes_of_nothing() -> None:
    assert Bench(distinct_until_changed()).push().finish().out == []


def test_one_value_passes() -> None:
    assert Bench(distinct_until_changed()).push(None).finish().values == [None]


def test_equal_neighbours_are_dropped_and_settled_at_once() -> None:
    bench = Bench(distinct_until_changed()).push(1, 1, 2).push(2).push(1)
    assert bench.values == [1, 2, 1]
    assert bench.kinds() == ["", "FILTERED", "", "FILTERED", ""]
    bench.finish()


def test_all_different_pass_as_they_are() -> None:
    bench = Bench(distinct_until_changed()).push(1, 2, 3)
    assert type(bench.out[0].tokens) is range
    bench.finish()


def test_what_is_compared_and_for_which_key() -> None:
    values = ["ax", "ax", "by", "ay", "by", "bx"]
    assert Bench(distinct_until_changed(second)).push(*values).finish().values == ["ax", "by", "bx"]
    assert Bench(distinct_until_changed(by=first)).push(*values).finish().values == ["ax", "by", "ay", "bx"]
    assert Bench(distinct_until_changed(second, by=first)).push(*values).finish().values == ["ax", "by", "ay", "bx"]


@given(st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2)), max_size=9), max_size=9), st.booleans())
def test_it_equals_groups_of_neighbours(chunks: list[list[tuple[str, int]]], keyed: bool) -> None:
    bench = Bench(distinct_until_changed(second, by=first if keyed else None))
    for chunk in chunks:
        bench.push(*chunk)
    everything = [value for chunk in chunks for value in chunk]
    if keyed:
        for key in "ab":
            mine = [value for value in everything if value[0] == key]
            assert [value for value in bench.values if value[0] == key] == [next(g) for _, g in groupby(mine, second)]
    else:
        assert bench.values == [next(group) for _, group in groupby(everything, second)]
    bench.finish()


def test_a_comparison_that_does_not_answer_is_that_messages_failure() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no")

        __hash__ = None  # type: ignore[assignment]

    odd = Odd()
    bench = Bench(distinct_until_changed()).push(1, odd, 1, 2, attempt=2)
    assert (bench.values, [f.value for f in bench.failures]) == ([1, 2], [odd])
    assert bench.failures[0].attempt == 2
    bench.finish()
    bench = Bench(distinct_until_changed()).push(np.array([1, 2])).push(np.array([1, 2]))
    assert (len(bench.values), len(bench.failures)) == (1, 1)
    bench.finish()


@pytest.mark.parametrize("arguments", [{"of": second}, {"by": first}, {"of": second, "by": first}])
def test_a_function_that_raises_fails_its_message_only(arguments: Any) -> None:
    bench = Bench(distinct_until_changed(**arguments)).push("", "ax", "ax", "", "by")
    assert (bench.values, [f.value for f in bench.failures]) == (["ax", "by"], ["", ""])
    bench.finish()


def test_functions_fail_beside_each_other() -> None:
    bench = Bench(distinct_until_changed(second, by=first)).push("a", "ax", [[], 1], "ax")
    assert (bench.values, [f.value for f in bench.failures]) == (["ax"], [[[], 1], "a"])
    bench.finish()


def test_a_coroutine_is_compared_with_nothing() -> None:
    async def later() -> int:
        return 1

    bench = Bench(distinct_until_changed(lambda value: later())).push(1, 2)
    assert {type(f.error) for f in bench.failures} == {HandlerError}
    bench.finish()


@pytest.mark.parametrize("by", [None, lambda value: "k"])
@pytest.mark.parametrize("kind", [Kind.DEAD_LETTERED, Kind.PARKED])
def test_a_value_that_did_not_get_through_counts_as_not_seen(by: Any, kind: Kind) -> None:
    bench = Bench(distinct_until_changed(by=by)).push(1, 1)
    bench.run.ledger.settle(bench.out.pop(0).tokens, Outcome(kind))
    bench.push(1)
    assert bench.values == [1]
    bench.finish()


@pytest.mark.parametrize("by", [None, lambda value: "k"])
def test_a_failure_of_an_older_value_changes_nothing(by: Any) -> None:
    bench = Bench(distinct_until_changed(by=by)).push(1).push(2)
    bench.run.ledger.settle(bench.out.pop(0).tokens, DEAD)
    bench.run.ledger.settle(bench.out.pop(0).tokens, DELIVERED)
    assert bench.push(2).push(3).values == [3]
    bench.finish()


def test_one_message_may_have_set_several_keys() -> None:
    bench = Bench(distinct_until_changed(second, by=first))
    [token] = bench.accept(["message"])
    bench.hand(Chunk(["ax", "bx", "ay"], bench.run.ledger.split(token, 3)))
    assert bench.values == ["ax", "bx", "ay"]
    bench.run.ledger.settle(bench.out.pop(0).tokens, DEAD)
    assert bench.push("ay", "bx").values == ["ay", "bx"]
    bench.finish()


def test_a_parked_message_passes_when_it_comes_again() -> None:
    answers = iter([ConnectionError("busy"), "done"])

    def ask(value: int) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    policy = linear("1h", maximum="1h")
    flow = memory.items([]) | distinct_until_changed() | map(ask) | retry(policy, on=ConnectionError) | memory.into([])
    trial = Pipeline("p", flow).test([1])
    assert trial.values == ["done"]
    assert trial.elapsed >= 3600


def test_what_cannot_work_is_refused() -> None:
    async def later(value: int) -> int:
        return value

    for arguments, says in [
        ({"of": 3}, r"distinct_until_changed\(of=\.\.\.\): 3 is not a function; give a function"),
        ({"by": 3}, r"distinct_until_changed\(by=\.\.\.\): 3 is not a function; give a function"),
        ({"of": later}, "must not be async"),
    ]:
        with pytest.raises(GraphError, match=says):
            distinct_until_changed(**arguments)  # type: ignore[arg-type]


def test_names() -> None:
    assert distinct_until_changed().name == "distinct_until_changed()"
    assert distinct_until_changed(second, by=first).name == "distinct_until_changed(second by first)"


@pytest.mark.parametrize("by", [None, first])
def test_a_message_that_timeout_tries_again_has_not_been_let_through(by: Any) -> None:
    naps = iter([5.0, 0.0])

    async def ask(value: Any) -> Any:
        await asyncio.sleep(next(naps))
        return value

    flow = timeout(distinct_until_changed(by=by) | map(ask), "1s") | retry(linear("1s"))
    trial = Pipeline("p", memory.items([]) | flow | memory.into([])).test(["a"])
    assert (trial.values, trial.outcomes) == (["a"], {"delivered": 1})


def test_of_rows_that_are_tried_again_the_same_passes_once() -> None:
    bench = Bench(distinct_until_changed())
    one, two = bench.accept([0, 1])
    bench.hand(Chunk(["a", "a", "b"], [*bench.run.ledger.split(one, 2), two], (), 2))
    assert bench.values == ["a", "b"]
    bench.finish()
