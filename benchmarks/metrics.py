"""What metrics cost: processor time with them and scraped (``warren``) or without (``limit``), and the time of a scrape."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from benchmarks.harness import Bar, Benchmark, Case, Subject, main
from benchmarks.recording import in_memory, through_sqlite

if TYPE_CHECKING:
    from warren.analytics import Metrics

__all__ = ["BENCHMARK"]

_EVERY = 1.0


@contextmanager
def scraped(metrics: Metrics, every: float, took: list[float]) -> Iterator[None]:
    """Scrape again and again; more often than Prometheus does unless told otherwise, which is each 15 s or minute."""
    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(every):
            if (address := metrics.address) is not None:
                start = time.perf_counter()
                try:
                    urlopen(f"{address}/metrics", timeout=5).read()
                except OSError:
                    return
                took.append(time.perf_counter() - start)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def costs(build: Callable[[int, Path], Any], *, measured: bool) -> Callable[[int], float]:
    """A subject that runs a pipeline until its source is empty; messages for each second of the processor."""

    def run(size: int) -> float:
        from warren.analytics import Metrics

        with tempfile.TemporaryDirectory() as folder:
            pipeline = build(size, Path(folder))
            metrics = Metrics("127.0.0.1:0")
            if measured:
                pipeline = pipeline.observed(metrics)
            start = time.process_time()
            with scraped(metrics, _EVERY, []):
                pipeline.run(until_empty=True)
            return size / (time.process_time() - start)

    return run


def scrapes(build: Callable[[int, Path], Any]) -> Callable[[int], float]:
    """A subject that scrapes as fast as it can while messages go through; scrapes a second by the slowest of twenty."""

    def run(size: int) -> float:
        from warren.analytics import Metrics

        took: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            metrics = Metrics("127.0.0.1:0")
            pipeline = build(size, Path(folder)).observed(metrics)
            start = time.perf_counter()
            with scraped(metrics, 0.05, took):
                pipeline.run(until_empty=True)
            passed = time.perf_counter() - start
        took.sort()
        slow = took[int(0.95 * len(took))] if took else _EVERY  # the run that warms up may be too short for one
        print(f"{len(took)} scrapes at {size / passed:,.0f} messages/s, 95 % within {1000 * slow:.1f} ms", file=sys.stderr)
        return 1 / slow

    return run


def sides(build: Callable[[int, Path], Any]) -> Sequence[Subject]:
    return [Subject("warren", costs(build, measured=True)), Subject("limit", costs(build, measured=False))]


BENCHMARK = Benchmark(
    "metrics",
    cases=[
        Case(
            "memory",
            "messages/s",
            sides(in_memory),
            size=1_000_000,
            quick_size=300_000,
            note="by processor time, scraped each second, the worst case: cheap steps in memory; limit: without metrics",
        ),
        Case(
            "sqlite",
            "messages/s",
            sides(through_sqlite),
            size=1_000_000,
            quick_size=200_000,
            note="by processor time, scraped each second, durable queue to durable queue; limit: without metrics",
        ),
        Case(
            "scrape",
            "scrapes/s",
            [Subject("warren", scrapes(through_sqlite)), Subject("limit", lambda size: 20.0)],
            size=1_000_000,
            quick_size=200_000,
            note="one after the other while messages go through, by the slowest in twenty; limit: 50 ms",
        ),
    ],
    bars=[Bar("sqlite", "limit", 0.98), Bar("scrape", "limit", 1.0)],
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
