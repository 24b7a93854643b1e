"""Joins of durable queues: killed at the boundaries of checkpoints, they give what one computation gives."""

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

from tests.pipelines.joining import LATENESS, WITHIN, pipeline, queues
from warren import Pipeline
from warren.connectors import memory, sqlite
from warren.operators import join, map

ROOT = Path(__file__).parents[2]
EVENTS, KEYS = 1_000, 50
LAST = EVENTS + 2 * (WITHIN + LATENESS)
Event = tuple[int, int, int]


def events(side: int) -> list[Event]:
    """The events of one side, out of order by less than the lateness, and the one that lets go of all before it."""
    chance = random.Random(side)
    numbers = sorted(range(EVENTS), key=lambda n: n + chance.uniform(0, LATENESS - 1))
    return [*((chance.randrange(KEYS), n, EVENTS * side + n) for n in numbers), (-1 - side, LAST, -1)]


def feed(folder: Path) -> None:
    for side, queue in enumerate(queues(folder)[:2]):
        Pipeline("feed", memory.items(events(side)) | queue).run()


def drained(queue: Any) -> list[tuple[Any, ...]]:
    out: list[Any] = []
    Pipeline("drain", queue | memory.into(out)).run(until_empty=True)
    return [tuple(each) for each in out]


def expected() -> list[tuple[Any, Any]]:
    """The pairs by Polars, in one go."""
    left, right = (
        pl.DataFrame(events(side)[:-1], schema=["key", "time", f"n{side}"], orient="row", infer_schema_length=None)
        for side in (0, 1)
    )
    pairs = left.join(right, on="key").filter((pl.col("time") - pl.col("time_right")).abs() <= WITHIN).select("n0", "n1")
    alone = [(n, None) for n in left["n0"] if n not in set(pairs["n0"])]
    return [*pairs.rows(), *alone, *((None, n) for n in right["n1"] if n not in set(pairs["n1"]))]


def order(pair: tuple[Any, Any]) -> list[int]:
    return [-1 if each is None else each for each in pair]


@pytest.mark.parametrize("moment", ["before", "amid", "after"])
def test_a_worker_is_killed_at_one_checkpoint_after_the_other(moment: str, tmp_path: Path) -> None:
    feed(tmp_path)
    command = [sys.executable, "-m", "tests.pipelines.joining", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    killed = 0
    for nth in (2, 1, 3, 5, 2):
        done = subprocess.run([*command, str(nth), moment], cwd=ROOT, env=environment, timeout=120, check=False)
        assert done.returncode in (0, -signal.SIGKILL)
        killed += done.returncode == -signal.SIGKILL
    assert killed > 2
    pipeline(tmp_path, tmp_path / "joining.state").run(until_empty=True)
    # A pair that was not known to be safe comes again after a crash.
    assert sorted(set(drained(queues(tmp_path)[2])), key=order) == sorted(expected(), key=order)


def test_without_a_crash_and_state_nothing_comes_twice(tmp_path: Path) -> None:
    feed(tmp_path)
    pipeline(tmp_path, None).run(until_empty=True)
    assert sorted(drained(queues(tmp_path)[2]), key=order) == sorted([*expected(), (-1, None), (None, -1)], key=order)


def test_letters_of_a_pair_go_back_each_to_its_own_side(tmp_path: Path) -> None:
    left, right = (sqlite.queue(tmp_path / f"{name}.db", name, Any) for name in ("left", "right"))
    for queue, value in ((left, ["a", 0, 1]), (right, ["a", 0, 2])):
        Pipeline("feed", memory.items([value]) | queue).run()

    def broken(pair: Any) -> Any:
        raise ValueError("oh")

    joined = join(left, right, on=lambda event: event[0], time=lambda event: event[1], within=1)
    Pipeline("p", joined | map(broken) | memory.into([])).run(until_empty=True)
    for name, number in (("left", 1), ("right", 2)):
        assert drained(sqlite.queue(tmp_path / f"{name}.db", "p.dead", Any)) == [("a", 0, number)]
