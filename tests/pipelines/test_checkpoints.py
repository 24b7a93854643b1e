"""State that outlives a worker: killed at every boundary of a checkpoint, its figures come out as of one computation."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.pipelines.keeping import EVENTS, KEYS, SIZE, pipeline, queues
from warren import Pipeline
from warren.connectors import memory
from warren.connectors.sqlite.state import StateFile

ROOT = Path(__file__).parents[2]
MOMENTS = pytest.mark.parametrize("moment", ["before", "amid", "after"])
LAST = EVENTS + 2 * SIZE
"""The event that closes all windows before it."""


def events() -> list[int]:
    """The events, out of order by less than the lateness."""
    chance = random.Random(7)
    return sorted(range(EVENTS), key=lambda n: n + chance.uniform(0, SIZE / 10 - 1))


def feed(folder: Path, address: str = "") -> None:
    Pipeline("feed", memory.items([*events(), LAST]) | queues(folder, address)[0]).run()


def work(folder: Path, nth: int, moment: str, address: str = "") -> int:
    command = [sys.executable, "-m", "tests.pipelines.keeping", str(folder), str(nth), moment, address]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=120, check=False).returncode


def drained(folder: Path, place: int, address: str = "") -> list[Any]:
    out: list[Any] = []
    source = queues(folder, address)[place]
    source.type = Any
    Pipeline("drain", source | memory.into(out)).run(until_empty=True)
    return out


def expected() -> tuple[list[Any], list[Any]]:
    """The windows and the sums by Polars, in one go."""
    frame = pl.DataFrame({"n": [*range(EVENTS), LAST]})
    frame = frame.with_columns(key=pl.col("n") % KEYS, start=pl.col("n") // SIZE * float(SIZE))
    figures = pl.len().cast(pl.Int64).alias("count"), pl.col("n").sum().alias("sum")
    windows = frame.filter(pl.col("n") != LAST).group_by("key", "start").agg(*figures).sort("key", "start")
    return windows.rows(), frame.group_by("key").agg(*figures).sort("key").rows()


def check(folder: Path, address: str = "") -> None:
    windows, sums = expected()
    # A window that was not known to be safe comes again after a crash, and is the same then.
    for place in (1, 3):
        assert sorted({tuple(each) for each in drained(folder, place, address)}) == windows
    running = [tuple(each) for each in drained(folder, 2, address)]
    assert [max(each for each in running if each[0] == key) for key in range(KEYS)] == sums


def test_without_a_crash(tmp_path: Path) -> None:
    feed(tmp_path)
    pipeline(tmp_path, tmp_path / "keeping.state").run(until_empty=True)
    check(tmp_path)


def kill_again_and_again(folder: Path, moment: str, address: str = "") -> None:
    killed = 0
    for nth in (1, 2, 3, 5, 2, 1):
        code = work(folder, nth, moment, address)
        assert code in (0, -signal.SIGKILL)
        killed += code == -signal.SIGKILL
    assert killed > 3
    assert work(folder, 0, moment, address) == 0
    check(folder, address)
    # What is left is the window that the last event opened, and a sum for each key.
    assert [(each.step, each.keys) for each in StateFile(folder / "keeping.state").summary()] == [
        ("1.windows/1:window", 2),
        ("1.sums/1:scan", KEYS),
        ("1.figures/1:window | aggregate(count, sum)", 2),
    ]


@MOMENTS
def test_a_worker_is_killed_at_one_checkpoint_after_the_other(moment: str, tmp_path: Path) -> None:
    feed(tmp_path)
    kill_again_and_again(tmp_path, moment)


@pytest.mark.broker
@MOMENTS
def test_a_worker_that_reads_from_rabbitmq_is_killed(moment: str, tmp_path: Path, vhost: str) -> None:
    feed(tmp_path, vhost)
    kill_again_and_again(tmp_path, moment, vhost)
