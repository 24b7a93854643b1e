"""The demonstration killed at random moments, and started again each time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps.demos import PATIENCE, check, start, wait_for
from warren.apps.demo import data, state
from warren.apps.demo.broker import connect
from warren.apps.demo.totals import Totals, reconcile

KILLS = 10
LIMIT = 20_000


def account(folder: Path) -> Totals:
    run = state.load(folder)
    assert run is not None and run.phase == "finished"
    return reconcile(data.flights(LIMIT), folder / "hours", connect(run.broker).letters(f"{run.queue}.dead"))


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert "reconciled" in output
    return output


def kills(seed: int, longest: float) -> Iterator[float]:
    chance = random.Random(seed)
    yield from (chance.uniform(0, longest) for _ in range(KILLS))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_nothing_is_lost_whenever_it_is_killed(tmp_path: Path) -> None:
    quiet = tmp_path / "quiet"
    process = start(quiet, LIMIT)
    wait_for(process, quiet, 1)
    begun = time.monotonic()
    finish(process)
    longest = time.monotonic() - begun
    expected = account(quiet)
    assert expected.problems == []

    round, starts, killed = 0, 0, 0
    folder = tmp_path / "0"
    for after in kills(seed=2013, longest=longest):
        process = start(folder, LIMIT)
        wait_for(process, folder, starts := starts + 1)
        try:
            output, _ = process.communicate(timeout=after)
            assert process.returncode == 0, output
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
        run = state.load(folder)
        if run is not None and run.phase == "finished":
            # It was faster than the kill; the next kill hits another run.
            check(account(folder), expected)
            round, starts = round + 1, 0
            folder = tmp_path / str(round)
    assert killed >= KILLS // 2
    finish(start(folder, LIMIT))
    check(account(folder), expected)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupted_run_ends_gracefully_and_goes_on(tmp_path: Path) -> None:
    process = start(tmp_path, LIMIT)
    wait_for(process, tmp_path, 1, tmp_path / "flow")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    if "reconciled" not in output:
        assert "Stopped; everything is safe" in output
        assert "Going on with the unfinished run" in finish(start(tmp_path, LIMIT))
    # A window that was open when the run was stopped is two rows, which the account puts together.
    assert account(tmp_path).problems == []
    assert account(tmp_path).hours.select("airport", "hour").is_unique().all()
