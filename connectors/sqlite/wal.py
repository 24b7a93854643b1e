"""The write-ahead log of a SQLite file, turned on by whoever opens it first."""

from __future__ import annotations

import sqlite3
import time

from warren.connectors.sqlite.faults import BUSY_SECONDS

__all__ = ["use_wal"]

_PAUSE_SECONDS = 0.005


def use_wal(db: sqlite3.Connection) -> None:
    """Turn on the write-ahead log; waits for others that do the same. Raises `sqlite3.OperationalError` after 30 s.

    >>> use_wal(sqlite3.connect(":memory:"))
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # Of two that turn it on at once SQLite refuses one without waiting, whatever its timeout.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
