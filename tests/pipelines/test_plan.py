from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.graph import Flow
from warren.operators import batch, count, map, merge, route, tumbling, window
from warren.pipelines.plan import required_credit

A, B = memory.queue("a"), memory.queue("b")
END = memory.into([])


@pytest.mark.parametrize(
    ("flow", "need"),
    [
        (A | END, 1),
        (A | batch(1) | END, 1),
        (A | batch(10) | END, 10),
        (A | batch(10) | map(len) | batch(5) | END, 50),
        (A | window(count(10)) | END, 10),
        (A | window(count(10, every=2)) | END, 10),
        (A | batch(2) | window(count(10)) | END, 20),
        (A | route(str, a=batch(10) | END, b=batch(5) | END), 9 + 4 + 1),
        (A | route(str, a=batch(10), b=map(str)) | batch(5) | END, 9 + 4 * 10 + 1),
        (A | batch(10) | route(str, a=batch(2) | END, b=batch(3) | END), 9 + 10 + 20 + 1),
        (merge(A | batch(10), B) | batch(2) | END, 9 + 10 + 1),
        (merge(merge(A | batch(4), B), B | batch(3)) | END, 3 + 2 + 1),
    ],
)
def test_the_credit_that_batches_need(flow: Flow, need: int) -> None:
    assert required_credit(flow) == (need, False)
    assert Pipeline("p", flow, credit=need).credit == need
    if need > 1:
        with pytest.raises(GraphError, match=f"give credit={need} or more"):
            Pipeline("p", flow, credit=need - 1)


@pytest.mark.parametrize("step", [batch(timeout="1s"), window(tumbling("1h")), route(str, a=window(tumbling("1h")))])
def test_what_only_time_bounds_gets_more_credit(step: Any) -> None:
    assert Pipeline("p", A | step | END).credit > Pipeline("p", A | END).credit


def test_windows_by_count_of_each_key_need_the_credit_of_one_and_more_with_time() -> None:
    flow = A | window(count(100_000), by=str) | END
    assert required_credit(flow) == (100_000, True)
    with pytest.raises(GraphError, match="give credit=100000 or more, make the batches or the windows by count smaller"):
        Pipeline("p", flow, credit=99_999)


def test_where_state_is_kept_a_window_by_count_may_be_longer_than_the_credit(tmp_path: Path) -> None:
    out: list[Any] = []
    flow = memory.items(range(1000)) | window(count(400)) | map(lambda window: len(window.values)) | memory.into(out)
    Pipeline("p", flow, credit=10, state=tmp_path / "p.state").run()
    assert out == [400, 400, 200]


def test_a_derived_credit_lets_every_batch_fill() -> None:
    assert Pipeline("p", A | batch(20_000) | END).credit >= 20_000
    out: list[Any] = []
    flow = memory.items(range(1000)) | route(lambda x: x % 2, {0: batch(10), 1: batch(5)}) | batch(4) | memory.into(out)
    Pipeline("p", flow, credit=required_credit(flow)[0]).run()
    assert sum(len(inner) for outer in out for inner in outer) == 1000
