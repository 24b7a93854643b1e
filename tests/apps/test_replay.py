from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.apps.test_cli import PROGRAM
from tests.house.tree import ROOT
from warren import Pipeline
from warren.analytics import Flows, Recorder
from warren.apps.cli import main
from warren.connectors import memory

SHOP = """
from warren import Pipeline
from warren.connectors import memory, sqlite
from warren.operators import map

def halve(order):
    return 6 // order["id"]

def order(row):
    return {"id": row["size"]}

told = Pipeline("told", memory.items([]) | map(lambda order: print("got", flush=True)) | memory.into([]))
orders = Pipeline("orders", sqlite.queue("nowhere.db", "in", dict) | map(halve) | sqlite.queue("nowhere.db", "out"))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    lines = [{"at": f"2026-03-01T09:00:0{i}+01:00", "value": {"id": i}, "source": f"s{i % 2}"} for i in range(3)]
    (tmp_path / "orders.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.delenv("WARREN_DEBUG", raising=False)
    return tmp_path


def replay(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["replay", *arguments])


def test_what_will_be_done_is_told_and_then_what_came_of_it(folder: Path) -> None:
    result = replay("orders.jsonl", "shop:orders", "--speed", "20x")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(
        "3 messages of orders.jsonl, 2026-03-01 08:00:00 to 2026-03-01 08:00:02 UTC, through 'orders' in 0:00:01 "
        "(h:mm:ss). Results are only counted, nothing is written.\n"
    )
    assert result.stdout.startswith("3 of 3 messages in 0.")
    words = result.stdout.split()
    assert {"delivered", "dead-lettered", "sqlite:out", "orders.dead", "ZeroDivisionError", "1:map(halve)"} <= set(words)
    assert not (folder / "nowhere.db").exists()


def test_some_messages_go_where_one_says(folder: Path) -> None:
    result = replay("orders.jsonl", "shop:orders", "--speed", "full", "--to", "own", "--source", "s0", "--record", "again")
    assert "as fast as it takes them. Results are written to its own sinks and dead letters." in result.stderr
    assert result.stdout.startswith("2 of 2 messages")
    assert Flows("again").summary()["messages"].sum() == 2
    span = ("--since", "2026-03-01T09:00:01+01:00", "--until", "2026-03-01T08:00:02", "--limit", "5")
    result = replay("orders.jsonl", "shop:orders", "--to", "sqlite:x.db?queue=q", *span)
    assert "Results are written to sqlite:q, and dead letters only counted." in result.stderr
    assert result.stdout.startswith("1 of 1 message")


def test_a_recorded_flow_needs_payloads_that_can_be_decoded(folder: Path) -> None:
    source = memory.queue("in", str)
    Pipeline("others", source | memory.into([])).observed(Recorder("flows")).test(["a", "bb"])
    result = replay("flows", "shop:orders", "--speed", "full")
    assert result.exit_code == 2 and "sqlite:in cannot decode bytes of the recorded sizes" in result.stderr
    result = replay("flows", "shop:orders", "--speed", "full", "--payload", "shop:order", "--recorded-as", "others")
    assert result.exit_code == 0 and "2 of 2 messages" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing.jsonl", "shop:orders"], "there is no recording 'nothing.jsonl'"),
        (["orders.jsonl", "shop:ordrs"], "did you mean 'orders'"),
        (["orders.jsonl", "shop:orders", "--speed", "fast"], "'fast' is no speed: write real, full, or how many times"),
        (["orders.jsonl", "shop:orders", "--speed", "0x"], "'0x' is no speed"),
        (["orders.jsonl", "shop:orders", "--since", "noon"], "'noon' is no time: write it as 2026-03-01T09:00"),
        (["orders.jsonl", "shop:orders", "--until", "2020-01-01"], "orders.jsonl has no messages to replay"),
        (["orders.jsonl", "shop:orders", "--to", "there"], "'there' is not an address"),
        (["orders.jsonl", "shop:orders", "--payload", "shop:ordr"], "did you mean 'order'"),
        (["orders.jsonl", "shop:orders", "--payload", "shop:__doc__"], "is not a function but None"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_anything_runs(folder: Path, arguments: list[str], sentence: str) -> None:
    result = replay(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1 and sentence in result.stderr


def test_a_broken_line_is_told_before_anything_runs(folder: Path) -> None:
    with (folder / "orders.jsonl").open("a") as file:
        file.write("odd\n")
    result = replay("orders.jsonl", "shop:orders")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "orders.jsonl, line 4 is no recorded message" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_ends_it_and_what_was_replayed_is_told(folder: Path) -> None:
    (folder / "orders.jsonl").write_text('{"at": 0, "value": {"id": 1}}\n{"at": 9000, "value": {"id": 2}}\n')
    command = [*PROGRAM, "replay", "orders.jsonl", "shop:told"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "got\n"
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert out.startswith("1 of 2 messages")
