from __future__ import annotations

import pytest

from tests.operators.fake import Bench
from warren.connectors import memory
from warren.core.chunk import Chunk
from warren.core.errors import GraphError
from warren.core.graph import Operator, Sink
from warren.core.stage import Handler, Stage
from warren.operators import batch, dead_letter, map
from warren.operators.branches import Branching, Entry, checked, ended_if_closed


class First(Branching):
    """Sends everything down its first branch."""

    def handler(self, stage: Stage, entries: list[Entry]) -> Handler:
        def handle(chunk: Chunk) -> None:
            entries[0](chunk)

        return handle


def test_what_an_open_branch_gives_goes_on_and_is_flushed_before_what_follows() -> None:
    bench = Bench(First({"a": batch(2), "b": map(str)})).push(1, 2, 3)
    assert bench.values == [[1, 2]]
    bench.finish()
    assert bench.values == [[1, 2], [3]]


def test_failures_pass_every_branch_by() -> None:
    bench = Bench(map(lambda x: 1 / x) | First({"a": map(str)})).push(0, 1)
    assert (bench.values, [failure.value for failure in bench.failures]) == (["1.0"], [0])
    bench.finish()


def test_it_is_a_sink_where_all_branches_are() -> None:
    assert isinstance(ended_if_closed(First(checked({"a": memory.into([])}, "first"))), Sink)
    assert isinstance(ended_if_closed(First(checked({"a": memory.into([]), "b": map(str)}, "first"))), Operator)


def test_a_bare_dead_letter_takes_values() -> None:
    assert isinstance(checked({"a": dead_letter("odd")}, "first")["a"], Sink)


def test_what_is_no_step_is_refused() -> None:
    with pytest.raises(
        GraphError, match=r"first: the branch 'a' is <built-in function len>; it must be an operator or a sink"
    ):
        checked({"a": len}, "first")
