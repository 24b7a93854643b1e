from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.house.tree import ROOT, load, sources
from tests.testing.plugged import PLUGIN, run
from warren import Pipeline
from warren.connectors import memory
from warren.operators import batch

LOADED = {"warren.core", "warren.core.lazy", "warren.testing", "warren.testing.plugin"}
HEAVY = {"reactivex", "msgspec", "polars"}

HEAD = """
import pytest
from warren import Pipeline
from warren.connectors import memory
from warren.operators import batch, map
from warren.testing import Faults, assert_delivered, check, play

shout = Pipeline("shout", memory.items([]) | map(str.upper) | memory.into([]))
"""


def run_one(folder: Path, text: str, *options: str, **named: Any) -> subprocess.CompletedProcess[str]:
    return run(folder, {"test_them.py": text}, *options, **named)


def test_the_fixtures_work(tmp_path: Path) -> None:
    done = run_one(
        tmp_path,
        HEAD
        + """
def test_a_trial(trial):
    assert trial(shout, ["a", "b"], at=["1s", "2s"]).values == ["A", "B"]

def test_virtual_time(virtual_pipeline):
    pairs = Pipeline("pairs", memory.items([]) | batch(2, "1m") | memory.into([]))
    run = virtual_pipeline(pairs)
    assert run.send("a").advance("59s").values == []
    assert run.advance("1s").values == [["a"]]
    run.send("held")

def test_faults(faults, warren_seed):
    assert faults.seed == warren_seed == 7
    assert shout.test("ab", faults=faults.duplicate(every=2)).values == ["A", "B", "B"]
""",
        "--warren-seed=7",
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_a_failure_shows_the_seed_the_marbles_and_the_line_of_the_test(tmp_path: Path) -> None:
    done = run_one(
        tmp_path,
        HEAD
        + """
def test_with_a_seed(faults):
    check(shout, "a|", "B|", faults=faults)

def test_without_one():
    assert play(shout, "a-b|") == "A--B|"

def test_the_other_way_round():
    assert "A--B|" == play(shout, "a-b|")

def test_lists():
    assert_delivered(shout.test("ab"), ["A", "C"])

def test_no_marbles():
    assert play(shout, "a|") == 3
""",
    )
    out = done.stdout
    assert "5 failed" in out, out + done.stderr
    assert len(re.findall(r"the faults were drawn with seed (\d+); --warren-seed=\1 draws them again", out)) == 1
    assert "playing.py" not in out and "assertions.py" not in out
    assert "E         expected  B|" in out, out
    assert out.count("E         actual    A-B|") == 2, out
    assert out.count("AssertionError: assert Played('A-B|') == 'A--B|'\n") == 2
    assert "truncated" not in out
    assert "1 ~ 'C'       'B'" in out
    assert "assert Played('A|') == 3" in out


def test_a_suite_that_uses_nothing_of_it_is_left_alone(tmp_path: Path) -> None:
    text = f"""
import sys
import pytest

@pytest.fixture
def faults():
    return 3

def test_the_own_fixture(faults):
    assert faults == 3

def test_nothing_of_warren_is_loaded():
    assert {{name for name in sys.modules if name.startswith("warren.")}} <= {LOADED!r}
    assert not {HEAVY!r} & set(sys.modules)
"""
    done = run_one(tmp_path, text)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_it_is_found_by_its_entry_point(tmp_path: Path) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    entries = settings["project"]["entry-points"]["pytest11"]
    assert entries == {"warren": PLUGIN}
    info = tmp_path / "site" / "warren-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: warren\nVersion: 0\n")
    (info / "entry_points.txt").write_text(f"[pytest11]\nwarren = {PLUGIN}\n")
    done = run_one(tmp_path, "def test_it(faults):\n    assert faults\n", plugin=False, path=str(info.parent))
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    off = run_one(
        tmp_path, "def test_it(faults):\n    assert faults\n", "-p", "no:warren", plugin=False, path=str(info.parent)
    )
    assert "fixture 'faults' not found" in off.stdout


def test_it_works_in_this_suite(trial, virtual_pipeline, faults) -> None:  # type: ignore[no-untyped-def]
    pairs = Pipeline("pairs", memory.items([]) | batch(2, "1m") | memory.into([]))
    assert trial(pairs, "ab", faults=faults.reorder(within=2)).outcomes == {"delivered": 2}
    assert virtual_pipeline(pairs).send("a").advance("1m").values == [["a"]]


def test_only_the_plugin_imports_pytest() -> None:
    folders = ("core", "operators", "connectors", "pipelines", "analytics", "testing", "apps")
    found = [
        path
        for folder in folders
        for path in sources(folder)
        if re.search(r"^\s*(import|from) _?pytest", path.read_text(), re.MULTILINE)
    ]
    assert [path.name for path in found] == ["plugin.py"]


def test_the_public_names_are_imported_when_they_are_used() -> None:
    testing = load("warren.testing")
    assert all(getattr(testing, name) is not None for name in testing.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'marble'"):
        testing.marble  # noqa: B018  # looking it up is the test
