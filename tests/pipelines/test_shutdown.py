"""`Pipeline.run` in a process of its own, with real signals, real time and a durable queue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from warren import Pipeline
from warren.connectors import memory, sqlite

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of this kind are POSIX")

ROOT = Path(__file__).parents[2]
COUNT = 20

WORKER = """
import asyncio, sys, time
from warren import Pipeline
from warren.connectors import sqlite
from warren.operators import map

path, kind = sys.argv[1:]

def say(value):
    print("handling", flush=True)
    return value

async def quick(value):
    await asyncio.sleep(0.3)
    return say(value)

async def hanging(value):
    say(value)
    await asyncio.Event().wait()

def blocking(value):
    say(value)
    for _ in range(600):  # in slices: CPython hears of a signal that came just before a system call only after it
        time.sleep(1)

handlers = {"quick": quick, "hanging": hanging, "blocking": blocking}
flow = sqlite.queue(path, "in", int) | map(handlers[kind]) | sqlite.queue(path, "out")
Pipeline("worker", flow, shutdown="0.5s" if kind != "quick" else "30s").run()
print("ended", flush=True)
"""


class Worker:
    def __init__(self, path: Path, kind: str) -> None:
        Pipeline("fill", memory.items(range(COUNT)) | sqlite.queue(path, "in")).run()
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path), kind],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "handling\n"

    def signal(self, *numbers: int) -> None:
        for number in numbers:
            self.process.send_signal(number)

    def end(self, within: float) -> tuple[int, str, str]:
        """Wait for the process; its return code, output and errors."""
        began = time.monotonic()
        try:
            output, errors = self.process.communicate(timeout=within + 10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        assert time.monotonic() - began < within, f"it took {time.monotonic() - began:.1f} s"
        return self.process.returncode, output, errors

    def left(self) -> list[int]:
        """What can still be read from both queues; together it must be everything."""
        found: list[int] = []
        for queue in ("in", "out"):
            Pipeline("count", sqlite.queue(self.path, queue, int) | memory.into(found)).run(until_empty=True)
        return sorted(found)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queues.db"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_ends_well(path: Path, number: int) -> None:
    worker = Worker(path, "quick")
    worker.signal(number)
    code, output, errors = worker.end(within=10)
    assert (code, errors) == (0, "")
    assert output.endswith("ended\n")
    assert worker.left() == list(range(COUNT))


def test_a_hanging_handler_is_given_up_at_the_deadline(path: Path) -> None:
    worker = Worker(path, "hanging")
    worker.signal(signal.SIGTERM)
    code, _, errors = worker.end(within=5)
    assert code == 1
    assert "ShutdownError: pipeline 'worker': 20 message(s) were still in flight after 0.5 s and went back" in errors
    assert worker.left() == list(range(COUNT))


def test_a_handler_that_blocks_the_process_is_interrupted_after_the_deadline(path: Path) -> None:
    worker = Worker(path, "blocking")
    worker.signal(signal.SIGTERM)
    code, _, errors = worker.end(within=8)
    assert code != 0
    assert "KeyboardInterrupt" in errors
    assert worker.left() == list(range(COUNT))


@pytest.mark.parametrize("kind", ["hanging", "blocking"])
def test_a_second_signal_interrupts_at_once(path: Path, kind: str) -> None:
    worker = Worker(path, kind)
    # Of two kinds, as two of one kind may arrive as one.
    worker.signal(signal.SIGTERM, signal.SIGINT)
    code, _, errors = worker.end(within=5)
    assert code != 0
    assert "KeyboardInterrupt" in errors
    assert worker.left() == list(range(COUNT))


def test_a_killed_process_loses_nothing(path: Path) -> None:
    worker = Worker(path, "quick")
    worker.signal(signal.SIGKILL)
    worker.end(within=5)
    assert sorted(set(worker.left())) == list(range(COUNT))
