"""What the flow recorder costs: the share of the throughput that is left with it."""

from __future__ import annotations

import sys
import time
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
def recorded(pipeline: Pipeline, folder: Path) -> Iterator[Pipeline]:
    """Until the last row is in a file."""
    from warren.analytics import Recorder

    yield pipeline.observed(Recorder(folder / "flows"))


BENCHMARK = Benchmark(
    "recording",
    cases=[
        Case(
            "memory",
            SHARE,
            sides(in_memory, recorded, time.perf_counter),
            size=500_000,
            quick_size=100_000,
            note="the worst case: nothing but cheap steps in memory",
        ),
        Case(
            "sqlite",
            SHARE,
            sides(through_sqlite, recorded, time.perf_counter),
            size=500_000,
            quick_size=50_000,
            note="durable queue to durable queue",
        ),
    ],
    bars=[Bar("memory", "limit", 0.95), Bar("sqlite", "limit", 0.95)],
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
