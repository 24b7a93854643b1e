"""Where late values go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.operators.fake import Bench
from warren.connectors import memory
from warren.core.chunk import Chunk
from warren.core.errors import GraphError
from warren.core.stage import Stage
from warren.operators import dead_letter, map
from warren.operators.dead_letter import DeadLetterSink
from warren.operators.late import Late, where_to


def late(to: Any) -> tuple[Bench, list[str]]:
    """Two late values, and why those that failed did."""
    bench = Bench(map(str))
    stage = Stage(bench.run, "1", "1:step")
    failures = Late(stage, to).take(Chunk([1, 2], bench.accept([1, 2]), (), 3), ["so late", "too late"])
    assert all((failure.attempt, failure.redo) == (3, None) for failure in failures)
    return bench, [str(failure.error) for failure in failures]


def test_late_values_fail_each_with_its_reason() -> None:
    bench, errors = late(None)
    assert (errors, bench.kinds()) == (["1:step: so late", "1:step: too late"], ["", ""])


def test_late_values_are_dropped() -> None:
    bench, errors = late("drop")
    assert (errors, bench.kinds()) == ([], ["FILTERED", "FILTERED"])


def test_what_late_may_be() -> None:
    queue = memory.queue("late")
    assert [where_to(to, "") for to in (None, "drop", queue)] == [None, "drop", queue]
    assert isinstance(where_to(dead_letter("late"), ""), DeadLetterSink)
    for bad, says in (
        (map(str), r"late values must end there; .* late=map\(str\) \| sqlite"),
        ("keep", "write late='drop'"),
    ):
        with pytest.raises(GraphError, match=f"here: .*{says}"):
            where_to(bad, "here")
