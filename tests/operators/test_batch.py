from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.operators import batch


def flat(batches: list[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(batches))


@given(st.lists(st.lists(st.integers(), max_size=9)), st.integers(1, 7))
def test_batches_by_count_are_full_and_keep_the_order(chunks: list[list[int]], count: int) -> None:
    bench = Bench(batch(count))
    for chunk in chunks:
        bench.push(*chunk)
    bench.finish()
    assert flat(bench.values) == flat(chunks)
    assert all(len(each) == count for each in bench.values[:-1])


@given(st.lists(st.text(max_size=6)), st.integers(1, 8))
def test_batches_by_size_stay_within_it(texts: list[str], size: int) -> None:
    bench = Bench(batch(size=size))
    bench.push(*texts)
    bench.finish()
    assert flat(bench.values) == texts
    assert all(sum(map(len, each)) <= size or len(each) == 1 for each in bench.values)


@given(st.lists(st.integers(0, 3)), st.integers(1, 4))
def test_batches_by_key_hold_one_key_each(values: list[int], count: int) -> None:
    bench = Bench(batch(count, by=lambda x: x))
    bench.push(*values)
    bench.finish()
    assert all(len(set(each)) == 1 for each in bench.values)
    assert sorted(flat(bench.values)) == sorted(values)


def test_a_timer_lets_an_incomplete_batch_go() -> None:
    bench = Bench(batch(3, "1s"))
    bench.push(1).wait(0.9)
    assert bench.values == []
    bench.push(2).wait(0.1)
    assert bench.values == [[1, 2]]
    bench.push(3, 4, 5, 6).wait(0.5)
    assert bench.values == [[1, 2], [3, 4, 5]]
    bench.wait(0.5)
    assert bench.values == [[1, 2], [3, 4, 5], [6]]
    bench.finish()


def test_the_timer_runs_from_the_first_value_of_each_key() -> None:
    bench = Bench(batch(timeout="1s", by=lambda x: x % 2))
    bench.push(1).wait(0.5)
    bench.push(2, 3).wait(0.5)
    assert bench.values == [[1, 3]]
    bench.wait(0.5)
    assert bench.values == [[1, 3], [2]]
    bench.finish()


def test_a_full_batch_stops_its_timer() -> None:
    bench = Bench(batch(2, "1s"))
    bench.push(1, 2).wait(0.5)
    bench.push(3).wait(0.6)
    assert bench.values == [[1, 2]]
    bench.finish()


def test_a_batch_is_acknowledged_together() -> None:
    bench = Bench(batch(2))
    bench.push(1).push(2, 3)
    assert bench.kinds() == ["", "", ""]
    bench.run.ledger.settle(bench.out[0].tokens, bench_delivered())
    assert bench.kinds() == ["DELIVERED", "DELIVERED", ""]


def bench_delivered() -> Any:
    from warren.core.receipt import DELIVERED

    return DELIVERED


@pytest.mark.parametrize(
    ("step", "values", "kept", "errors"),
    [
        (batch(2, by=lambda x: 6 // x), [1, 0, 1], [[1, 1]], 1),
        (batch(2, by=lambda x: [x]), [1], [], 1),
        (batch(size=9), ["ab", 5, "c"], [["ab", "c"]], 1),
        (batch(size=9, measure=lambda x: None), [1, 2], [], 2),  # type: ignore[arg-type, return-value]
        (batch(size=9, by=lambda x: x[0]), ["ab", 5, "", "ac"], [["ab", "ac"]], 2),
    ],
)
def test_a_key_or_a_measure_that_fails_fails_its_message_only(
    step: Any, values: list[Any], kept: list[Any], errors: int
) -> None:
    bench = Bench(step)
    bench.push(*values).finish()
    assert (bench.values, len(bench.failures)) == (kept, errors)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "give a limit"),
        ({"count": 0}, "count must be a whole number of at least 1"),
        ({"count": True}, "count must be a whole number of at least 1"),
        ({"count": 1.5}, "count must be a whole number of at least 1"),
        ({"size": -1}, "size must be a whole number of at least 1"),
        ({"timeout": 0}, "a timeout must be longer than 0"),
        ({"timeout": "later"}, "'later' is not a duration"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        batch(**options)


def test_a_batch_behind_a_batch() -> None:
    flow = memory.items([]) | batch(2) | batch(2) | memory.into([])
    assert Pipeline("p", flow).test(range(5)).values == [[[0, 1], [2, 3]], [[4]]]
