"""What an observer costs: the same pipelines with it and without, in turn."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Subject
from benchmarks.steps.sums import Order, large, messages, priced

if TYPE_CHECKING:
    from warren import Pipeline

__all__ = ["SHARE", "in_memory", "sides", "through_sqlite"]

BLOCKS = 7
SHARE = "of the throughput"
"""The unit of what is measured here."""


def in_memory(size: int, folder: Path) -> Pipeline:
    """Cheap steps and a source that is never waited for: nothing hides what an observer takes."""
    from warren import Pipeline
    from warren.connectors import memory
    from warren.operators import aggregate, filter, map, total

    sums = aggregate(by=itemgetter(0), amount=total(itemgetter(1)))
    orders = memory.items(messages(size), type=Order)
    return Pipeline("bench", orders | filter(large) | map(priced) | sums | memory.into([]))


def through_sqlite(size: int, folder: Path) -> Pipeline:
    """From one durable queue to another."""
    from warren import Pipeline
    from warren.connectors import memory, sqlite
    from warren.operators import map

    file = str(folder / "queues.db")
    Pipeline("fill", memory.items(messages(size)) | sqlite.queue(file, "orders")).run()
    return Pipeline("bench", sqlite.queue(file, "orders", Order) | map(priced) | sqlite.queue(file, "priced"))


def sides(
    build: Callable[[int, Path], Pipeline],
    observed: Callable[[Pipeline, Path], AbstractContextManager[Pipeline]],
    clock: Callable[[], float] = time.process_time,
) -> list[Subject]:
    """``warren`` is the share of the throughput that is left with an observer, ``limit`` is all of it.

    The median of runs one after the other in one process: between processes, the same run differs by more than an observer
    takes.
    """

    def spent(size: int, watch: Callable[[Pipeline, Path], AbstractContextManager[Pipeline]]) -> float:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            pipeline = build(size, folder)
            gc.collect()
            start = clock()
            with watch(pipeline, folder) as watched:
                watched.run(until_empty=True)
            return clock() - start

    def alone(pipeline: Pipeline, folder: Path) -> Any:
        return nullcontext(pipeline)

    def share(size: int) -> float:
        ratios = []
        for _ in range(BLOCKS):
            # What comes later differs from what comes first, so each side is as early as the other.
            took = {alone: 0.0, observed: 0.0}
            for watch in (alone, observed, observed, alone):
                took[watch] += spent(size, watch)
            ratios.append(took[alone] / took[observed])
        return median(ratios)

    return [Subject("warren", share), Subject("limit", lambda size: 1.0)]
