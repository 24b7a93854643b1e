"""Several open the same new file at the same moment."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from warren.connectors.sqlite.wal import use_wal

OPENERS = 3


def test_all_who_turn_it_on_at_once_succeed(tmp_path: Path) -> None:
    barrier = Barrier(OPENERS)

    def turn_on(path: Path) -> str:
        barrier.wait()
        db = sqlite3.connect(path, timeout=30, isolation_level=None)
        try:
            use_wal(db)
            db.execute("CREATE TABLE IF NOT EXISTS numbers (number INTEGER)")
            db.execute("INSERT INTO numbers VALUES (1)")
            return str(db.execute("PRAGMA journal_mode").fetchone()[0])
        finally:
            db.close()

    with ThreadPoolExecutor(OPENERS) as pool:
        for round in range(200):
            assert set(pool.map(turn_on, [tmp_path / f"{round}.db"] * OPENERS)) == {"wal"}
