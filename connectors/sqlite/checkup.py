"""Whether a queue file can be used, and goes on so."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from warren.core.checkup import Finding, State

__all__ = ["checkup"]

_OLDEST = (3, 35)
"""The first SQLite with RETURNING."""
_SCARCE, _LOW = 1 << 28, 1 << 30
"""Bytes of free disk: so few are a problem, so few a warning."""


def checkup(path: str) -> Iterator[Finding]:
    """Look at a file, at its disk, and at SQLite; writes nothing."""
    new = sqlite3.sqlite_version_info >= _OLDEST
    remedy = "" if new else f"use a Python with SQLite {'.'.join(map(str, _OLDEST))} or newer"
    yield Finding("SQLite", "ok" if new else "problem", f"version {sqlite3.sqlite_version}", remedy)
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        yield Finding("file", "problem", f"there is no folder {folder}", "check the path, or make the folder")
        return
    yield _disk(folder)
    if not Path(path).is_file():
        yield Finding(
            "file", "problem", f"there is no queue file {path}", "check the path; a pipeline that uses it makes it"
        )
        return
    for place, rights in ((path, os.R_OK | os.W_OK), (str(folder), os.W_OK | os.X_OK)):
        if not os.access(place, rights):
            yield Finding("permissions", "problem", f"{place} cannot be written", "give this user the right to write there")
    yield _sound(path)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    state: State = "problem" if free < _SCARCE else "warning" if free < _LOW else "ok"
    remedy = "" if state == "ok" else "make room: a full disk stops every pipeline on the file"
    return Finding("disk", state, f"{free / 1e9:,.1f} GB free on {folder}", remedy)


def _sound(path: str) -> Finding:
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            db.execute("SELECT prefix FROM file").fetchone()
            (mode,) = db.execute("PRAGMA journal_mode").fetchone()
            (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return Finding(
            "file", "problem", f"{path} is not a queue file that can be read: {error}", "give another, or restore it"
        )
    if said != "ok":
        return Finding(
            "file", "problem", f"{path} is damaged: {said}", "stop what uses it, and restore it or sqlite3 .recover"
        )
    if mode != "wal":
        return Finding("file", "warning", f"its journal is {mode!r}, not a write-ahead log", "put it on a local disk")
    return Finding("file", "ok", f"{path} is sound")
