"""What reports to a dashboard cost: the share of the throughput that is left with them, by processor time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Bar, Benchmark, Case, main
from benchmarks.observers import SHARE, in_memory, sides, through_sqlite

if TYPE_CHECKING:
    from warren import Pipeline

__all__ = ["BENCHMARK"]


@contextmanager
def reporting(pipeline: Pipeline, folder: Path) -> Iterator[Pipeline]:
    """A report each second."""
    from warren.apps.dashboard import reported

    yield reported(pipeline, f"sqlite:{folder}/reports.db?queue=reports")


BENCHMARK = Benchmark(
    "dashboard",
    cases=[
        Case(
            "memory",
            SHARE,
            sides(in_memory, reporting),
            size=2_000_000,
            quick_size=100_000,
            note="a report each second, the worst case: cheap steps in memory",
        ),
        Case(
            "sqlite",
            SHARE,
            sides(through_sqlite, reporting),
            size=2_000_000,
            quick_size=50_000,
            note="a report each second, durable queue to durable queue",
        ),
    ],
    bars=[Bar("sqlite", "limit", 0.98)],
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
