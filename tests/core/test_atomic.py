from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from warren.core import atomic


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic.writing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_the_file_is_synced_before_it_appears_and_the_folder_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    path, fsync = tmp_path / "a.txt", os.fsync

    def record(file: int) -> None:
        fsync(file)
        kind = "folder" if stat.S_ISDIR(os.fstat(file).st_mode) else f"file of {os.fstat(file).st_size}"
        steps.append(f"{kind}, {'there' if path.exists() else 'not there'}")

    monkeypatch.setattr(os, "fsync", record)
    with atomic.writing(path) as temporary:
        temporary.write_bytes(b"123")
    assert steps == ["file of 3, not there", "folder, there"]


def test_an_error_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with atomic.writing(path) as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic.writing(tmp_path / "a.txt"):
        pass
    assert not list(tmp_path.iterdir())


def test_sweep_takes_what_dead_processes_left_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    (tmp_path / f"{atomic.PREFIX}{done.stdout.strip()}-1-a").touch()
    (tmp_path / f"{atomic.PREFIX}{os.getpid()}-1-an-earlier-run-with-this-number").touch()
    living = tmp_path / f"{atomic.PREFIX}{os.getppid()}-1-a"
    living.touch()
    (tmp_path / "a").touch()
    with atomic.writing(tmp_path / "b") as temporary:
        temporary.touch()
        assert atomic.sweep(tmp_path) == 2
    assert {each.name for each in tmp_path.iterdir()} == {"a", "b", living.name}
