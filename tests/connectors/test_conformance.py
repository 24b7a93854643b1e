"""The in-memory and the SQLite queue keep what every queue has to keep."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from warren.connectors import memory, sqlite
from warren.connectors.conformance import AdminConformance, Conformance
from warren.connectors.sqlite.admin import FileAdmin
from warren.pipelines.virtual import VirtualLoop


class TestMemory(Conformance):
    loop_factory = VirtualLoop
    delay = 3600.0
    deadline = 1e6

    @pytest.fixture(autouse=True)
    def _broker(self) -> None:
        self.broker = memory.Broker()

    def queue(self, name: str) -> Any:
        return memory.queue(name, broker=self.broker)

    async def crash(self, connection: Any) -> None:
        # A queue in memory dies with its process; a connection that is lost within it can only be closed.
        await connection.close()


class TestSqlite(Conformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "queues.db"

    def queue(self, name: str) -> Any:
        return sqlite.queue(self.path, name, synchronous="normal")

    async def crash(self, connection: Any) -> None:
        # As if another process had it, whose lease has run out.
        db = sqlite3.connect(self.path)
        with db:
            db.execute("UPDATE owner SET lease = 0, lock = 'gone'")
        db.close()


class TestSqliteInTwoStores(TestSqlite):
    """Reader and writer know nothing of each other, as in two processes."""

    def sink(self, name: str) -> Any:
        return sqlite.queue(self.path, name, synchronous="full")


class TestMemoryAdmin(AdminConformance):
    loop_factory = VirtualLoop

    @pytest.fixture(autouse=True)
    def _broker(self) -> None:
        self.broker = memory.Broker()

    def admin(self) -> Any:
        return self.broker.admin


class TestFileAdmin(AdminConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = str(tmp_path / "queues.db")

    def admin(self) -> Any:
        return FileAdmin(self.path)
