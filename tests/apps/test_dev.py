"""``warren dev``: a pipeline on the embedded broker, anew at each save."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest
from click.testing import CliRunner

from tests.house.tree import ROOT
from warren.apps.cli import main
from warren.apps.dev.project import Project
from warren.apps.dev.samples import made, read, shared
from warren.connectors import sqlite
from warren.core.codecs import decoder
from warren.core.errors import AddressError

PROGRAM = [sys.executable, "-c", "from warren.apps.cli import main; main()"]
PATIENCE = 30.0

SHOP = """
import msgspec
from fees import fee
from warren import Pipeline
from warren.connectors import memory, rabbitmq
from warren.operators import map

class Order(msgspec.Struct):
    id: str
    amount: float

orders = Pipeline("orders", rabbitmq.queue("orders", Order) | map(fee) | rabbitmq.exchange("billing"))
items = Pipeline("items", memory.items(range(1000)) | map(lambda x: x + 1) | memory.into([]))
untyped = Pipeline("untyped", rabbitmq.queue("raw") | map(len) | memory.into([]))
"""
FEES = """
def fee(order):
    if order.amount > 2:
        raise ValueError(f"{order.id} is too dear")
    return order.amount * 2
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "fees.py").write_text(FEES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    return tmp_path


class Sitting:
    """The command while it runs: its lines as they come, results and sentences together."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def until(self, part: str) -> list[str]:
        """The lines up to the first that has this in it."""
        came: list[str] = []
        while not came or part not in came[-1]:
            try:
                came.append(self.lines.get(timeout=PATIENCE))
            except queue.Empty:
                raise AssertionError(f"{part!r} did not come; what came is {came}") from None
        return came


@contextmanager
def sitting(*arguments: str) -> Iterator[Sitting]:
    command = [*PROGRAM, "dev", *arguments]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as process:
        try:
            yield Sitting(process)
        finally:
            process.kill()


def test_it_runs_anew_when_a_file_is_saved_and_a_broken_one_leaves_it_running(folder: Path) -> None:
    with sitting("shop:orders", "--limit", "3") as dev:
        first = dev.until("Save to run it again")
        assert "rabbitmq:billing  3.0" in first
        assert any(
            line.startswith("orders.dead  ValueError: id-2 is too dear in 1:map(fee)  {'id': 'id-2'") for line in first
        )
        assert first[-1].startswith("warren: 3 messages: 2 dead-lettered, 1 delivered.")
        # Within a second, of the same length, in a module that the pipeline's own imports.
        (folder / "fees.py").write_text(FEES.replace("* 2", "* 4"))
        assert "rabbitmq:billing  6.0" in dev.until("Save to run it again")
        (folder / "fees.py").write_text(FEES.replace("* 2", "*"))
        (sentence,) = [line for line in dev.until("goes on") if "SyntaxError" in line]
        assert sentence.endswith("(fees.py, line 5); the version before it goes on.")
        (folder / "shop.py").write_text(SHOP.replace("orders = ", "bills = "))
        assert "goes on" in dev.until("goes on")[-1]
        (folder / "fees.py").write_text(FEES.replace("> 2", "> 99"))
        (folder / "shop.py").write_text(SHOP)
        assert dev.until("Save to run it again")[-1].startswith("warren: 3 messages: 3 delivered.")
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(PATIENCE) == 0


def test_samples_come_from_a_file_which_is_watched_too(folder: Path) -> None:
    (folder / "orders.ndjson").write_text('{"id": "a", "amount": 1}\n')
    with sitting("shop.py:orders", "--samples", "orders.ndjson", "--json") as dev:
        assert json.loads(dev.until('{"to"')[-1]) == {"to": "rabbitmq:billing", "value": 2.0}
        (folder / "orders.ndjson").write_text('{"id": "a", "amount": 1}\n{"id": "b", "amount": 3}\n')
        letter = json.loads(dev.until("too dear")[-1])
        assert (letter["error"], letter["reason"]) == ("ValueError", "b is too dear")
        dev.process.send_signal(signal.SIGTERM)
        assert dev.process.wait(PATIENCE) == 0


def test_queues_in_a_file_can_be_looked_at_and_written_to(folder: Path) -> None:
    with sitting("shop:orders", "--limit", "2", "--queues", "dev.db") as dev:
        dev.until("Save to run it again")
        assert sqlite.depth("dev.db", "orders.dead") == 1
        published = CliRunner().invoke(
            main, ["publish", "sqlite:dev.db?queue=orders"], input='{"id": "x", "amount": 1.25}\n'
        )
        assert published.exit_code == 0, published.output
        dev.until("rabbitmq:billing  2.5")


def test_a_source_that_ends_is_read_up_to_the_limit(folder: Path) -> None:
    with sitting("shop:items", "--limit", "2") as dev:
        came = dev.until("Save to run it again")
        assert came[1:3] == ["memory.into  1", "memory.into  2"] and came[3].startswith("warren: 2 messages: 2 delivered.")


def test_a_source_without_a_type_is_told_of(folder: Path) -> None:
    with sitting("shop:untyped", "--limit", "1") as dev:
        assert "says no type, so its samples are" in dev.until("runs on the embedded broker")[0]
        assert "memory.into  7" in dev.until("Save to run it again")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["shp:orders"], "did you mean 'shop'"),
        (["shop:orders", "--samples", "none.ndjson"], "cannot be read"),
        (["shop:orders", "--samples", "shop.py"], "line 2 is no message"),
        (["shop:orders", "--samples", "empty"], "there are no samples"),
        (["shop:orders", "--samples", "bills=shop.py"], "write SOURCE=FILE, with one of rabbitmq:orders"),
        (["leaves:orders"], "it ends the program"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder: Path, arguments: list[str], sentence: str) -> None:
    (folder / "empty").touch()
    (folder / "leaves.py").write_text("raise SystemExit(3)")
    done = subprocess.run([*PROGRAM, "dev", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and sentence in done.stderr


def test_what_was_loaded_stays_where_the_next_cannot_be(folder: Path) -> None:
    project = Project("shop:orders")
    assert not project.changed() and not project.changed()
    first = project.load()
    (folder / "fees.py").write_text("raise OSError('on fire')")
    assert project.changed() and not project.changed()
    fees = sys.modules["fees"]
    with pytest.raises(AddressError, match="on fire"):
        project.load()
    assert sys.modules["fees"] is fees
    (folder / "fees.py").write_text(FEES)
    again = project.load()
    assert again is not first and sys.modules["fees"] is not fees


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Line(msgspec.Struct):
    article: str
    count: Annotated[int, msgspec.Meta(ge=1, le=3)]


class Everything(msgspec.Struct):
    id: uuid.UUID
    at: dt.datetime
    day: dt.date
    hour: dt.time
    took: dt.timedelta
    price: decimal.Decimal
    share: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    colour: Colour
    kind: Literal["a", "b"]
    lines: list[Line]
    pair: tuple[int, str]
    tags: dict[str, int]
    note: str | None
    flag: bool
    raw: bytes
    code: Annotated[str, msgspec.Meta(min_length=8, max_length=8)]
    times: dict[str, list[dt.datetime]]
    parent: Everything | None = None


class Customer(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=18, lt=20)
    mail: str | None = None


@pytest.mark.parametrize(
    "type", [Everything, Customer, list[Line], int, str, float | None, Colour, dict[str, Any], dt.datetime, Any]
)
def test_samples_are_made_of_any_type(type: Any) -> None:
    samples = made(type, 7)
    assert len({body for body, _ in samples}) > 1
    for body, known in samples:
        decoder(type, known.content_type)(body)


def test_a_type_of_which_none_can_be_made_is_told() -> None:
    with pytest.raises(AddressError, match=r"no sample can be made of .*; give some in a file"):
        made(Annotated[str, msgspec.Meta(pattern="^[0-9]{9}$")], 1)


def test_files_are_shared_out(tmp_path: Path) -> None:
    assert shared(["memory:a"], ["x"]) == {"memory:a": Path("x")}
    assert shared(["memory:a", "memory:b"], ["memory:b=x"]) == {"memory:b": Path("x")}
    with pytest.raises(AddressError, match="write SOURCE=FILE"):
        shared(["memory:a", "memory:b"], ["x"])
    (tmp_path / "x").write_text('{"body": 1, "key": "k"}\n\n{"text": "t"}\n')
    assert [(body, known.key) for body, known in read(tmp_path / "x", True)] == [(b"1", "k"), (b"t", None)]
