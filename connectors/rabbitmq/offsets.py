"""Where a reader of a stream keeps how far it is: in an SQLite file, one row for each consumer of each stream."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from warren.connectors.rabbitmq.progress import Mark
from warren.connectors.sqlite.faults import BUSY_SECONDS, storage_error
from warren.connectors.sqlite.wal import use_wal
from warren.core.errors import StorageError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows has no such locks: there nobody notices a second reader of the same name
    fcntl = None

__all__ = ["Offsets"]

R = TypeVar("R")

_TABLE = """
CREATE TABLE IF NOT EXISTS offsets (
    vhost TEXT, stream TEXT, consumer TEXT, floor INTEGER NOT NULL, runs INTEGER NOT NULL,
    exact INTEGER NOT NULL, mark TEXT NOT NULL,
    PRIMARY KEY (vhost, stream, consumer)
) WITHOUT ROWID
"""
_FIND = "SELECT runs, exact, mark FROM offsets WHERE vhost = ? AND stream = ? AND consumer = ?"
_BEGIN = "UPDATE offsets SET runs = runs + 1 WHERE vhost = ? AND stream = ? AND consumer = ?"
_SAVE = "REPLACE INTO offsets (vhost, stream, consumer, floor, runs, exact, mark) VALUES (?, ?, ?, ?, 0, ?, ?)"


class Offsets:
    """One consumer's row, held alone as long as it is open. Raises `StorageError`.

    What is asked while a write is under way goes to the disk with the next one, which tells the newest state.
    """

    def __init__(self, path: str, vhost: str, stream: str, consumer: str) -> None:
        self.path = os.path.realpath(path)
        self.mark: Mark | None = None
        self.runs = 0
        """How many runs began since the state was last written."""
        self.torn = False
        """Whether the run that wrote it went on, and was cut short."""
        self._key = vhost, stream, consumer
        self._lock = _Lock(self.path, self._key)
        self._thread = ThreadPoolExecutor(1, "warren-offsets")
        self._db: sqlite3.Connection | None = None
        self._saving = asyncio.Lock()
        self._asked = self._saved = 0

    async def open(self) -> None:
        """Read the row, and count that a run begins."""
        await self._do(self._open)

    def _open(self) -> None:
        try:
            self._lock.acquire()
            db = self._db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            use_wal(db)
            db.execute("PRAGMA synchronous = FULL")
            db.execute(_TABLE)
            found = db.execute(_FIND, self._key).fetchone()
            db.execute(_BEGIN, self._key)
            if found is not None:
                self.runs, self.torn, self.mark = found[0], not found[1], msgspec.json.decode(found[2], type=Mark)
        except (sqlite3.Error, OSError, msgspec.MsgspecError) as error:
            raise storage_error(error, self.path, "file of offsets") from error

    async def save(self, mark: Callable[[], Mark], *, exact: bool = False) -> None:
        """Write the state as it is when its turn comes; returns when that is on the disk.

        It is ``exact`` where no more is handed out before the next time.
        """
        self._asked = asked = self._asked + 1
        async with self._saving:
            if self._saved < asked:
                newest, state = self._asked, mark()
                await self._do(lambda: self._save(state, exact))
                self._saved = newest

    def _save(self, mark: Mark, exact: bool) -> None:
        assert self._db is not None
        try:
            self._db.execute(_SAVE, (*self._key, mark.floor, exact, msgspec.json.encode(mark).decode()))
        except sqlite3.Error as error:
            raise storage_error(error, self.path, "file of offsets") from error

    async def close(self) -> None:
        """Close the file, for the next reader of this name."""
        await self._do(self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
        self._lock.release()

    async def _do(self, work: Callable[[], R]) -> R:
        # Once it has begun it goes on in its thread, whatever becomes of who waits for it.
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class _Lock:
    """A file that is locked as long as its owner lives, however that ends."""

    def __init__(self, path: str, key: tuple[str, str, str]) -> None:
        self.path = Path(f"{path}-{hashlib.blake2s(repr(key).encode(), digest_size=6).hexdigest()}.lock")
        self.key = key
        self._descriptor: int | None = None

    def acquire(self) -> None:
        while fcntl is not None and self._descriptor is None:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                _, stream, consumer = self.key
                raise StorageError(
                    f"consumer {consumer!r} of stream {stream!r} reads already, with its offsets in {self.path.parent}: "
                    f"stop it first, or give this one a name of its own (consumer=...)"
                ) from None
            if self._is_current(descriptor):
                self._descriptor = descriptor
            else:
                os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        """Whether the file is still there: the one who had it may just have removed it."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = None
