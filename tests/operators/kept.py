"""A bench whose operator keeps state: another one over the same rows is the next run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from tests.operators.fake import Bench, FakeRun
from warren.core.chunk import Chunk
from warren.core.frozen import thaw, thaw_key
from warren.core.graph import Operator
from warren.core.message import Batch
from warren.core.receipt import DELIVERED, Delivery, Outcome
from warren.core.stage import Stage
from warren.core.state import Table

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
        # Given one, the rows are of an older version.
        self.tables[0].renew = migrate
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
