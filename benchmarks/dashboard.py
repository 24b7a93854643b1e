"""What reports to a dashboard cost: processor time with them (``warren``) or without (``limit``)."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Bar, Benchmark, Case, Subject, main
from benchmarks.recording import in_memory, through_sqlite

__all__ = ["BENCHMARK"]


def costs(build: Callable[[int, Path], Any], *, reports: bool) -> Callable[[int], float]:
    """A subject that runs a pipeline until its source is empty; messages for each second of the processor."""

    def run(size: int) -> float:
        from warren.apps.dashboard import reported

        with tempfile.TemporaryDirectory() as folder:
            pipeline = build(size, Path(folder))
            if reports:
                pipeline = reported(pipeline, f"sqlite:{folder}/reports.db?queue=reports")
            start = time.process_time()
            pipeline.run(until_empty=True)
            return size / (time.process_time() - start)

    return run


def sides(build: Callable[[int, Path], Any]) -> Sequence[Subject]:
    return [Subject("warren", costs(build, reports=True)), Subject("limit", costs(build, reports=False))]


BENCHMARK = Benchmark(
    "dashboard",
    cases=[
        Case(
            "memory",
            "messages/s",
            sides(in_memory),
            size=3_000_000,
            quick_size=300_000,
            note="by processor time, a report each second, the worst case: cheap steps in memory; limit: without reports",
        ),
        Case(
            "sqlite",
            "messages/s",
            sides(through_sqlite),
            size=3_000_000,
            quick_size=200_000,
            note="by processor time, a report each second, durable queue to durable queue; limit: without reports",
        ),
    ],
    bars=[Bar("sqlite", "limit", 0.98)],
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
