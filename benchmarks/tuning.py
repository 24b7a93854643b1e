"""How near tuning comes to the best setting, through regimes that follow one another: simulated, and on a live broker.

A step that always has work: calls go over a network to a resource that they share, whose throughput has a knee and falls
beyond it. In each regime the truth is a grid search with fixed values. The seeds that ours was tuned on are others.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.tuning_model import live
from benchmarks.tuning_model.cost import costs
from benchmarks.tuning_model.plant import Regime, simulate
from benchmarks.tuning_model.scoring import OURS, Case, Fixed, Tried, part, shares, subjects, summary, tables
from warren.core.knobs import Knob

__all__ = ["CASES", "main", "measure"]

LASTS = 60.0
MARKS = {"settled": 0.95, "whole": 0.90, "default": 0.90}
CONCURRENCY = (
    Regime("usual", coherency=0.0002),
    Regime("slow service", work=0.08, workers=32, coherency=0.0002),
    Regime("high variance", spread=2.5, workers=24, coherency=0.0003),
    Regime("contended", work=0.01, workers=64, contention=0.02, coherency=0.004),
    Regime("far away", work=0.01, workers=16, delay=0.05, coherency=0.0001),
    Regime("large messages", work=0.04, workers=4, spread=0.5, contention=0.01, coherency=0.002),
    Regime("near and quick", work=0.005, workers=8, spread=0.5, coherency=0.001),
)
BATCHES = tuple(
    Regime(name, batch=4, workers=4, work=work, overhead=overhead, delay=delay, spread=0.5)
    for name, work, overhead, delay in (
        ("usual", 0.0002, 0.004, 0.0),
        ("large messages", 0.002, 0.004, 0.0),
        ("far away", 0.0002, 0.004, 0.02),
        ("costly calls", 0.0005, 0.02, 0.0),
        ("cheap calls", 0.0005, 0.001, 0.0),
        ("near and large", 0.001, 0.002, 0.002),
    )
)

CASES = {
    "concurrency": Case("concurrency, as much throughput as there is", CONCURRENCY, Knob("concurrency", 1, 256, 16)),
    "bounded": Case("concurrency, p95 within 0.25 s", CONCURRENCY, Knob("concurrency", 1, 256, 16), 0.25),
    "batch": Case("batch size, p95 within 0.2 s", BATCHES, Knob("batch", 1, 1000, 50), 0.2),
}


@cache
def grid(case: Case, regime: Regime, seed: int = 7, lasts: float = 40.0) -> tuple[Tried, ...]:
    """Of each value of the knob on a grid the throughput and the tail, after it has begun."""
    knob = case.knob
    values = sorted({knob.clip(knob.low * (knob.high / knob.low) ** (i / 28)) for i in range(29)} | {knob.start})
    runs = ((value, simulate([regime], lasts, Fixed(knob, value), seed)) for value in values)
    return tuple(Tried(value, *part(run.calls, 4.0, lasts)) for value, run in runs)


def grids(case: Case) -> list[tuple[Tried, ...]]:
    """That of each regime."""
    return [grid(case, regime) for regime in case.regimes]


def measure(case: Case, seeds: Sequence[int], lasts: float = LASTS) -> dict[str, dict[str, Any]]:
    """Of each subject the shares of the best throughput: settled, over the whole run, beside the default, and the worst."""
    results: dict[str, dict[str, Any]] = {}
    tried = grids(case)
    for name, make in subjects(case, tried).items():
        rows = []
        for seed in seeds:
            shift = seed % len(case.regimes)
            order = [*range(shift, len(case.regimes)), *range(shift)]
            run = simulate([case.regimes[i] for i in order], lasts, make(), seed)
            rows += [(case.regimes[i].name, shares(case, run, k, lasts, tried[i])) for k, i in enumerate(order)]
        results[name] = summary(case, rows)
    return results


@contextmanager
def broker() -> Iterator[str]:
    """The address of a broker: that of ``WARREN_AMQP_URL``, or one of a node of our own."""
    if url := os.environ.get("WARREN_AMQP_URL"):
        yield url
        return
    from tests.brokers.plugin import newest_of_ours
    from tests.brokers.rabbitmq import Node

    with Node(newest_of_ours()) as node:
        yield node.url


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and answer 1 where a bar is missed and ``--strict`` is given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__.splitlines()[0])
    names = [*CASES, *live.CASES]
    parser.add_argument("--case", action="append", choices=names, help="all that are simulated unless given")
    parser.add_argument("--live", action="store_true", help="the cases on a broker, which take 15 minutes each")
    parser.add_argument("--cost", action="store_true", help="only what a tuner that acts costs the processor")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tune", action="store_true", help="the seeds that ours was tuned on")
    parser.add_argument("--quick", action="store_true", help="one seed; two regimes and three values on a broker")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--strict", action="store_true")
    options = parser.parse_args(arguments)
    first, count = 1 if options.tune else 101, 1 if options.quick else options.seeds
    console = Console(width=125)
    if options.cost:
        with broker() as url:
            found = costs(url, 1_000, 3) if options.quick else costs(url)
        for place, (usual, more) in found.items():
            console.print(f"{place}: {usual:.1f} µs for a message, with a tuner {usual * more:+.2f} µs ({more:+.1%})")
        return 0
    console.print("Shares of the throughput of the best fixed value of each regime. Settled: from 10 s after a change on.")
    rows, missed = [], False
    for name in options.case or (live.CASES if options.live else CASES):
        if name in live.CASES:
            with broker() as url:
                case, tried, results = live.measure(live.CASES[name], url, live.QUICK if options.quick else live.WHOLE)
        else:
            case = CASES[name]
            tried, results = grids(case), measure(case, range(first, first + count))
        for table in tables(case, tried, results):
            console.print(table)
        missed |= any(results[OURS][key] < mark for key, mark in MARKS.items())
        for subject, row in results.items():
            each = {"benchmark": "tuning", "case": name, "subject": subject, "value": round(row["settled"], 3)}
            rows.append({**each, "unit": "settled / best", "better": "higher"})
    if options.json:
        options.json.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", "utf-8")
    return int(missed and options.strict)


if __name__ == "__main__":
    sys.exit(main())
