"""What the flow recorder costs: the same pipeline with it (``warren``) and without it (``limit``), in alternation."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.harness import Bar, Benchmark, Case, Subject, main
from benchmarks.steps.sums import Order, large, messages, priced

__all__ = ["BENCHMARK"]


def in_memory(size: int, folder: Path) -> Any:
    """Cheap steps and a source that is never waited for: nothing hides what recording takes."""
    from warren import Pipeline
    from warren.connectors import memory
    from warren.operators import aggregate, filter, map, total

    sums = aggregate(by=itemgetter(0), amount=total(itemgetter(1)))
    orders = memory.items(messages(size), type=Order)
    return Pipeline("bench", orders | filter(large) | map(priced) | sums | memory.into([]))


def through_sqlite(size: int, folder: Path) -> Any:
    """From one durable queue to another."""
    from warren import Pipeline
    from warren.connectors import memory, sqlite
    from warren.operators import map

    file = str(folder / "queues.db")
    Pipeline("fill", memory.items(messages(size)) | sqlite.queue(file, "orders")).run()
    return Pipeline("bench", sqlite.queue(file, "orders", Order) | map(priced) | sqlite.queue(file, "priced"))


def timed(build: Callable[[int, Path], Any], *, recorded: bool) -> Callable[[int], float]:
    """A subject that runs a pipeline until its source is empty; messages a second, what the recorder writes included."""

    def run(size: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            pipeline = build(size, Path(folder))
            if recorded:
                from warren.analytics import Recorder

                pipeline = pipeline.observed(Recorder(Path(folder) / "flows"))
            start = time.perf_counter()
            pipeline.run(until_empty=True)
            return size / (time.perf_counter() - start)

    return run


def sides(build: Callable[[int, Path], Any]) -> Sequence[Subject]:
    return [Subject("warren", timed(build, recorded=True)), Subject("limit", timed(build, recorded=False))]


BENCHMARK = Benchmark(
    "recording",
    cases=[
        Case(
            "memory",
            "messages/s",
            sides(in_memory),
            size=1_000_000,
            quick_size=300_000,
            note="the worst case: nothing but cheap steps in memory; limit: without the recorder",
        ),
        Case(
            "sqlite",
            "messages/s",
            sides(through_sqlite),
            size=1_000_000,
            quick_size=200_000,
            note="durable queue to durable queue; limit: without the recorder",
        ),
    ],
    bars=[Bar("memory", "limit", 0.95), Bar("sqlite", "limit", 0.95)],
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
