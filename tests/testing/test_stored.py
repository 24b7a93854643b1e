from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from warren import Pipeline
from warren.analytics import Recorder
from warren.connectors import memory
from warren.core.errors import StorageError
from warren.testing.stored import Choice, Stored, stored


def jsonl(folder: Path, *lines: dict[str, Any]) -> Path:
    file = folder / "orders.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def values(found: Stored) -> list[tuple[str, float, Any]]:
    return [(source, each.at, each.value) for source, each in found.read()]


def test_lines_come_in_the_order_of_time_whatever_theirs_is(tmp_path: Path) -> None:
    file = jsonl(tmp_path, *({"at": at, "value": at, "source": "xy"[at % 2]} for at in (12, 10, 11, 10, 15)))
    found = stored(file)
    assert (found.count, found.start, found.end, sorted(found.sources)) == (5, 10, 15, ["x", "y"])
    expected = [("x", 0, 10), ("x", 0, 10), ("y", 1, 11), ("x", 2, 12), ("y", 5, 15)]
    assert values(found) == expected and values(found) == expected, "it can be read again"


def test_some_of_them_can_be_chosen(tmp_path: Path) -> None:
    file = jsonl(tmp_path, *({"at": at, "value": at, "source": "xy"[at % 2]} for at in range(10)))
    assert [value for _, _, value in values(stored(file, choice=Choice(2, 5)))] == [2, 3, 4]
    found = stored(file, choice=Choice(since=3, source="y", limit=2))
    assert (found.count, found.start, found.end, found.sources) == (2, 3, 5, ["y"])
    assert values(found) == [("y", 0, 3), ("y", 2, 5)]
    assert stored(file, choice=Choice(source="z")).count == 0


def test_a_line_that_was_never_finished_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b'{"at": 0, "value": 1}\n\n{"at": 1, "val')
    with caplog.at_level(logging.WARNING):
        assert values(stored(file)) == [("", 0, 1)]
    assert "x.jsonl, line 3 is cut short, as of a process that was killed; it is left out" in caplog.text
    file.write_bytes(b'{"at": 0, "value": 1}\nodd')
    with pytest.raises(StorageError, match="line 2 is no recorded message"):
        stored(file)


def test_a_payload_that_cannot_be_made_is_told_with_its_line(tmp_path: Path) -> None:
    file = jsonl(tmp_path, {"at": 1, "n": "1"}, {"at": 0, "n": "x"})
    with pytest.raises(StorageError, match="line 2 is no recorded message: invalid literal"):
        list(stored(file, value=lambda line: int(line["n"])).read())


def record(folder: Path, values: str, at: list[float], start: float) -> None:
    pipeline = Pipeline("p", memory.queue("in", str) | memory.into([]))
    pipeline.observed(Recorder(folder)).test(values, at=at, start=start)


def test_a_folder_is_read_hour_by_hour_over_days_and_files(tmp_path: Path) -> None:
    midnight = datetime(2026, 3, 29, tzinfo=UTC).timestamp()
    record(tmp_path, "abc", [0, 5000, 9000], midnight - 4000)
    record(tmp_path, "dddd", [0, 1, 2, 100_000], midnight - 3999)
    found = stored(tmp_path)
    assert (found.count, found.start, found.end, found.sources) == (7, midnight - 4000, midnight + 96001, ["memory:in"])
    assert [each.at for _, each in found.read()] == [0, 1, 2, 3, 5000, 9000, 100_001]
    assert [each.id for _, each in found.read()] == list("0123456")
    assert [each.value for _, each in stored(tmp_path, choice=Choice(limit=2)).read()] == [b"\0" * 3] * 2
    chosen = stored(tmp_path, choice=Choice(midnight, midnight + 6000, "memory:in"))
    assert (chosen.count, chosen.start) == (2, midnight + 1000)
    assert stored(tmp_path, choice=Choice(source="other")).count == 0
