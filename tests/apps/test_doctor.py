"""``warren doctor``: what is wrong, and what to do."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from warren.apps import doctor
from warren.apps.cli import main
from warren.connectors.sqlite import checkup


def found(*arguments: str, code: int = 0) -> dict[str, tuple[str, str]]:
    """State and sentence of each finding; of several of one kind the last."""
    result = CliRunner().invoke(main, ["doctor", "--json", *arguments])
    assert result.exit_code == code, result.output
    rows: list[dict[str, Any]] = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(row["remedy"] for row in rows if row["state"] != "ok"), "each says what to do"
    return {row["what"]: (row["state"], row["said"]) for row in rows}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    assert CliRunner().invoke(main, ["queues", "create", f"sqlite:{tmp_path}/q.db?queue=orders"]).exit_code == 0
    return tmp_path / "q.db"


def test_this_machine_and_a_file_are_well(file: Path) -> None:
    told = found(f"sqlite:{file}?queue=orders")
    assert {"Python", "libraries", "SQLite", "disk", "file", "queue"} <= told.keys()
    assert told["file"] == ("ok", f"{file} is sound")
    shown = CliRunner().invoke(main, ["doctor", f"sqlite:{file}?queue=orders"])
    assert shown.stdout.splitlines()[0].startswith("ok       Python        3.")


def test_what_is_wrong_with_a_file_is_told(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(f"sqlite:{file}?queue=none", code=1)["queue"][0] == "problem"
    assert "no queue file" in found(f"sqlite:{tmp_path}/none.db", code=1)["file"][1]
    assert "no folder" in found(f"sqlite:{tmp_path}/none/q.db", code=1)["file"][1]
    (tmp_path / "text").write_text("no database" * 100)
    assert "not a queue file" in found(f"sqlite:{tmp_path}/text", code=1)["file"][1]
    monkeypatch.setattr(checkup, "_SCARCE", 1 << 62)
    assert found(f"sqlite:{file}", code=1)["disk"][0] == "problem"
    monkeypatch.setattr(checkup, "_OLDEST", (99, 0))
    assert found(f"sqlite:{file}", code=1)["SQLite"][0] == "problem"


def test_a_damaged_file_is_told(file: Path) -> None:
    db = sqlite3.connect(file)
    db.execute("PRAGMA journal_mode = delete")
    db.close()
    assert found(f"sqlite:{file}")["file"][0] == "warning"
    data = bytearray(file.read_bytes())
    data[4096 + 100 : 3 * 4096] = b"\xff" * len(data[4096 + 100 : 3 * 4096])
    file.write_bytes(data)
    assert found(f"sqlite:{file}", code=1)["file"][0] == "problem"


def test_libraries_that_are_missing_or_too_old_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["click>=99", "nowhere-to-be-found>=1.2", "also-nowhere>=1; extra == 'ml'", "msgspec>=99; extra == 'dev'"]
    monkeypatch.setattr(doctor, "requires", lambda _: wanted)
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    wrong = [line for line in result.stdout.splitlines() if "libraries" in line]
    assert len(wrong) == 2 and "99 or newer is needed" in wrong[0] and "nowhere-to-be-found is missing" in wrong[1]


def test_an_address_that_leads_nowhere_is_one_sentence() -> None:
    result = CliRunner().invoke(main, ["doctor", "fax:orders"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no connector knows the scheme" in result.stderr
