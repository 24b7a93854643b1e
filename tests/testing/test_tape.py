from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.house.tree import ROOT
from warren import Pipeline, constant
from warren.connectors import memory, sqlite
from warren.core.errors import GraphError, StorageError
from warren.operators import map, retry
from warren.testing import Faults, Tape, fail, recorded, virtual
from warren.testing.tape import Line


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_it_keeps_payloads_times_and_metadata(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    pipeline = Pipeline("p", memory.queue("in", dict) | memory.into([])).observed(Tape(file))
    pipeline.test([{"a": 1}, b"\xff\x00"], at=[0, "2s"], start=1.7e9)
    assert lines(file) == [
        {"at": 1.7e9, "body": '{"a":1}', "id": "0", "source": "memory:in"},
        {"at": 1.7e9 + 2, "base64": "/wA=", "id": "1", "source": "memory:in"},
    ]
    assert [each.value for each in recorded(file).arrivals] == [b'{"a":1}', b"\xff\x00"]


def test_values_that_are_not_bytes_are_kept_as_json(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    Pipeline("p", memory.items([]) | memory.into([])).observed(Tape(file)).test([{"a": 1}, "text", None])
    assert [line["value"] for line in lines(file)] == [{"a": 1}, "text", None]
    assert [each.value for each in recorded(file).arrivals] == [{"a": 1}, "text", None]


def test_a_message_that_comes_again_is_kept_once(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    steps = map(fail(nth=1)(str)) | retry(constant("2h"))
    pipeline = Pipeline("p", memory.items([]) | steps | memory.into([])).observed(Tape(file))
    assert pipeline.test("abc", faults=Faults().drop_connection(nth=2)).outcomes["parked"] == 1
    assert [line["value"] for line in lines(file)] == ["a", "b", "c"]


def test_it_keeps_so_many_and_begins_anew_with_each_run(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    pipeline = Pipeline("p", memory.items([]) | memory.into([])).observed(Tape(file, limit=3))
    for values in ("abcdef", "xy"):
        pipeline.test(values)
        assert [line["value"] for line in lines(file)] == list(values[:3])


def test_what_is_settled_is_in_the_file_while_the_pipeline_runs(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    pipeline = Pipeline("p", memory.items([]) | memory.into([])).observed(Tape(file, limit=None))
    with virtual(pipeline) as run:
        for value in range(20_000):
            run.send(value)
        assert len(lines(file)) == 20_000


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_process_leaves_what_was_settled(tmp_path: Path) -> None:
    program = f"""
import os, signal
from warren import Pipeline
from warren.connectors import memory
from warren.operators import map
from warren.testing import Tape
deadly = map(lambda x: x if x < 900 else os.kill(os.getpid(), signal.SIGKILL))
Pipeline("p", memory.items(range(1000)) | deadly | memory.into([]), credit=64).observed(Tape({str(tmp_path / "x")!r})).run()
"""
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=False)
    assert done.returncode == -signal.SIGKILL
    values = [each.value for each in recorded(tmp_path / "x").arrivals]
    assert values == list(range(len(values))) and len(values) >= 900 - 2 * 64


def test_a_full_disk_stops_the_tape_and_not_the_pipeline() -> None:
    out: list[int] = []
    pipeline = Pipeline("p", memory.items(range(5)) | memory.into(out)).observed(Tape("/dev/full"))
    with pytest.raises(StorageError, match=r"Tape\('/dev/full'\) cannot be written: No space left"):
        pipeline.run()
    assert out == list(range(5))


def test_a_pipeline_that_never_opened_leaves_no_tape(tmp_path: Path) -> None:
    lost = Pipeline("p", sqlite.queue(tmp_path / "nowhere" / "q.db", "q") | memory.into([]))
    with pytest.raises(StorageError, match="nowhere does not exist"):
        lost.observed(Tape(tmp_path / "x.jsonl")).run()
    assert not (tmp_path / "x.jsonl").exists()


def test_nothing_is_an_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    Pipeline("p", memory.items([]) | memory.into([])).observed(Tape(file)).test([])
    assert file.read_text() == ""
    assert recorded(file).arrivals == []


def test_what_cannot_work_is_told(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"Tape\(limit=0\): it must be at least 1"):
        Tape(tmp_path / "x", limit=0)
    tape = Tape(tmp_path / "missing" / "x.jsonl")
    assert repr(tape) == f"Tape('{tmp_path}/missing/x.jsonl')"
    with pytest.raises(StorageError, match=r"Tape\(.*\) cannot be written: No such file"):
        Pipeline("p", memory.items([]) | memory.into([])).observed(tape).test("a")


def test_a_line_holds_one_payload() -> None:
    assert Line(0, value=None).payload() is None
    assert Line(0, body="ü").payload() == "ü".encode()
    assert Line(0, base64="AA==").payload() == b"\0"
    with pytest.raises(ValueError, match="it holds no payload"):
        Line(0).payload()
    with pytest.raises(ValueError, match="base64"):
        Line(0, base64="?").payload()
    assert msgspec.json.encode(Line(1.5, value=[1])) == b'{"at":1.5,"value":[1]}'
