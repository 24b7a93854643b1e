"""The tables of a queue file, and what is done to them inside one transaction.

Every message has a position. Queue ``q`` owns the positions from ``q << 40`` on and hands them out without gaps, so a
run of messages is two numbers. What is written together is stored together, as one ``block`` that never changes. The
state of messages is kept apart, as runs: positions above ``queue.head`` were never handed out; those up to it are
unsettled where a ``pending`` run has them, and done with otherwise. A block goes when all its messages are done with.
So handing out and settling a thousand messages touches a handful of small rows, and rewrites no body.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from warren.connectors.records import Records
from warren.connectors.sqlite.blocks import NO_BLOCK, Run, joined, pack, split, unpack
from warren.core.message import Batch

__all__ = ["Claim", "Tables", "runs_of"]

_VERSION = 1
_SPAN = 1 << 40

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS file (prefix TEXT NOT NULL);
INSERT INTO file SELECT lower(hex(randomblob(6))) WHERE NOT EXISTS (SELECT 1 FROM file);
CREATE TABLE IF NOT EXISTS queue (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    head INTEGER NOT NULL, -- the last position handed out
    tail INTEGER NOT NULL, -- the last position written
    back INTEGER NOT NULL  -- how many messages were given back and wait
);
CREATE TABLE IF NOT EXISTS block (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, enqueued REAL NOT NULL,
    bodies BLOB NOT NULL, -- MessagePack array of binaries
    about BLOB            -- MessagePack map of the columns of Records that say something
);
CREATE TABLE IF NOT EXISTS pending (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, queue INTEGER NOT NULL,
    owner INTEGER,        -- who holds them; NULL where they wait
    visible REAL NOT NULL, attempts INTEGER NOT NULL, deliveries INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS pending_queue ON pending (queue, owner, visible);
CREATE TABLE IF NOT EXISTS owner (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    lock TEXT NOT NULL,   -- the file its process keeps locked
    lease REAL NOT NULL   -- until when it is believed without that
);
PRAGMA user_version = 1;
COMMIT;
"""


class Claim(NamedTuple):
    """What a look at a queue found: messages, or that nothing will come, or when to look again."""

    batch: Batch | None = None
    empty: bool = False
    due: float | None = None


