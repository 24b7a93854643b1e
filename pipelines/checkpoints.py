"""Checkpoints: what steps remember is made durable, and only then are the messages acknowledged that it was made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from warren.core.chunk import Chunk
from warren.core.errors import GraphError, StateError, shorten
from warren.core.frozen import Keys, thaw, thaw_key
from warren.core.graph import Inlet
from warren.core.message import Batch
from warren.core.policies import Restorable
from warren.core.receipt import Delivery, Kind, Outcome
from warren.core.stage import Stage
from warren.core.state import Kept, StateStore, Table
from warren.pipelines.learned import POLICIES, Learned

if TYPE_CHECKING:
    from warren.pipelines.endpoints import Reader
    from warren.pipelines.runtime import Runtime

__all__ = ["Keeper", "Outbox", "State"]

INTERVAL = 1.0
"""Seconds between checkpoints, unless half of the credit waits for one before."""
_FORGOTTEN_AFTER = 2
"""Ids are kept of so many times the credit: a source gives out no more unsettled messages than the credit once."""


class State(NamedTuple):
    """Where a pipeline keeps what its steps remember, and how many seconds at most lie between two checkpoints."""

    store: StateStore
    interval: float = INTERVAL


class Keeper:
    """Takes the checkpoints of one running pipeline.

    What has been settled waits here until a checkpoint holds its effect; only then does its source hear of it. So a crash
    at any moment leaves either the message unacknowledged, or its effect durable; and a message that comes again although
    its effect is durable is told by its id.
    """

    def __init__(self, run: Runtime, state: State) -> None:
        self.run = run
        self.store = state.store
        self.interval = state.interval
        self.tables: dict[str, Table] = {}
        self._kept: Mapping[str, tuple[int, Kept]] = {}
        self._learned = Learned()
        # What is in memory needs no thread, and then virtual time does not go on meanwhile.
        self._thread = ThreadPoolExecutor(1, "warren-state") if getattr(self.store, "waits", True) else None
        self._timer: Callable[[], None] | None = None
        self._working = self._failed = False
        self._waiting: list[tuple[Reader, Delivery, Sequence[int], Outcome]] = []
        self.checkpointed = run.clock()
        """When the last checkpoint was durable, or when it began to keep."""

    async def open(self) -> None:
        """Read what is there."""
        self._kept = await self._call(self.store.open, self.run.name)
        self._learned.open(self._kept)

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._thread is None:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def table(self, step: str, version: int, migrate: Callable[[Hashable, Any], Any] | None) -> Table:
        """What a step remembers. Raises `StateError` where the file has it in a shape that the step does not know."""
        if step in self.tables:
            raise GraphError(f"{step}: another step keeps its state under this name; give one of them another")
        had, kept = self._kept.get(step, (version, Kept({}, [])))
        keys = Keys()
        known = {(self._key(step, keys, key), part): self._value(step, key, data) for (key, part), data in kept.rows.items()}
        if had > version or (had < version and migrate is None):
            remedy = "is older; run the newer program" if had > version else "is newer; give migrate=, which makes it new"
            raise StateError(
                f"{step}: its state has version {had} and the pipeline has version {version}, which {remedy}, or drop "
                f"it: warren state drop FILE {step}"
            )
        table = self.tables[step] = Table(step, self.run.ledger, known, kept.counted, version, keys)
        table.due = self.due
        if migrate is not None and had < version:
            table.renew = partial(self._migrated, step, migrate)
        return table

    @staticmethod
    def _key(step: str, keys: Keys, key: bytes) -> Hashable:
        try:
            return keys.thaw(key)
        except Exception as error:
            raise _unreadable(step, "a key", error) from error

    @staticmethod
    def _value(step: str, key: bytes, value: bytes) -> Any:
        try:
            return thaw(value)
        except Exception as error:
            raise _unreadable(step, f"the state of key {shorten(thaw_key(key))}", error) from error

    @staticmethod
    def _migrated(step: str, migrate: Callable[[Hashable, Any], Any], key: Hashable, value: Any) -> Any:
        try:
            return migrate(key, value)
        except Exception as error:
            raise StateError(
                f"{step}: migrate= raised {type(error).__name__} ({error}) for key {shorten(key)} with the state "
                f"{shorten(value)}; the file is as it was: mend the function and run again"
            ) from error

    def outbox(self, table: Table, stage: Stage) -> Outbox:
        """What gives values of a table."""
        return Outbox(self, next(self.run.pipeline.flow.source.inlets()), table, stage)

    def learned(self, step: str, model: Restorable) -> None:
        """Give a model what it learned in earlier runs, and keep what it learns; no message waits for that."""
        self._learned.add(step, model)

    def check(self) -> None:
        """Refuse to go on without the state of a step that is not there any more."""
        for step in self._kept.keys() - self.tables.keys() - {POLICIES}:
            raise StateError(
                f"pipeline {self.run.name!r}: its state has a step {step!r} that the pipeline has not, so what it remembers "
                f"would be lost; put the step back in its place, or drop it: warren state drop FILE {step}"
            )

    def wait(self, reader: Reader, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        """Have a source told of messages once the next checkpoint is durable."""
        if not self.tables:
            reader.tell(delivery, tokens, outcome)
            if self._learned:
                self._soon()
            return
        self._waiting.append((reader, delivery, tokens, outcome))
        self.due()

    def due(self) -> None:
        """See to it that there will be a checkpoint."""
        run = self.run
        if self._working:
            return
        if 2 * run.unacknowledged >= run.credit:
            self._begin()
        else:
            self._soon()

    def _soon(self) -> None:
        if self._timer is None and not self._working:
            handle = self.run.scheduler.schedule_relative(self.interval, lambda *_: self._begin())
            self._timer = handle.dispose

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer()
            self._timer = None
        # What a checkpoint has failed to write is in none that follows, so there must be none.
        if not self._working and not self._failed:
            self._working = True
            self.run.spawn(self._checkpoint())

    async def _checkpoint(self) -> None:
        try:
            # What is settled in this turn of the loop goes along.
            await asyncio.sleep(0)
            waiting, self._waiting = self._waiting, []
            keep = _FORGOTTEN_AFTER * self.run.pipeline.most
            ledger = self.run.ledger
            acks = frozenset[int]().union(*(ledger.numbers(delivery.tokens) for _, delivery, _, _ in waiting))
            changes = [table.change(keep, acks) for table in self.tables.values()]
            changes += self._learned.change(self.run.clock())
            await self._call(self.store.commit, changes)
            self.checkpointed = self.run.clock()
            for reader, delivery, tokens, outcome in waiting:
                reader.tell(delivery, tokens, outcome)
        except BaseException:
            self._failed = True
            raise
        finally:
            self._working = False
        if self._waiting:
            self.due()

    async def finish(self) -> None:
        """A last checkpoint, after everything is settled."""
        self._learned.urge()
        self._begin()
        while (self._working or self._waiting or self._learned.urgent) and not self._failed:
            await self.run.changed()
            if self._waiting or self._learned.urgent:
                self._begin()

    async def close(self) -> None:
        """Let go of the store, once what it is writing is written."""
        if self._timer is not None:
            self._timer()
        await self._call(self.store.close)
        if self._thread is not None:
            self._thread.shutdown(wait=False)


def _unreadable(step: str, what: str, error: Exception) -> StateError:
    return StateError(
        f"{step}: {what} cannot be read ({error}); a class in it was moved or changed: put it back, or drop the state: "
        f"warren state drop FILE {step}"
    )


class Outbox:
    """What a step gives of its state: it stays there until it is safe, and is given again after a restart.

    Each value is a message whose source is the state, so it can be retried, routed and dead-lettered as any other.
    """

    def __init__(self, keeper: Keeper, inlet: Inlet[Any], table: Table, stage: Stage) -> None:
        self.keeper = keeper
        self.run = keeper.run
        self.sources = keeper.run.sources
        self.inlet = inlet
        self.table = table
        self.stage = stage

    def chunk(self, keys: Sequence[Hashable], values: Sequence[Any], ids: Sequence[str]) -> Chunk:
        """Values with their tokens; the rows of ``keys`` go when they are safe."""
        batch = Batch(list(values), list(keys), ids=ids)
        delivery = self.run.ledger.accept(self, batch, self.run.clock(), made=True)
        return Chunk(list(values), delivery.tokens)

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        """Some are at their end."""
        places = [token - delivery.base for token in tokens]
        if outcome.kind < Kind.PARKED:
            self.table.remove(delivery.batch.handles[place] for place in places)
            self.keeper.due()
        elif outcome.kind is Kind.PARKED:
            batch = delivery.batch
            keys = [batch.handles[place] for place in places]
            values = [batch.bodies[place] for place in places]
            ids = [batch.columns([place]).ids[0] for place in places]  # type: ignore[index]  # a batch always has ids
            self.run.begin()

            def again(*_: object) -> None:
                self.run.end()
                self.stage.emit(self.chunk(keys, values, ids))

            self.run.scheduler.schedule_relative(outcome.delay, again)
