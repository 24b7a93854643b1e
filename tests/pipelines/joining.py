"""A worker that joins two durable queues and keeps state, to be killed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.pipelines.keeping import DeadlyFile
from warren import Pipeline
from warren.connectors import sqlite
from warren.operators import join, map

WITHIN, LATENESS = 5, 20


def queues(folder: Path) -> list[Any]:
    """The sources of both sides, and the sink of the pairs; an event is a key, a time and a number."""
    return [sqlite.queue(folder / "q.db", name, Any) for name in ("left", "right", "pairs")]


def pipeline(folder: Path, state: Any) -> Pipeline:
    """All events with their partners, or without one."""
    left, right, pairs = queues(folder)
    joined = join(
        left,
        right,
        on=lambda event: event[0],
        time=lambda event: event[1],
        within=WITHIN,
        how="outer",
        lateness=LATENESS,
        idle=None,
    )
    rows = map(lambda pair: [side and side[2] for side in (pair.left, pair.right)])
    return Pipeline("joining", joined | rows | pairs, state=state, credit=256, checkpoint="50ms")


def main() -> None:
    """Run until the queues are empty, or until the state file has it killed."""
    folder, nth, moment = sys.argv[1:]
    pipeline(Path(folder), DeadlyFile(f"{folder}/joining.state", int(nth), moment)).run(until_empty=True)


if __name__ == "__main__":
    main()