def runs_of(positions: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The runs of following numbers, first and last, in increasing positions.

    >>> list(runs_of([1, 2, 3, 7, 8, 10]))
    [(1, 3), (7, 8), (10, 10)]
    """
    if type(positions) is range and positions.step == 1:
        if positions:
            yield positions.start, positions.stop - 1
        return
    values = list(positions)
    if not values:
        return
    if values[-1] - values[0] == len(values) - 1:
        yield values[0], values[-1]
        return
    first = values[0]
    for a, b in pairwise(values):
        if b != a + 1:
            yield first, a
            first = b
    yield first, values[-1]


class Tables:
    """The tables through one connection; every method but `create` runs inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.db = connection
        self.prefix = ""
        self._block = NO_BLOCK

    def forget(self) -> None:
        """Forget what was read in a transaction that was rolled back: its positions will hold other messages."""
        self._block = NO_BLOCK

    def create(self) -> None:
        """Make what is not there yet."""
        (version,) = self.db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self.db.executescript(_SCHEMA)
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"its tables are of version {version} and this warren knows version {_VERSION}")
        (self.prefix,) = self.db.execute("SELECT prefix FROM file").fetchone()

    def queue(self, name: str) -> int:
        """The number of a queue, which is made where there is none."""
        row = self.db.execute("SELECT id FROM queue WHERE name = ?", (name,)).fetchone()
        if row is None:
            # The number of a queue that was deleted is not given again, as whoever still has it would write elsewhere.
            sql = """INSERT INTO queue SELECT 1 + max(coalesce(max(id), 0), coalesce((SELECT seq FROM sqlite_sequence
                     WHERE name = 'queue'), 0)), ?, 0, 0, 0 FROM queue RETURNING id"""
            row = self.db.execute(sql, (name,)).fetchone()
            self.db.execute("UPDATE queue SET head = id * ?1, tail = id * ?1 WHERE id = ?2", (_SPAN, row[0]))
        return int(row[0])

    def _row(self, sql: str, values: tuple[int, ...]) -> Any:
        """What is asked of a queue."""
        row = self.db.execute(sql, values).fetchone()
        if row is None:
            raise sqlite3.OperationalError("a queue in use was deleted; start again what uses it")
        return row

    @staticmethod
    def positions(queue: int) -> tuple[int, int]:
        """The first and the last position that a queue may have."""
        return queue * _SPAN + 1, (queue + 1) * _SPAN

    def publish(self, queue: int, records: Records, now: float) -> None:
        """Write messages at the end of a queue."""
        count = len(records.bodies)
        sql = "UPDATE queue SET tail = tail + ? WHERE id = ? RETURNING tail"
        (tail,) = self._row(sql, (count, queue))
        first = tail - count + 1
        rows = []
        for part in split(records):
            last = first + len(part.bodies) - 1
            rows.append((first, last, now, *pack(part)))
            first = last + 1
        self.db.executemany("INSERT INTO block VALUES (?, ?, ?, ?, ?)", rows)

    def look(self, queue: int, owner: int, now: float, until_empty: bool) -> Claim | None:
        """Why nothing can be claimed now; ``None`` where something can."""
        sql = """SELECT head < tail, back, (SELECT min(visible) FROM pending WHERE queue = ?1 AND owner IS NULL)
                 FROM queue WHERE id = ?1"""
        fresh, back, due = self._row(sql, (queue,))
        if fresh or (due is not None and due <= now):
            return None
        if until_empty and not back:
            sql = "SELECT 1 FROM pending WHERE queue = ? AND owner IS NOT NULL AND owner != ? LIMIT 1"
            return Claim(empty=self.db.execute(sql, (queue, owner)).fetchone() is None)
        return Claim(due=due)

    def claim(self, queue: int, owner: int, limit: int, now: float) -> Batch | None:
        """Hand out up to ``limit`` messages to an owner: first what came back, then what never was handed out."""
        head, tail, back = self._row("SELECT head, tail, back FROM queue WHERE id = ?", (queue,))
        taken = self._claim_back(queue, owner, limit, now) if back else []
        again = sum(run.last - run.first + 1 for run in taken)
        fresh = min(limit - again, tail - head)
        if fresh:
            taken.append(Run(head + 1, head + fresh, 0.0, 1, 1))
            self.db.execute("INSERT INTO pending VALUES (?, ?, ?, ?, 0, 1, 1)", (head + 1, head + fresh, queue, owner))
        if not taken:
            return None
        sql = "UPDATE queue SET head = head + ?, back = back - ? WHERE id = ?"
        self.db.execute(sql, (fresh, again, queue))
        return self._read(taken, depth=tail - head - fresh + back - again)

    def _claim_back(self, queue: int, owner: int, limit: int, now: float) -> list[Run]:
        sql = """SELECT first, last, visible, attempts, deliveries FROM pending
                 WHERE queue = ? AND owner IS NULL AND visible <= ? ORDER BY first LIMIT ?"""
        taken: list[Run] = []
        for row in self.db.execute(sql, (queue, now, limit)).fetchall():
            run = Run(*row)
            if run.last - run.first >= limit:
                rest = run._replace(first=run.first + limit)
                run = run._replace(last=rest.first - 1)
                self._insert(queue, None, [rest])
            taken.append(run._replace(deliveries=run.deliveries + 1))
            limit -= run.last - run.first + 1
            if not limit:
                break
        sql = "UPDATE pending SET last = ?, owner = ?, deliveries = ? WHERE first = ?"
        self.db.executemany(sql, [(run.last, owner, run.deliveries, run.first) for run in taken])
        return taken

    def _insert(self, queue: int, owner: int | None, runs: Iterable[Run]) -> None:
        rows = [(run.first, run.last, queue, owner, *run[2:]) for run in runs]
        self.db.executemany("INSERT INTO pending VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def _read(self, runs: Sequence[Run], depth: int) -> Batch | None:
        pieces = [piece for run in runs for piece in self._pieces(run)]
        if len(pieces) == 1:
            batch = pieces[0]
        elif not pieces:
            return None
        else:
            batch = joined(pieces, self.prefix)
        batch.depth = depth
        return batch

    def _pieces(self, run: Run) -> Iterator[Batch]:
        """The messages of a run, block by block."""
        position, last = run.first, run.last
        while position <= last:
            block = self._block
            if not block.first <= position <= block.last:
                sql = "SELECT first, last, enqueued, bodies, about FROM block WHERE first <= ? ORDER BY first DESC LIMIT 1"
                row = self.db.execute(sql, (position,)).fetchone()
                if row is None or row[1] < position:  # someone settled it after its owner was given up
                    position += 1
                    continue
                self._block = block = unpack(*row)
            until = min(last, block.last) + 1
            yield block.batch(self.prefix, range(position, until), run)
            position = until

    def settle(self, queue: int, owner: int | None, positions: Sequence[int]) -> list[Run]:
        """Be done with those of these messages that the owner holds, or that wait; returns which."""
        taken = self._carve(queue, owner, positions)
        if taken:
            # Pending runs never overlap, so the nearest one before a block's end tells whether any reaches into it.
            self.db.execute(
                """DELETE FROM block WHERE first <= ?2
                   AND first >= coalesce((SELECT max(first) FROM block WHERE first <= ?1), ?1)
                   AND last <= (SELECT head FROM queue WHERE id = ?3) AND first > ?3 * ?4
                   AND coalesce((SELECT p.last FROM pending p WHERE p.first <= block.last
                                 ORDER BY p.first DESC LIMIT 1), 0) < block.first""",
                (taken[0].first, taken[-1].last, queue, _SPAN),
            )
        return taken

    def give_back(self, queue: int, owner: int, positions: Sequence[int], visible: float, attempts: int | None) -> None:
        """Let those of these messages that the owner holds wait until ``visible``."""
        taken = self._carve(queue, owner, positions)
        if attempts is None:
            waiting = [run._replace(visible=visible) for run in taken]
        else:
            waiting = [run._replace(visible=visible, attempts=attempts) for run in taken]
        self._insert(queue, None, waiting)
        count = sum(run.last - run.first + 1 for run in waiting)
        self.db.execute("UPDATE queue SET back = back + ? WHERE id = ?", (count, queue))

    def _carve(self, queue: int, owner: int | None, positions: Sequence[int]) -> list[Run]:
        """Take positions out of the runs an owner holds; returns what was taken."""
        wanted = list(runs_of(positions if type(positions) is range else sorted(set(positions))))
        if not wanted:
            return []
        low, high = wanted[0][0], wanted[-1][1]
        sql = """SELECT first, last, visible, attempts, deliveries FROM pending
                 WHERE first <= ?2 AND last >= ?1 AND owner IS ?3
                 AND first >= coalesce((SELECT max(first) FROM pending WHERE first <= ?1), ?1) ORDER BY first"""
        held = [Run(*row) for row in self.db.execute(sql, (low, high, owner)).fetchall()]
        if not held:
            return []
        taken: list[Run] = []
        kept: list[Run] = []
        todo = iter(wanted)
        first, last = next(todo)
        for run in held:
            start = run.first
            while start <= run.last:
                while last < start and last < high:
                    first, last = next(todo)
                if last < start or first > run.last:
                    kept.append(run._replace(first=start))
                    break
                if first > start:
                    kept.append(run._replace(first=start, last=first - 1))
                    start = first
                end = min(last, run.last)
                taken.append(run._replace(first=start, last=end))
                start = end + 1
        if taken:
            sql = "DELETE FROM pending WHERE first BETWEEN ? AND ? AND owner IS ?"
            self.db.execute(sql, (held[0].first, held[-1].first, owner))
            if kept:
                self._insert(queue, owner, kept)
        return taken

    def enter(self, lock: str, lease: float) -> int:
        """A new owner."""
        sql = "INSERT INTO owner VALUES (NULL, ?, ?) RETURNING id"
        return int(self.db.execute(sql, (lock, lease)).fetchone()[0])

    def renew(self, owners: Iterable[int], lock: str, lease: float) -> None:
        """Prolong leases; who was given up meanwhile is an owner again, with empty hands."""
        sql = "INSERT INTO owner VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET lease = excluded.lease"
        self.db.executemany(sql, [(owner, lock, lease) for owner in owners])

    def others(self, lock: str) -> list[tuple[int, str, float]]:
        """The owners of other processes: number, lock file and lease."""
        return self.db.execute("SELECT id, lock, lease FROM owner WHERE lock != ?", (lock,)).fetchall()

    def leave(self, *owners: int) -> None:
        """Let owners go: what they hold waits again, in its old place."""
        for owner in owners:
            sql = "SELECT queue, sum(last - first + 1) FROM pending WHERE owner = ? GROUP BY queue"
            for queue, count in self.db.execute(sql, (owner,)).fetchall():
                self.db.execute("UPDATE queue SET back = back + ? WHERE id = ?", (count, queue))
            self.db.execute("UPDATE pending SET owner = NULL, visible = 0 WHERE owner = ?", (owner,))
            self.db.execute("DELETE FROM owner WHERE id = ?", (owner,))

    def depths(self) -> Mapping[str, int]:
        """How many messages wait in each queue, delayed ones included."""
        return dict(self.db.execute("SELECT name, tail - head + back FROM queue ORDER BY name").fetchall())
