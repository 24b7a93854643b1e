"""Windows that are kept between runs: what is written, what comes back, what is given again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.operators.fake import Bench
from tests.operators.kept import KeptBench, Rows
from warren.core.chunk import Chunk
from warren.core.frozen import thaw_key
from warren.core.graph import Operator
from warren.core.message import Batch
from warren.operators import count
from warren.operators.window import hopping, session, tumbling, window

KINDS = pytest.mark.parametrize("kind", [tumbling(10), hopping(10, 5), session(10)])


def by_tens(kind: Any = None, **options: Any) -> Operator[Any, Any]:
    return window(kind or tumbling(10), time=float, by=lambda n: n % 2, **options)


def found(bench: Bench) -> list[tuple[Any, float, list[int]]]:
    return [(each.key, each.start, each.values) for each in bench.values]


def test_messages_are_done_as_soon_as_they_are_in_a_window() -> None:
    bench = KeptBench(by_tens(), {})
    bench.push(1, 2, 3)
    assert bench.kinds() == ["DELIVERED"] * 3
    assert bench.values == []


@KINDS
def test_windows_go_on_in_the_next_run(kind: Any) -> None:
    rows: Rows = {}
    whole = KeptBench(by_tens(kind), {}).push(1, 2, 3, 7, 8, 40, 41)
    KeptBench(by_tens(kind), rows).push(1, 2).checkpoint().push(3).checkpoint()
    KeptBench(by_tens(kind), rows).push(7).checkpoint()
    bench = KeptBench(by_tens(kind), rows).push(8, 40, 41)
    assert found(bench) == found(whole)
    assert found(bench)


def test_a_window_that_was_not_safe_is_given_again() -> None:
    rows: Rows = {}
    first = KeptBench(by_tens(), rows).push(1, 3, 25).checkpoint()
    assert found(first) == [(1, 0.0, [1, 3])]
    again = KeptBench(by_tens(), rows).wait(0.1)
    assert found(again) == [(1, 0.0, [1, 3])]
    again.deliver().checkpoint()
    assert KeptBench(by_tens(), rows).wait(0.1).values == []


def test_what_is_safe_leaves_nothing_behind() -> None:
    rows: Rows = {}
    KeptBench(by_tens(), rows).push(1, 3).checkpoint().push(25).deliver().checkpoint()
    assert {thaw_key(key) for key, _ in rows} == {2, "watermark"}


def test_a_window_that_opens_and_is_safe_between_two_checkpoints_is_never_written() -> None:
    rows: Rows = {}
    KeptBench(by_tens(), rows).push(1, 25).deliver().checkpoint()
    assert {thaw_key(key) for key, _ in rows} == {2, "watermark"}


def test_event_time_does_not_go_back() -> None:
    rows: Rows = {}
    KeptBench(by_tens(), rows).push(1, 25).deliver().checkpoint()
    bench = KeptBench(by_tens(late="drop"), rows).push(3)
    assert bench.kinds() == ["FILTERED"]


def test_sessions_that_join_are_one_in_the_next_run() -> None:
    rows: Rows = {}
    step = window(session(10), time=float, lateness=50)
    KeptBench(step, rows).push(0, 15).checkpoint().push(7).checkpoint()
    assert len({thaw_key(key) for key, _ in rows} - {"watermark"}) == 1
    bench = KeptBench(step, rows).push(100)
    assert [each.values for each in bench.values] == [[0, 15, 7]]


def test_a_drain_leaves_windows_open() -> None:
    rows: Rows = {}
    bench = KeptBench(by_tens(), rows).push(1)
    bench.flush()
    assert bench.values == []
    bench.run.exhausted = True
    bench.flush()
    assert found(bench) == [(1, 0.0, [1])]


def test_what_comes_once_more_is_in_its_window_already() -> None:
    counted: list[list[str]] = []
    rows: Rows = {}
    KeptBench(by_tens(), rows, counted).push(1, 2).checkpoint()
    bench = KeptBench(by_tens(), rows, counted)
    batch = Batch([1, 2, 4], [0, 1, 9], deliveries=[2, 2, 1])
    tokens = bench.run.ledger.accept("test", batch, 0.0).tokens
    bench.hand(Chunk([1, 2, 4], tokens))
    assert [bench.run.kinds[token].name for token in tokens] == ["DELIVERED"] * 3
    bench.push(25)
    assert found(bench) == [(1, 0.0, [1]), (0, 0.0, [2, 4])]


def test_a_window_by_count_fills_over_several_runs() -> None:
    rows: Rows = {}
    by_two = window(count(3, every=2), by=lambda n: n % 2)
    KeptBench(by_two, rows).push(2, 4, 1).checkpoint()
    KeptBench(by_two, rows).push(3).checkpoint().finish()
    bench = KeptBench(by_two, rows).push(6, 5)
    assert [(each.key, each.values) for each in bench.values] == [(0, [2, 4, 6]), (1, [1, 3, 5])]
    bench.checkpoint()
    again = KeptBench(by_two, rows).wait(0.1)
    assert found(again) == found(bench)
    again.deliver().checkpoint().push(8, 10)
    assert [(each.key, each.values) for each in again.values[2:]] == [(0, [6, 8, 10])]


def test_windows_by_count_that_start_at_once_are_told_apart() -> None:
    bench = KeptBench(window(count(2)), {}).push(1, 2, 3, 4)
    ids = bench.run.ledger.columns(bench.out[0].tokens).ids
    assert ids is not None and len(set(ids)) == 2
