from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.receipt import DELIVERED
from warren.operators import batch, broadcast, constant, dead_letter, delay, filter, flat_map, map, retry


def inverse(value: int) -> float:
    return 6 / value


class Flaky:
    def __init__(self, times: int) -> None:
        self.left = times
        self.calls: list[int] = []

    def __call__(self, value: int) -> int:
        self.calls.append(value)
        self.left -= 1
        if self.left >= 0:
            raise ConnectionError("busy")
        return value


def test_no_value_gives_nothing() -> None:
    bench = Bench(broadcast(a=map(str), b=map(str))).push()
    assert bench.out == []
    bench.finish()


def test_every_value_goes_down_every_branch_and_what_they_give_joins() -> None:
    bench = Bench(broadcast(a=map(str), b=map(lambda x: -x), c=filter(lambda x: x > 1))).push(1).push(2, 3, attempt=2)
    assert bench.values == ["1", -1, "2", "3", -2, -3, 2, 3]
    assert [chunk.attempt for chunk in bench.out] == [1, 1, 2, 2, 2]
    bench.finish()


def test_a_message_is_settled_when_the_last_branch_is_done_with_it() -> None:
    bench = Bench(broadcast(now=map(str), later=delay("1m"), none=filter(lambda x: False))).push(1)
    bench.run.ledger.settle(bench.out[0].tokens, DELIVERED)
    assert bench.kinds() == [""]
    bench.wait(60)
    assert bench.kinds() == [""]
    bench.run.ledger.settle(bench.out[1].tokens, DELIVERED)
    assert bench.kinds() == ["DELIVERED"]
    bench.finish()


def test_a_message_that_no_branch_keeps_is_filtered() -> None:
    bench = Bench(broadcast(a=filter(lambda x: False), b=flat_map(lambda x: []))).push(1, 2)
    assert bench.kinds() == ["FILTERED", "FILTERED"]
    bench.finish()


def test_a_failure_in_one_branch_leaves_the_others_alone() -> None:
    bench = Bench(broadcast(a=map(inverse), b=map(str))).push(0, 2)
    assert bench.values == [3.0, "0", "2"]
    assert [failure.value for failure in bench.failures] == [0]
    bench.finish()
    assert bench.kinds() == ["DEAD_LETTERED", "DELIVERED"]


def test_earlier_failures_pass_all_branches_by_once() -> None:
    bench = Bench(map(inverse) | broadcast(a=map(str), b=map(str))).push(0, 2)
    assert (bench.values, len(bench.failures)) == (["3.0", "3.0"], 1)
    bench.finish()


def test_a_flush_reaches_into_the_branches() -> None:
    bench = Bench(broadcast(a=batch(5), b=batch(2))).push(1, 2, 3).flush()
    assert bench.values == [[1, 2], [1, 2, 3], [3]]
    bench.finish()


def test_one_branch_is_a_branch() -> None:
    bench = Bench(broadcast(a=map(str))).push(1)
    assert (bench.values, list(bench.out[0].tokens)) == (["1"], bench.pushed)
    bench.finish()


@given(st.lists(st.integers(0, 9)), st.integers(1, 4), st.integers(1, 3))
def test_each_branch_gives_what_it_would_give_alone(values: list[int], size: int, count: int) -> None:
    branches = {str(i): filter(lambda x, i=i: x % (i + 1) == 0) | batch(size) for i in range(count)}  # type: ignore[misc]
    bench = Bench(broadcast(branches)).push(*values).finish()
    alone: Counter[str] = Counter()
    for branch in branches.values():
        alone.update(map_repr(Bench(branch).push(*values).finish().values))
    assert Counter(map_repr(bench.values)) == alone


def map_repr(values: list[Any]) -> list[str]:
    return [repr(value) for value in values]


def test_branches_with_sinks_end_the_pipeline() -> None:
    flow = memory.items([]) | broadcast(raw=memory.queue("raw"), pairs=batch(2) | memory.queue("pairs"))
    result = Pipeline("p", flow).test([1, 2, 3])
    assert result.outputs == {"memory:raw": [1, 2, 3], "memory:pairs": [[1, 2], [3]]}
    assert result.outcomes == {"delivered": 3}


def test_a_closed_branch_beside_an_open_one() -> None:
    flow = memory.items([]) | broadcast(audit=memory.queue("audit"), on=map(str)) | memory.queue("out")
    result = Pipeline("p", flow).test([1, 2])
    assert result.outputs == {"memory:audit": [1, 2], "memory:out": ["1", "2"]}
    assert result.outcomes == {"delivered": 2}


def test_a_retry_in_a_branch_repeats_that_branch_alone() -> None:
    flaky, steady = Flaky(1), Flaky(0)
    both = broadcast(a=map(flaky) | retry(constant("1s")) | memory.queue("a"), b=map(steady) | memory.queue("b"))
    result = Pipeline("p", memory.items([]) | both).test([1])
    assert (flaky.calls, steady.calls) == ([1, 1], [1])
    assert result.outputs == {"memory:a": [1], "memory:b": [1]}
    assert result.outcomes == {"delivered": 1}


def test_a_retry_behind_it_repeats_the_branch_that_failed() -> None:
    flaky, steady = Flaky(1), Flaky(0)
    flow = memory.items([]) | broadcast(a=map(flaky), b=map(steady)) | retry(constant("1s")) | memory.into([])
    result = Pipeline("p", flow).test([1])
    assert (flaky.calls, steady.calls, result.values) == ([1, 1], [1], [1, 1])


def test_a_parked_message_starts_again_in_every_branch() -> None:
    flaky = Flaky(1)
    both = broadcast(a=map(flaky) | retry(constant("1h")) | memory.queue("a"), b=memory.queue("b"))
    result = Pipeline("p", memory.items([]) | both).test([1])
    assert result.outputs == {"memory:a": [1], "memory:b": [1, 1]}
    assert result.outcomes == {"parked": 1, "delivered": 1}


def test_a_message_that_fails_in_two_branches_is_one_dead_letter() -> None:
    both = broadcast(a=map(inverse) | memory.queue("a"), b=map(inverse) | memory.queue("b"), c=dead_letter("all"))
    result = Pipeline("p", memory.items([]) | both).test([0])
    assert len([letter for letters in result.dead_letters.values() for letter in letters]) == 1
    assert result.outcomes == {"dead-lettered": 1}


def test_explain_shows_every_branch() -> None:
    flow = memory.items([]) | broadcast(raw=memory.queue("raw"), pairs=batch(2) | memory.queue("pairs"))
    text = str(Pipeline("p", flow).explain())
    assert "broadcast" in text and "raw" in text and "batch(2)" in text and "acknowledged when all branches are done" in text


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (broadcast, r"broadcast\(\) leads nowhere: name at least one branch"),
        (lambda: broadcast(a=len), "broadcast: the branch 'a' is <built-in function len>"),  # type: ignore[call-overload]
        (lambda: broadcast(a=memory.into([])) | map(str), "a sink ends its branch"),  # type: ignore[operator]
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
