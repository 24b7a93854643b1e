from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from warren import Pipeline
from warren.apps.cli import main
from warren.connectors import memory
from warren.connectors.sqlite.state import StateFile
from warren.operators import map, scan, tumbling, window

SHAPES = """
class Total:
    def __init__(self, amount): self.amount = amount
    def __repr__(self): return f"Total({self.amount})"
class Rude:
    def __repr__(self): raise RuntimeError("no")
"""


def run(values: list[Any], step: Any, state: Any = "orders.state", name: str = "orders") -> None:
    Pipeline(name, memory.items(values) | step | memory.into([]), state=state).run()


def warren(*arguments: str, fails: bool = False, input: str | None = None) -> str:
    result = CliRunner().invoke(main, ["state", *arguments], input=input)
    assert (result.exit_code != 0) == fails, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def orders(folder: Path) -> StateFile:
    run(["eu", "us", "eu"], scan(lambda total, _: total + 1, 0, by=lambda region: region))
    return StateFile(folder / "orders.state")


def test_ls_shows_steps_versions_keys_and_bytes(orders: StateFile) -> None:
    head, titles, row = warren("ls", "orders.state").splitlines()
    assert head.startswith("pipeline orders, ") and head.endswith(" checkpoints")
    assert titles.split() == ["step", "version", "keys", "bytes"]
    assert row.split()[:3] == ["1:scan", "1", "2"] and int(row.split()[3]) > 0


def test_show_shows_keys_and_values(orders: StateFile) -> None:
    assert [line.split() for line in warren("show", "orders.state", "1:scan").splitlines()] == [
        ["key", "value"],
        ["'eu'", "2"],
        ["'us'", "1"],
    ]
    assert warren("show", "orders.state", "1:scan", "--key", "us").splitlines()[1:] == ["'us'  1"]
    assert warren("show", "orders.state", "1:scan", "--limit", "1").splitlines()[2] == "and 1 more key; --limit shows more"
    assert "1:scan has no key 'mars'" in warren("show", "orders.state", "1:scan", "--key", "mars", fails=True)
    assert "no step '2:scan'; there are 1:scan" in warren("show", "orders.state", "2:scan", fails=True)


@pytest.mark.parametrize(("key", "text"), [(7, "7"), (("eu", 1), "('eu', 1)"), (None, "None"), (b"x", "b'x'"), ("7", "7")])
def test_a_key_is_named_as_python_writes_it(folder: Path, key: Any, text: str) -> None:
    run([key, "other"], scan(lambda total, _: total + 1, 0, by=lambda value: value))
    shown = warren("show", "orders.state", "1:scan", "--key", text).splitlines()[1:]
    assert [line.rsplit(maxsplit=1) for line in shown if line.startswith(repr(key))] == [[repr(key), "1"]]


def test_what_cannot_be_read_is_said_in_its_place(folder: Path) -> None:
    (folder / "shapes.py").write_text(SHAPES)
    sys.path.insert(0, str(folder))
    import shapes  # type: ignore[import-not-found]

    kinds = {"a": shapes.Total(5), "b": shapes.Rude(), "c": 3}
    run(["a", "b", "c"], scan(lambda _, name: kinds[name], None, by=lambda name: name) | map(lambda _: 0))
    lines = warren("show", "orders.state", "1:scan").splitlines()[1:]
    assert lines == ["'a'  Total(5)", "'b'  <cannot be read: RuntimeError: no>", "'c'  3"]
    (folder / "shapes.py").unlink()
    sys.path.remove(str(folder))
    del sys.modules["shapes"]
    lines = warren("show", "orders.state", "1:scan").splitlines()[1:]
    assert "No module named 'shapes'" in lines[0] and lines[2] == "'c'  3"


def test_open_windows_are_shown_with_their_parts(folder: Path) -> None:
    from warren.connectors import sqlite

    source = sqlite.queue("queue.db", "in", int)
    Pipeline("feed", memory.items([1, 2]) | source).run()
    Pipeline("windows", source | window(tumbling(10), time=float, idle=None) | memory.into([]), state="w.state").run(
        until_empty=True
    )
    assert "[1, 2]" in warren("show", "w.state", "1:window")


def test_the_time_of_the_last_change_is_shown(folder: Path) -> None:
    run(["eu"], scan(lambda total, _: total + 1, 0, by=lambda region: region, ttl="1d"))
    assert "'eu'  1 (changed 20" in warren("show", "orders.state", "1:scan")


def test_drop_asks_first(orders: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "this is no terminal" in warren("drop", "orders.state", "1:scan", fails=True, input="y\n")
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    asked = warren("drop", "orders.state", "1:scan", fails=True, input="n\n")
    assert "Forget the 2 keys of 1:scan in orders.state, which cannot be brought back [y/N]" in asked
    assert orders.summary()[0].keys == 2
    assert warren("drop", "orders.state", "1:scan", input="y\n").endswith("1:scan has forgotten 2 keys.\n")
    assert orders.summary() == []
    assert "has no step '1:scan'; there is none" in warren("drop", "orders.state", "1:scan", "--yes", fails=True)


def test_a_snapshot_is_gone_back_to(orders: StateFile) -> None:
    said = warren("snapshot", "orders.state", "monday.state")
    assert said.startswith("monday.state is the state of pipeline orders after ")
    assert "is there already" in warren("snapshot", "orders.state", "monday.state", fails=True)
    run(["eu"], scan(lambda total, _: total + 1, 0, by=lambda region: region))
    assert "'eu'  3" in warren("show", "orders.state", "1:scan")
    assert "--force overwrites it" in warren("restore", "monday.state", "orders.state", fails=True)
    said = warren("restore", "monday.state", "orders.state", "--force")
    assert "It was of pipeline orders after" in said and "what they changed in the state is lost" in said
    assert "'eu'  2" in warren("show", "orders.state", "1:scan")
    warren("restore", "monday.state", "new.state")
    assert "'eu'  2" in warren("show", "new.state", "1:scan")
    assert sorted(path.name for path in Path().iterdir()) == ["monday.state", "new.state", "orders.state"]


def test_a_file_in_use_is_let_alone(orders: StateFile) -> None:
    warren("snapshot", "orders.state", "monday.state")
    orders.open("orders")
    try:
        for command in (
            ["ls", "orders.state"],
            ["drop", "orders.state", "1:scan", "--yes"],
            ["snapshot", "orders.state", "tuesday.state"],
            ["restore", "monday.state", "orders.state", "--force"],
        ):
            assert "is in use by another" in warren(*command, fails=True)
    finally:
        orders.close()
    assert not Path("tuesday.state").exists()


def test_files_that_are_none(folder: Path) -> None:
    assert "there is no state file nowhere.state" in warren("ls", "nowhere.state", fails=True)
    assert "there is no state file nowhere.state" in warren("restore", "nowhere.state", "x.state", fails=True)
    (folder / "text").write_text("no database at all, but long enough to be one\n" * 100)
    assert "is damaged or is not a state file" in warren("ls", "text", fails=True)
    assert "is damaged or is not a state file" in warren("restore", "text", "x.state", fails=True)
    assert not Path("x.state").exists()
