"""The demonstration as a process of its own, which a test may kill."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.house.tree import ROOT
from warren.apps.demo import state
from warren.apps.demo.totals import Totals

PATIENCE = 60.0


def start(folder: Path, limit: int, *options: str) -> subprocess.Popen[str]:
    """Begin or go on; the limit is given where a run begins."""
    program = "from warren.apps.cli import main; main()"
    command = [sys.executable, "-c", program, "demo", "--no-open", "--folder", str(folder), *options]
    if state.load(folder) is None:
        command += ["--limit", str(limit)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def wait_for(process: subprocess.Popen[str], folder: Path, starts: int, made: Path | None = None) -> None:
    """Until the run is under way, so that a kill hits its work and not its imports."""
    deadline = time.monotonic() + PATIENCE
    while (run := state.load(folder)) is None or run.starts < starts or not (made is None or made.exists()):
        if process.poll() is not None or time.monotonic() >= deadline:
            process.kill()
            pytest.fail(f"not under way, code {process.returncode}: {process.communicate()[0]}")
        time.sleep(0.005)


def check(totals: Totals, expected: Totals) -> None:
    assert totals.problems == []
    assert (totals.messages, totals.out, totals.dead) == (expected.messages, expected.out, expected.dead)
    assert totals.airports.equals(expected.airports)
    assert totals.hours.equals(expected.hours)
