from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.connectors.test_sqlite import ROOT, unprivileged
from warren import Pipeline
from warren.connectors import memory, sqlite
from warren.connectors.sqlite.state import StateFile
from warren.core.errors import StateError, StorageError
from warren.core.frozen import freeze, freeze_key, thaw
from warren.core.state import Change
from warren.operators import scan

HOLDER = """
import sys
from warren.connectors.sqlite.state import StateFile
file = StateFile(sys.argv[1])
file.open("orders")
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.state"


def made(path: Path, value: int = 5) -> StateFile:
    file = StateFile(path)
    file.open("orders")
    file.commit([Change("1:scan", 1, [], {(freeze_key("eu"), 0): freeze(value)}, ["a", "b"], 0)])
    file.close()
    return file


def test_two_runs_of_one_process(path: Path) -> None:
    file = made(path)
    file.open("orders")
    with pytest.raises(StateError, match="is in use by another process; one run has it at a time"):
        StateFile(path).open("orders")
    file.close()


def test_two_processes_and_a_killed_one(path: Path) -> None:
    made(path)
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=ROOT / "src", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "open\n"
        with pytest.raises(StateError, match="is in use by another process"):
            StateFile(path).open("orders")
    finally:
        child.kill()
        child.communicate()
    assert list(StateFile(path).open("orders")) == ["1:scan"]


def test_another_format(path: Path) -> None:
    made(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 9")
    db.close()
    for use in (lambda: StateFile(path).open("orders"), lambda: StateFile(path).summary()):
        with pytest.raises(StateError, match="has format 9 and this version of warren knows format 1"):
            use()


def test_a_database_of_something_else(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(StateError, match="is a database of something else; name another file"):
        StateFile(path).open("orders")


def test_no_database_at_all(path: Path) -> None:
    path.write_bytes(b"not a database, and long enough to be one " * 100)
    with pytest.raises(StorageError, match="is damaged or is not a state file"):
        StateFile(path).open("orders")
    with pytest.raises(StorageError, match="does not exist; create it first"):
        StateFile(path.parent / "nowhere" / "orders.state").open("orders")


def test_a_read_only_folder() -> None:
    with tempfile.TemporaryDirectory() as name:  # tmp_path is closed to everybody but its owner
        path = Path(name) / "orders.state"
        made(path)
        path.chmod(0o444)
        path.parent.chmod(0o555)
        try:
            with unprivileged(), pytest.raises(StorageError, match=r"state file .* cannot be written .*permissions"):
                StateFile(path).open("orders")
        finally:
            path.parent.chmod(0o755)
            path.chmod(0o644)
        assert "1:scan" in StateFile(path).open("orders")


def test_a_failed_commit_changes_nothing(path: Path) -> None:
    file = made(path)
    file.open("orders")
    assert file._db is not None
    (pages,) = file._db.execute("PRAGMA page_count").fetchone()
    file._db.execute(f"PRAGMA max_page_count = {pages}")
    big = {(freeze_key(i), 0): bytes(5000) for i in range(20)}
    with pytest.raises(StorageError, match=r"state file .* cannot take more .*make room and run again"):
        file.commit([Change("1:scan", 1, [freeze_key("eu")], big, ["c"], 1)])
    file.close()
    version, kept = file.open("orders")["1:scan"]
    file.close()
    assert (version, {key: thaw(value) for key, value in kept.rows.items()}) == (1, {(freeze_key("eu"), 0): 5})
    assert kept.counted == [["a", "b"]]


def test_a_full_disk_at_a_checkpoint_stops_the_pipeline_and_nothing_is_lost(path: Path, tmp_path: Path) -> None:
    class Small(StateFile):
        def _connect(self) -> sqlite3.Connection:
            db = super()._connect()
            db.execute("PRAGMA max_page_count = 40")
            return db

    out: list[int] = []
    source = sqlite.queue(tmp_path / "queues.db", "in", int)
    Pipeline("feed", memory.items(range(400)) | source).run()

    def pipeline(file: StateFile) -> Pipeline:
        step = scan(lambda state, n: (state[0] + n, bytes(1000)), (0, b""), by=lambda n: n % 200)
        return Pipeline("full", source | step | memory.into(out), state=file, credit=100, checkpoint="10ms")

    with pytest.raises(StorageError, match=r"state file .* cannot take more .*make room and run again"):
        pipeline(Small(path)).run(until_empty=True)
    file = StateFile(path)
    kept = file.open("full").get("1:scan")
    file.close()
    # What is in no checkpoint has not been acknowledged.
    assert sqlite.depth(tmp_path / "queues.db", "in") >= 400 - (len(kept[1].rows) if kept else 0)
    pipeline(file).run(until_empty=True)
    rows = file.open("full")["1:scan"][1].rows
    file.close()
    assert sorted(thaw(value)[0] for value in rows.values()) == sorted(n + n + 200 for n in range(200))


def test_a_copy_is_whole_or_not_there(path: Path, tmp_path: Path) -> None:
    file = made(path)
    assert file.copy_to(tmp_path / "copy.state") == ("orders", 1)
    with pytest.raises(StateError, match="is there already"):
        file.copy_to(tmp_path / "copy.state")
    with pytest.raises(StorageError, match="does not exist"):
        file.copy_to(tmp_path / "nowhere" / "copy.state")
    made(path, 6)
    with pytest.raises(StateError, match="would be overwritten"):
        file.restore(tmp_path / "copy.state")
    assert file.restore(tmp_path / "copy.state", force=True) == (("orders", 1), ("orders", 2))
    assert thaw(file.open("orders")["1:scan"][1].rows[freeze_key("eu"), 0]) == 5
    file.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["copy.state", "orders.state"]


def test_a_state_file_can_be_used_from_a_running_loop(path: Path) -> None:
    async def main() -> None:
        await Pipeline("orders", memory.items([1]) | scan(lambda a, b: a + b, 0) | memory.into([]), state=path).start()

    asyncio.run(main())
    assert StateFile(path).summary()[0].keys == 1
