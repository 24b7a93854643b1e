"""What SQLite says when a file cannot be used, as a sentence that says what to do."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import msgspec

from warren.core.errors import StorageError

__all__ = ["BUSY_SECONDS", "storage_error"]

BUSY_SECONDS = 30.0

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_CLOSED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

_EFFECTIVE = os.access in os.supports_effective_ids


def storage_error(error: Exception, path: str, kind: str = "queue file") -> StorageError:
    """What the user of a queue file, or of another kind of SQLite file, is told.

    >>> print(storage_error(sqlite3.OperationalError("oh"), "/tmp/orders.db"))
    the queue file /tmp/orders.db cannot be used: oh
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    folder = Path(path).parent
    if not folder.is_dir():
        what = f"the {kind} {path} cannot be opened: the folder {folder} does not exist; create it first"
    elif code in _DAMAGED or isinstance(error, msgspec.MsgspecError):
        what = (
            f"the {kind} {path} is damaged or is not a {kind} ({error}); restore it from a copy, or move it away "
            f"and a new one is made"
        )
    elif code in _CLOSED or isinstance(error, PermissionError) or not os.access(folder, os.W_OK, effective_ids=_EFFECTIVE):
        what = (
            f"the {kind} {path} cannot be written ({error}): SQLite must be able to create and change files in the "
            f"folder {folder}; change its permissions or name another place"
        )
    elif code in _FULL:
        what = (
            f"the {kind} {path} cannot take more ({error}): the disk is full, failing, or a file-size limit is reached; "
            f"nothing of this write was stored and what was stored before is safe; make room and run again"
        )
    elif code in _BUSY:
        what = (
            f"the {kind} {path} was locked by another process for {BUSY_SECONDS:.0f} s ({error}); end what holds a "
            f"transaction open on it, and run again"
        )
    else:
        what = f"the {kind} {path} cannot be used: {error}"
    found = StorageError(what)
    found.__cause__ = error
    return found
