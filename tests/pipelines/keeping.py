"""A worker that keeps state, to be killed: windows and running sums over numbered events of a durable queue."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from warren import Pipeline
from warren.connectors import rabbitmq, sqlite
from warren.connectors.sqlite.state import StateFile
from warren.core.state import Change
from warren.operators import aggregate, broadcast, count, map, scan, total, tumbling, window

EVENTS, KEYS, SIZE = 3_000, 7, 100
"""How many events there are, of how many keys, and how many numbers long a window is."""


class DeadlyFile(StateFile):
    """A state file whose worker dies at the ``nth`` checkpoint: before it, amid it, or right after it."""

    def __init__(self, path: str, nth: int, moment: str) -> None:
        super().__init__(path)
        self.left = nth
        self.moment = moment

    def commit(self, changes: Sequence[Change]) -> None:
        self.left -= 1
        if self.left == 0 and self.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().commit(changes)
        if self.left == 0 and self.moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    def _write(self, db: Any, change: Change) -> None:
        super()._write(db, change)
        if self.left == 0 and self.moment == "amid":
            os.kill(os.getpid(), signal.SIGKILL)


def queues(folder: Path, address: str) -> list[Any]:
    """The source, and the sinks of windows, sums and figures."""
    types = {"in": int, "windows": None, "sums": None, "figures": None}
    if address:
        return [rabbitmq.queue(name, type, broker=rabbitmq.Broker(address)) for name, type in types.items()]
    return [sqlite.queue(folder / "q.db", name, type) for name, type in types.items()]


def pipeline(folder: Path, state: Any, address: str = "") -> Pipeline:
    """Sums of each key in windows, of their values and as figures, and running sums of each key."""
    source, windows, sums, figures = queues(folder, address)
    hundreds = window(tumbling(SIZE), by=lambda n: n % KEYS, time=float, lateness=SIZE / 10, idle=None)
    by_window = hundreds | map(lambda w: [w.key, w.start, len(w.values), sum(w.values)]) | windows
    summed = aggregate(count=count(), sum=total())
    as_figures = hundreds | summed | map(lambda row: [row["key"], row["start"], row["count"], row["sum"]]) | figures
    running = scan(lambda total, n: (n % KEYS, total[1] + 1, total[2] + n), (0, 0, 0), by=lambda n: n % KEYS) | sums
    steps = broadcast(windows=by_window, sums=running, figures=as_figures)
    return Pipeline("keeping", source | steps, state=state, credit=256, checkpoint="50ms")


def main() -> None:
    """Run until the queue is empty, or until the state file has it killed."""
    folder, nth, moment, address = sys.argv[1:]
    pipeline(Path(folder), DeadlyFile(f"{folder}/keeping.state", int(nth), moment), address).run(until_empty=True)


if __name__ == "__main__":
    main()
