"""What metrics cost: the share of the throughput that is left with them, by processor time; and how long a scrape takes."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.request import urlopen

from benchmarks.harness import Bar, Benchmark, Case, Subject, main
from benchmarks.observers import SHARE, in_memory, sides, through_sqlite

if TYPE_CHECKING:
    from warren import Pipeline
    from warren.analytics import Metrics

__all__ = ["BENCHMARK"]

_EVERY = 1.0


@contextmanager
def scraped(metrics: Metrics, every: float, took: list[float]) -> Iterator[None]:
    """Scrape again and again; more often than Prometheus does unless told otherwise, which is each 15 s or minute."""
    ended = threading.Event()

    def scrape() -> None:
        wait = every / 2
        while not ended.wait(wait):
            wait = every
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


@contextmanager
def measured(pipeline: Pipeline, folder: Path) -> Iterator[Pipeline]:
    """Counted, and scraped each second."""
    from warren.analytics import Metrics

    metrics = Metrics("127.0.0.1:0")
    with scraped(metrics, _EVERY, []):
        yield pipeline.observed(metrics)


def left(build: Callable[[int, Path], Pipeline]) -> Callable[[int], float]:
    """A subject that counts, and is scraped each second; the share of the processor time that all else has.

    Each call of the observer and each answer is timed, on its thread. Runs with metrics and without differ by less than two
    runs with neither.
    """

    def run(size: int) -> float:
        from warren.analytics import Metrics, probes

        spent = [0.0]

        def timed(call: Callable[..., None]) -> Callable[..., None]:
            def called(*arguments: Any) -> None:
                start = time.thread_time()
                call(*arguments)
                spent[0] += time.thread_time() - start

            return called

        class Timed(Metrics):
            settled, handled, worked = map(timed, (Metrics.settled, Metrics.handled, Metrics.worked))

        answer = timed(probes._Server.process_request_thread)
        with tempfile.TemporaryDirectory() as folder, patch.object(probes._Server, "process_request_thread", answer):
            metrics = Timed("127.0.0.1:0")
            pipeline = build(size, Path(folder)).observed(metrics)
            start = time.process_time()
            with scraped(metrics, _EVERY, []):
                pipeline.run(until_empty=True)
            return 1 - spent[0] / (time.process_time() - start)

    return run


def scrapes(build: Callable[[int, Path], Pipeline]) -> Callable[[int], float]:
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


BENCHMARK = Benchmark(
    "metrics",
    cases=[
        Case(
            "memory",
            SHARE,
            [Subject("warren", left(in_memory)), Subject("limit", lambda size: 1.0)],
            size=3_000_000,
            quick_size=300_000,
            note="scraped each second, the worst case: cheap steps in memory",
        ),
        Case(
            "sqlite",
            SHARE,
            [Subject("warren", left(through_sqlite)), Subject("limit", lambda size: 1.0)],
            size=1_000_000,
            quick_size=200_000,
            note="scraped each second, durable queue to durable queue",
        ),
        Case(
            "pairs",
            SHARE,
            sides(through_sqlite, measured),
            size=500_000,
            quick_size=50_000,
            note="as sqlite, by whole runs with and without, which differ by more than what is sought",
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
    bars=[Bar("memory", "limit", 0.98), Bar("sqlite", "limit", 0.98), Bar("scrape", "limit", 1.0)],
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
