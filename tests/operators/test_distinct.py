from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.errors import GraphError, HandlerError
from warren.core.receipt import DELIVERED, Kind, Outcome
from warren.operators import distinct, map, retry


def delivered(bench: Bench) -> Bench:
    """Everything that came out is safe."""
    out, bench.out = bench.out, []
    for chunk in out:
        bench.run.ledger.settle(chunk.tokens, DELIVERED)
    return bench


def test_nothing_comes_of_nothing() -> None:
    assert Bench(distinct()).push().finish().out == []


def test_one_passes_and_what_is_alike_does_not_however_late() -> None:
    bench = delivered(Bench(distinct()).push(1)).wait(1e9).push(1, 1.0, True, "1")
    assert bench.values == ["1"]
    assert bench.kinds() == ["DELIVERED", "FILTERED", "FILTERED", "FILTERED", ""]
    bench.finish()


def test_by_a_key() -> None:
    bench = delivered(Bench(distinct(len)).push("a", "bc")).push("d", "efg")
    assert bench.values == ["efg"]
    bench.finish()


def test_one_that_comes_while_the_first_is_in_flight_takes_its_place_if_that_fails() -> None:
    bench = Bench(distinct(len)).push("a", "b")
    assert bench.values == ["a"]
    bench.run.ledger.settle(bench.out[0].tokens, Outcome(Kind.DEAD_LETTERED))
    bench.out = []
    assert bench.wait(0.001).values == ["b"]
    bench.finish()


def test_memory_is_bounded_and_the_oldest_are_forgotten() -> None:
    bench = delivered(Bench(distinct(limit=2)).push(1, 2, 3))
    delivered(bench.push(3, 2))
    assert bench.push(1).values == [1]
    bench.finish()


def test_what_cannot_be_a_key_fails_alone() -> None:
    bench = Bench(distinct()).push(1, [2], 3, attempt=2)
    assert bench.values == [1, 3]
    assert isinstance(bench.failures[0].error, HandlerError) and bench.failures[0].attempt == 2
    bench.finish()


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=9))
def test_it_agrees_with_a_dict(chunks: list[list[int]]) -> None:
    bench = Bench(distinct())
    seen: list[int] = []
    for chunk in chunks:
        bench.push(*chunk)
        seen += bench.values
        delivered(bench)
    assert seen == list(dict.fromkeys(value for chunk in chunks for value in chunk))
    bench.finish()


def test_in_a_whole_pipeline_a_retrieditself_is_not_its_own_repetition() -> None:
    tries = iter([ConnectionError("busy")])

    def flaky(n: int) -> int:
        if n == 2 and (error := next(tries, None)):
            raise error
        return n

    flow = memory.items([]) | distinct() | map(flaky) | retry(constant("1s")) | memory.into([])
    trial = Pipeline("p", flow).test([1, 2, 2, 1, 3])
    assert trial.values == [1, 3, 2]
    assert trial.outcomes == {"delivered": 3, "filtered": 2}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"by": 3}, r"distinct\(by=...\): 3 is not a function"),
        ({"limit": 0}, r"distinct\(limit=0\): limit must be a whole number"),
        ({"patience": 0}, r"distinct\(patience=...\)\(0\): give a duration longer than 0"),
    ],
)
def test_what_cannot_work_is_refused(arguments: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        distinct(**arguments)


def test_its_name() -> None:
    assert [distinct().name, distinct(len).name] == ["deduplicate(itself)", "deduplicate(len)"]
