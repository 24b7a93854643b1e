"""The queues of one file, looked at and put in order while pipelines work on it or nobody does."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import ParamSpec, TypeVar

from warren.connectors.records import records
from warren.connectors.sqlite.blocks import Run
from warren.connectors.sqlite.checkup import checkup
from warren.connectors.sqlite.faults import BUSY_SECONDS, storage_error
from warren.connectors.sqlite.queue import Queue
from warren.connectors.sqlite.tables import Tables
from warren.core.admin import ERROR, SOURCE, Chosen, Pace, Replayed, restored
from warren.core.checkup import Finding
from warren.core.errors import StorageError, TopologyError, WarrenError
from warren.core.health import QueueHealth
from warren.core.message import Batch, Outgoing

__all__ = ["FileAdmin"]

P = ParamSpec("P")
T = TypeVar("T")

_OURS = "sqlite:"
_AT_ONCE = 1024


class FileAdmin:
    """The queues of a file. What it removes or sends back is chosen and taken in one transaction."""

    def __init__(self, path: str) -> None:
        self.path = path

    async def queues(self) -> Sequence[QueueHealth]:
        """Every queue, by name."""
        with self._tables() as tables:
            return [_health(*row) for row in tables.overview()]

    async def queue(self, name: str) -> QueueHealth:
        """One queue."""
        with self._tables() as tables:
            self._number(tables, name)
            return next(_health(*row) for row in tables.overview() if row[0] == name)

    async def create(self, name: str) -> bool:
        """Make a queue, and the file where there is none; ``False`` where it was there already."""
        with contextlib.suppress(StorageError), self._tables() as tables:
            if tables.find(name) is not None:
                return False
        await (await Queue(self.path, name).open()).close()
        return True

    async def delete(self, name: str) -> None:
        """Remove a queue with all that is in it. A pipeline that still uses it stops with an error."""
        with self._tables() as tables:
            _transact(tables, tables.delete, self._number(tables, name))

    async def purge(self, name: str) -> int:
        """Remove the messages that wait; those that a worker holds stay."""
        with self._tables() as tables:
            return _transact(tables, tables.purge, self._number(tables, name))

    async def caution(self, name: str) -> str:
        """Nothing: a look writes nothing."""
        await self.queue(name)
        return ""

    async def peek(self, name: str, ahead: int = _AT_ONCE) -> AsyncGenerator[Batch, None]:
        """The messages that wait, in their order. Nothing is written."""
        with self._tables() as tables:
            for batch in tables.read(tables.waiting(self._number(tables, name)), ahead):
                yield batch

    async def drop(self, name: str, chosen: Chosen) -> int:
        """Remove those of the waiting messages that are meant."""
        dropped = 0
        with self._tables() as tables:
            number = self._number(tables, name)
            for batch in tables.read(tables.waiting(number)):
                places = [i for i in range(len(batch)) if chosen(batch.metadata(i))]
                dropped += len(_transact(tables, tables.take, number, [batch.handles[i] for i in places]))
        return dropped

    async def replay(
        self,
        name: str,
        chosen: Chosen,
        *,
        limit: int | None = None,
        rate: float | None = None,
        progress: Callable[[Replayed], None] | None = None,
    ) -> Replayed:
        """Send letters back to their queues in this file: each is in one of the two, whenever this is killed."""
        moved, left, pace = 0, Counter[str](), Pace(rate)
        with self._tables() as tables:
            number = self._number(tables, name)
            targets = {queue: tables.find(queue) for queue, *_ in tables.overview()}
            for batch in tables.read(tables.waiting(number), pace.at_once(_AT_ONCE)):
                wanted: dict[int, list[int]] = {}
                for i in range(len(batch)):
                    letter = batch.metadata(i)
                    came_from = letter.headers.get(SOURCE, "")
                    target = targets.get(came_from.removeprefix(_OURS))
                    if not chosen(letter):
                        left["not chosen"] += 1
                    elif ERROR not in letter.headers or not came_from:
                        left["it is no dead letter of a pipeline"] += 1
                    elif not came_from.startswith(_OURS) or target is None:
                        left[f"it came from {came_from}, which is no queue of this file"] += 1
                    elif limit is None or moved + sum(map(len, wanted.values())) < limit:
                        wanted.setdefault(target, []).append(i)
                count = _transact(tables, _move, tables, number, batch, wanted)
                moved += count
                if progress is not None:
                    progress(Replayed(moved, left))
                if moved == limit:
                    break
                if count:
                    await pace.keep(count)
        return Replayed(moved, left)

    async def checkup(self, name: str = "") -> AsyncGenerator[Finding, None]:
        """The file, the disk it lies on, and the queue."""
        for finding in checkup(self.path):
            yield finding
        if name:
            try:
                await self.queue(name)
            except WarrenError as error:
                yield Finding("queue", "problem", str(error), "check its name; warren queues create makes it")
            else:
                yield Finding("queue", "ok", f"{name!r} is there")

    def outlet(self, name: str) -> Queue[bytes]:
        """What writes to a queue."""
        return Queue(self.path, name)

    def _number(self, tables: _Tables, name: str) -> int:
        number = tables.find(name)
        if number is None:
            names = ", ".join(repr(row[0]) for row in tables.overview()) or "none"
            raise TopologyError(f"there is no queue {name!r} in {self.path}; there is {names}")
        return number

    @contextlib.contextmanager
    def _tables(self) -> Iterator[_Tables]:
        if not Path(self.path).is_file():
            raise StorageError(f"there is no queue file {self.path}: check the path; a pipeline that uses it makes it")
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
                tables = _Tables(connection)
                tables.look_at_format()
                yield tables
        except sqlite3.Error as error:
            raise storage_error(error, self.path) from error


def _health(name: str, ready: int, held: int) -> QueueHealth:
    return QueueHealth(name=name, depth=ready, unacked=held)


def _transact(tables: _Tables, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    tables.db.execute("BEGIN IMMEDIATE")
    try:
        result = work(*args, **options)
        tables.db.execute("COMMIT")
    except BaseException:
        tables.forget()
        if tables.db.in_transaction:
            tables.db.execute("ROLLBACK")
        raise
    return result


def _move(tables: _Tables, queue: int, batch: Batch, wanted: dict[int, list[int]]) -> int:
    """Write what the letters hold to its queues, and remove those letters; a worker may have taken some meanwhile."""
    taken = set(tables.take(queue, [batch.handles[i] for i in sorted(chain(*wanted.values()))]))
    for target, places in wanted.items():
        mine = [i for i in places if batch.handles[i] in taken]
        if mine:
            known = [restored(batch.metadata(i)) for i in mine]
            rows, _ = records(Outgoing([batch.bodies[i] for i in mine], known.__getitem__))
            tables.publish(target, rows, time.time())
    return len(taken)


class _Tables(Tables):
    """What is done to the tables of a file besides working on its queues."""

    def look_at_format(self) -> None:
        """Know the file's prefix; nothing is written."""
        (self.prefix,) = self.db.execute("SELECT prefix FROM file").fetchone()

    def find(self, name: str) -> int | None:
        """The number of a queue that is there."""
        row = self.db.execute("SELECT id FROM queue WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def overview(self) -> list[tuple[str, int, int]]:
        """Name, waiting and held messages of each queue."""
        sql = """SELECT name, tail - head + back, coalesce((SELECT sum(last - first + 1) FROM pending
                 WHERE pending.queue = queue.id AND owner IS NOT NULL), 0) FROM queue ORDER BY name"""
        return self.db.execute(sql).fetchall()

    def waiting(self, queue: int) -> list[Run]:
        """The messages that wait, in the order in which they are handed out."""
        sql = """SELECT first, last, visible, attempts, deliveries FROM pending WHERE queue = ?1 AND owner IS NULL
                 UNION ALL SELECT head + 1, tail, 0, 1, 0 FROM queue WHERE id = ?1 AND head < tail ORDER BY 1"""
        return [Run(*row) for row in self.db.execute(sql, (queue,)).fetchall()]

    def read(self, runs: Iterable[Run], most: int = _AT_ONCE) -> Iterator[Batch]:
        """The messages of runs that are still there, at most so many at once."""
        for run in runs:
            for first in range(run.first, run.last + 1, most):
                yield from self._pieces(run._replace(first=first, last=min(run.last, first + most - 1)))

    def take(self, queue: int, positions: Sequence[object]) -> list[int]:
        """Remove those of these messages that still wait; returns which."""
        wanted = [position for position in positions if isinstance(position, int)]
        if not wanted:
            return []
        # What was never handed out becomes what came back, without a delivery.
        sql = "INSERT INTO pending SELECT head + 1, tail, id, NULL, 0, 1, 0 FROM queue WHERE id = ? AND head < tail"
        self.db.execute(sql, (queue,))
        self.db.execute("UPDATE queue SET back = back + tail - head, head = tail WHERE id = ?", (queue,))
        runs = self.settle(queue, None, wanted)
        taken = [position for run in runs for position in range(run.first, run.last + 1)]
        self.db.execute("UPDATE queue SET back = back - ? WHERE id = ?", (len(taken), queue))
        return taken

    def purge(self, queue: int) -> int:
        """Remove what waits."""
        count = 0
        for run in self.waiting(queue):
            count += len(self.take(queue, range(run.first, run.last + 1)))
        return count

    def delete(self, queue: int) -> None:
        """Remove a queue; its number is not given again, as positions and so ids follow from it."""
        low, high = self.positions(queue)
        self.db.execute("DELETE FROM block WHERE first BETWEEN ? AND ?", (low, high))
        self.db.execute("DELETE FROM pending WHERE queue = ?", (queue,))
        self.db.execute("DELETE FROM queue WHERE id = ?", (queue,))
        (last,) = self.db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'queue'").fetchone()
        self.db.execute("DELETE FROM sqlite_sequence WHERE name = 'queue'")
        self.db.execute("INSERT INTO sqlite_sequence VALUES ('queue', ?)", (max(queue, last or 0),))
