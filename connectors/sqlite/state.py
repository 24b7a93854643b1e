"""A pipeline's state in one SQLite file; each checkpoint is one transaction."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import msgspec

from warren.connectors.sqlite.faults import storage_error
from warren.core.errors import StateError, StorageError
from warren.core.state import Change, Kept

__all__ = ["About", "StateFile", "StepState"]

_FORMAT = 1
_TABLES = """
CREATE TABLE about (pipeline TEXT NOT NULL, checkpoints INTEGER NOT NULL);
CREATE TABLE steps (number INTEGER PRIMARY KEY, step TEXT NOT NULL UNIQUE, version INTEGER NOT NULL);
CREATE TABLE rows (
    step INTEGER NOT NULL, key BLOB NOT NULL, part INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY (step, key, part)
) WITHOUT ROWID;
CREATE TABLE counted (
    step INTEGER NOT NULL, number INTEGER NOT NULL, ids BLOB NOT NULL, PRIMARY KEY (step, number)
) WITHOUT ROWID;
"""


class About(NamedTuple):
    """Of which pipeline a file is, and how many checkpoints it has taken."""

    pipeline: str
    checkpoints: int


_TOGETHER = 1000
"""Rows in one statement: between two statements the thread has to wait for its turn beside a busy pipeline."""
_PUT = "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)"
_PUT_MANY = _PUT + ", (?, ?, ?, ?)" * (_TOGETHER - 1)


class StepState(NamedTuple):
    """What a file has of one step, in numbers."""

    step: str
    version: int
    keys: int
    size: int


class StateFile:
    """Keeps state in a SQLite file, which is made where there is none. One run has it at a time.

    Every checkpoint is on disk before it counts, so it survives a power cut.

    >>> import tempfile
    >>> file = StateFile(Path(tempfile.mkdtemp()) / "orders.state")
    >>> file.open("orders")
    {}
    >>> file.commit([Change("1:scan", 1, [], {(b"key", 0): b"value"}, ["7"], 0)])
    >>> file.close()
    >>> file.open("orders")["1:scan"]
    (1, Kept(rows={(b'key', 0): b'value'}, counted=[['7']]))
    >>> file.close()
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._db: sqlite3.Connection | None = None
        self._numbers: dict[str, int] = {}
        self._guard = threading.Lock()

    def __repr__(self) -> str:
        return f"StateFile({self.path!r})"

    def open(self, pipeline: str) -> Mapping[str, tuple[int, Kept]]:
        """What is there. Raises `StateError` for a file of another pipeline or version, or one that is in use."""
        with self._guard, self._errors():
            if self._db is not None:
                raise StateError(f"the state file {self.path} is in use by another run of this process; end that one first")
            self._db = self._connect()
            try:
                self._db.execute("BEGIN EXCLUSIVE")
                self._prepare(pipeline)
                self._db.execute("COMMIT")
            except BaseException:
                self._shut()
                raise
            return self._read()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=1.0)
        try:
            self._set_up(db)
        except BaseException:
            db.close()
            raise
        return db

    @staticmethod
    def _set_up(db: sqlite3.Connection) -> None:
        # Whoever has the file keeps it locked, so there is nothing to wait for.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")

    def _prepare(self, pipeline: str) -> None:
        assert self._db is not None
        found = self._version()
        if found == 0:
            for statement in _TABLES.split(";"):
                self._db.execute(statement)
            self._db.execute("INSERT INTO about VALUES (?, 0)", (pipeline,))
            self._db.execute(f"PRAGMA user_version = {_FORMAT}")
        self._refuse_other_format(self._version())
        (whose,) = self._db.execute("SELECT pipeline FROM about").fetchone()
        if whose != pipeline:
            raise StateError(
                f"the state file {self.path} is of pipeline {whose!r}, not of {pipeline!r}; give each pipeline its own file"
            )

    def _version(self) -> int:
        assert self._db is not None
        found: int = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found == 0 and self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StateError(f"{self.path} is a database of something else; name another file for the state")
        return found

    def _refuse_other_format(self, found: int) -> None:
        if found != _FORMAT:
            raise StateError(
                f"the state file {self.path} has format {found} and this version of warren knows format {_FORMAT}; run the "
                f"version that wrote it, or name another file"
            )

    def _read(self) -> dict[str, tuple[int, Kept]]:
        assert self._db is not None
        found: dict[str, tuple[int, Kept]] = {}
        for number, step, version in self._db.execute("SELECT number, step, version FROM steps").fetchall():
            self._numbers[step] = number
            rows = self._db.execute("SELECT key, part, value FROM rows WHERE step = ?", (number,))
            ids = self._db.execute("SELECT ids FROM counted WHERE step = ? ORDER BY number", (number,))
            kept = Kept(
                {(key, part): value for key, part, value in rows},
                [msgspec.msgpack.decode(each, type=list[str]) for (each,) in ids],
            )
            found[step] = version, kept
        return found

    def commit(self, changes: Sequence[Change]) -> None:
        """Write a checkpoint. Raises `StorageError` where it cannot be, and then nothing has changed."""
        with self._guard, self._errors():
            db = self._db
            if db is None:
                raise StateError(f"the state file {self.path} is closed")
            db.execute("BEGIN")
            try:
                db.execute("UPDATE about SET checkpoints = checkpoints + 1")
                for change in changes:
                    self._write(db, change)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _write(self, db: sqlite3.Connection, change: Change) -> None:
        number = self._numbers.get(change.step)
        if number is None:
            db.execute("INSERT OR IGNORE INTO steps (step, version) VALUES (?, ?)", (change.step, change.version))
            (number,) = db.execute("SELECT number FROM steps WHERE step = ?", (change.step,)).fetchone()
            self._numbers[change.step] = number
        db.execute(
            "UPDATE steps SET version = ? WHERE number = ? AND version <> ?", (change.version, number, change.version)
        )
        db.executemany("DELETE FROM rows WHERE step = ? AND key = ?", [(number, key) for key in change.removed])
        # In the order of the file, so that neighbours are written together.
        put = [(number, *place, change.put[place]) for place in sorted(change.put)]
        whole = len(put) - len(put) % _TOGETHER
        for first in range(0, whole, _TOGETHER):
            db.execute(_PUT_MANY, list(chain.from_iterable(put[first : first + _TOGETHER])))
        db.executemany(_PUT, put[whole:])
        if change.forgotten:
            db.execute(
                "DELETE FROM counted WHERE step = ?1 AND number IN "
                "(SELECT number FROM counted WHERE step = ?1 ORDER BY number LIMIT ?2)",
                (number, change.forgotten),
            )
        if change.counted:
            db.execute(
                "INSERT INTO counted SELECT ?1, coalesce(max(number), 0) + 1, ?2 FROM counted WHERE step = ?1",
                (number, msgspec.msgpack.encode(change.counted)),
            )

    def close(self) -> None:
        """Let go of the file."""
        with self._guard:
            self._shut()

    def _shut(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = None
        self._numbers.clear()

    def summary(self) -> list[StepState]:
        """What is in the file, step by step. Raises `StateError` while a run has it."""
        with self._alone() as db:
            found = db.execute(
                "SELECT s.step, s.version, count(DISTINCT r.key), coalesce(sum(length(r.key) + length(r.value)), 0) "
                "FROM steps AS s LEFT JOIN rows AS r ON r.step = s.number GROUP BY s.number ORDER BY s.number"
            )
            return [StepState(*row) for row in found.fetchall()]

    def about(self) -> About:
        """Whose state it is. Raises `StateError` while a run has it."""
        with self._alone() as db:
            return _about(db)

    def keys(self, step: str) -> list[bytes]:
        """The keys of one step, in the order of their bytes. Raises `StateError` where there is no such step."""
        with self._alone() as db:
            found = db.execute("SELECT DISTINCT key FROM rows WHERE step = ? ORDER BY key", (self._number(db, step),))
            return [key for (key,) in found.fetchall()]

    def rows(self, step: str, keys: Sequence[bytes]) -> Iterator[tuple[bytes, int, bytes]]:
        """Keys, parts and values of some keys of one step."""
        with self._alone() as db:
            number = self._number(db, step)
            for key in keys:
                yield from db.execute("SELECT key, part, value FROM rows WHERE step = ? AND key = ?", (number, key))

    def _number(self, db: sqlite3.Connection, step: str) -> int:
        row = db.execute("SELECT number FROM steps WHERE step = ?", (step,)).fetchone()
        if row is None:
            known = [name for (name,) in db.execute("SELECT step FROM steps ORDER BY number")]
            there = f"there are {', '.join(known)}" if known else "there is none"
            raise StateError(f"the state file {self.path} has no step {step!r}; {there}")
        return int(row[0])

    def drop(self, step: str) -> int:
        """Forget what a step remembers, and which messages it has counted; returns how many keys those were."""
        with self._alone() as db:
            row = (self._number(db, step),)
            (keys,) = db.execute("SELECT count(DISTINCT key) FROM rows WHERE step = ?", row).fetchone()
            db.execute("BEGIN")
            for table, column in (("rows", "step"), ("counted", "step"), ("steps", "number")):
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", row)  # noqa: S608  names of our own
            db.execute("COMMIT")
            return int(keys)

    def copy_to(self, path: str | os.PathLike[str]) -> About:
        """Write a copy, as it is at one moment, to a file that is not there yet: a snapshot to go back to."""
        target = StateFile(path)
        if Path(path).exists():
            raise StateError(f"{target.path} is there already; name another file for the copy, or move it away")
        with self._alone() as db:
            target._fill(db)
            return _about(db)

    def restore(self, copy: str | os.PathLike[str], *, force: bool = False) -> tuple[About, About | None]:
        """Become what a copy is; gives what the copy is of, and what was here before.

        Raises `StateError` while a run has one of them, and where something is here already, unless ``force`` is given.
        """
        if not Path(self.path).exists():
            with StateFile(copy)._alone() as source:
                self._fill(source)
                return _about(source), None
        if not force:
            raise StateError(f"{self.path} is there already, and would be overwritten; move it away, or use force")
        with StateFile(copy)._alone() as source, self._alone() as db:
            before = _about(db)
            source.backup(db)
            return _about(source), before

    def _fill(self, source: sqlite3.Connection) -> None:
        """Make the file, whole or not at all."""
        part = Path(f"{self.path}.part")
        with self._errors():
            try:
                copy = sqlite3.connect(part)
                try:
                    source.backup(copy)
                finally:
                    copy.close()
                part.rename(self.path)
            finally:
                part.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        if not Path(self.path).exists():
            raise StateError(f"there is no state file {self.path}")
        with self._guard, self._errors():
            if self._db is not None:
                raise StateError(f"the state file {self.path} is in use by a run of this process")
            db = self._db = self._connect()
            try:
                db.execute("BEGIN EXCLUSIVE")
                db.execute("COMMIT")
                self._refuse_other_format(self._version())
                yield db
            finally:
                self._shut()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, msgspec.MsgspecError, OSError) as error:
            if isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in (5, 6):
                raise StateError(
                    f"the state file {self.path} is in use by another process; one run has it at a time: end that one, or "
                    f"name another file"
                ) from error
            raise self._told(error) from error

    def _told(self, error: Exception) -> StorageError:
        return storage_error(error, self.path, "state file")


def _about(db: sqlite3.Connection) -> About:
    return About(*db.execute("SELECT pipeline, checkpoints FROM about").fetchone())
