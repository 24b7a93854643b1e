"""Windows that are kept between runs, one step at a time: what is written, what comes back, what is given again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import pytest

from tests.operators.fake import Bench, FakeRun
from warren.core.chunk import Chunk
from warren.core.frozen import thaw, thaw_key
from warren.core.graph import Operator
from warren.core.message import Batch
from warren.core.receipt import DELIVERED, Delivery, Outcome
from warren.core.stage import Stage
from warren.core.state import Table
from warren.operators.window import hopping, session, tumbling, window

Rows = dict[tuple[bytes, int], bytes]


class FakeKeeper:
    """Keeps the rows of one step in a dict, and gives windows as messages of a source of its own."""

    def __init__(self, run: FakeRun, rows: Rows, counted: list[list[str]]) -> None:
        self.run = run
        self.rows = rows
        self.counted = counted
        self.tables: list[Table] = []

    def table(self, step: str, version: int, migrate: Callable[[Hashable, Any], Any] | None) -> Table:
        known = {(thaw_key(key), part): thaw(value) for (key, part), value in self.rows.items()}
        self.tables.append(Table(step, self.run.ledger, known, self.counted))
        return self.tables[0]

    def outbox(self, table: Table, stage: Stage) -> FakeKeeper:
        return self

    def chunk(self, keys: Sequence[Hashable], values: Sequence[Any], ids: Sequence[str]) -> Chunk:
        delivery = self.run.ledger.accept(self, Batch(list(values), list(keys), ids=ids), 0.0)
        return Chunk(list(values), delivery.tokens)

    def settled(self, delivery: Delivery, tokens: Sequence[int]) -> None:
        self.tables[0].remove(delivery.batch.handles[token - delivery.base] for token in tokens)

    def checkpoint(self) -> None:
        change = self.tables[0].change(keep=10)
        for place in [place for place in self.rows if place[0] in change.removed]:
            del self.rows[place]
        self.rows |= change.put
        if change.counted:
            self.counted.append(list(change.counted))


class KeptRun(FakeRun):
    exhausted = False

    def _on_settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        if delivery.source is self.keeper:
            self.keeper.settled(delivery, tokens)
        else:
            super()._on_settled(delivery, tokens, outcome)


class KeptBench(Bench):
    """A bench with state; another one over the same rows is the next run."""

    def __init__(self, operator: Operator[Any, Any], rows: Rows, counted: list[list[str]] | None = None) -> None:
        self.rows = rows
        self.known = counted if counted is not None else []
        super().__init__(operator)

    def make_run(self, start: float) -> FakeRun:
        run = KeptRun(start)
        run.keeper = FakeKeeper(run, self.rows, self.known)
        return run

    def checkpoint(self) -> KeptBench:
        self.run.keeper.checkpoint()
        return self

    def deliver(self) -> KeptBench:
        for chunk in self.out:
            self.run.ledger.settle(chunk.tokens, DELIVERED)
        return self


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
