"""How near tuning comes to the best setting, through regimes that follow one another, in a simulation in virtual time.

A step that always has work: calls go over a network to a resource that they share, whose throughput has a knee and falls
beyond it. In each regime the truth is a grid search with fixed values. The seeds that ours was tuned on are others.
"""

from __future__ import annotations

import argparse
import json
import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.tuning_model.plant import Call, Regime, Run, simulate
from benchmarks.tuning_model.rivals import RIVALS
from warren.analytics.tuning import Tuner
from warren.core.knobs import Knob

__all__ = ["CASES", "Case", "main", "measure"]

OURS, DEFAULT, STATIC = "KneeSearch", "default", "static best"
SETTLED, LASTS = 10.0, 60.0
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


@dataclass(frozen=True)
class Case:
    """What is tuned, through which regimes, and how long the slowest calls but five in a hundred may take."""

    title: str
    regimes: tuple[Regime, ...]
    knob: Knob
    latency: float = inf


CASES = {
    "concurrency": Case("concurrency, as much throughput as there is", CONCURRENCY, Knob("concurrency", 1, 256, 16)),
    "bounded": Case("concurrency, p95 within 0.25 s", CONCURRENCY, Knob("concurrency", 1, 256, 16), 0.25),
    "batch": Case("batch size, p95 within 0.2 s", BATCHES, Knob("batch", 1, 1000, 50), 0.2),
}


class Fixed:
    """A setting that stays."""

    def __init__(self, knob: Knob, value: int) -> None:
        self.knob, self.value = knob, value

    def open(self, clock: Any) -> None:
        """Nothing is measured."""

    def ended(self, seconds: float, success: bool, *, in_flight: float = 0.0, count: int = 1) -> None:
        """Nothing is learned."""


def _part(calls: Sequence[Call], start: float, end: float) -> tuple[float, float]:
    """Messages a second, and the 95th percentile of how long calls took."""
    part = calls[bisect_left(calls, start, key=_at) : bisect_left(calls, end, key=_at)]
    if not part:
        return 0.0, inf
    return sum(call.messages for call in part) / (end - start), sorted(call.took for call in part)[int(0.95 * len(part))]


def _at(call: Call) -> float:
    return call.at


@cache
def grid(case: Case, regime: Regime, seed: int = 7, lasts: float = 40.0) -> tuple[tuple[int, float, float], ...]:
    """Of each value of the knob on a grid the throughput and the tail, after it has begun."""
    knob = case.knob
    values = sorted({knob.clip(knob.low * (knob.high / knob.low) ** (i / 28)) for i in range(29)} | {knob.start})
    return tuple((value, *_part(simulate([regime], lasts, Fixed(knob, value), seed).calls, 4.0, lasts)) for value in values)


def best(case: Case, regime: Regime) -> tuple[int, float, float]:
    """The row of the grid with the highest throughput within the bound; the least value where none is."""
    rows = [row for row in grid(case, regime) if row[2] <= case.latency]
    return max(rows, key=lambda row: row[1]) if rows else grid(case, regime)[0]


def static_best(case: Case) -> int:
    """The one value that is best over all regimes, within the bound in each if there is such a one."""
    tables = [grid(case, regime) for regime in case.regimes]
    marks = [best(case, regime)[1] for regime in case.regimes]
    columns = list(zip(*tables, strict=True))
    kept = [column for column in columns if all(row[2] <= case.latency for row in column)] or columns[:1]
    return max(kept, key=lambda column: fmean(row[1] / mark for row, mark in zip(column, marks, strict=True)))[0][0]


def settings(case: Case) -> dict[str, Any]:
    """Each subject, made anew by a call."""
    knob, bound = case.knob, case.latency
    made: dict[str, Any] = {
        DEFAULT: lambda: Fixed(knob, knob.start),
        STATIC: lambda: Fixed(knob, static_best(case)),
    }
    for name, rival in RIVALS.items():
        made[name] = lambda rival=rival: Tuner(knob, rival(knob, bound), mode="act", interval=0.25, least=10)
    made[OURS] = lambda: Tuner(knob, mode="act", latency=None if bound == inf else bound)
    return made


def measure(case: Case, seeds: Sequence[int], lasts: float = LASTS) -> dict[str, dict[str, Any]]:
    """Of each subject the shares of the best throughput: settled, over the whole run, beside the default, and the worst."""
    results: dict[str, dict[str, Any]] = {}
    truth = [best(case, regime) for regime in case.regimes]
    for name, make in settings(case).items():
        rows = []
        for seed in seeds:
            shift = seed % len(case.regimes)
            order = [*range(shift, len(case.regimes)), *range(shift)]
            run = simulate([case.regimes[i] for i in order], lasts, make(), seed)
            rows += [(case.regimes[i].name, *_shares(case, run, k, lasts, truth[i], i)) for k, i in enumerate(order)]
        results[name] = {
            "settled": fmean(row[1] for row in rows),
            "least": min(row[1] for row in rows),
            "whole": fmean(row[2] for row in rows),
            "default": min(row[3] for row in rows),
            "late": fmean(row[4] for row in rows),
            "time": fmean(row[5] for row in rows),
            "regimes": {
                regime.name: [fmean(row[k] for row in rows if row[0] == regime.name) for k in (1, 2, 3, 4, 5, 6)]
                for regime in case.regimes
            },
        }
    return results


def _shares(case: Case, run: Run, k: int, lasts: float, truth: tuple[int, float, float], i: int) -> tuple[float, ...]:
    start, end = k * lasts, (k + 1) * lasts
    settled, _ = _part(run.calls, start + SETTLED, end)
    whole, _ = _part(run.calls, start, end)
    default = next(row[1] for row in grid(case, case.regimes[i]) if row[0] == case.knob.start)
    part = run.calls[bisect_left(run.calls, start + SETTLED, key=_at) : bisect_left(run.calls, end, key=_at)]
    late = sum(call.took > case.latency for call in part) / max(len(part), 1)
    # Settled from the first second on from which two seconds of calls reach nine tenths of the best.
    span = 2.0
    time = next(
        (
            s / 2
            for s in range(int(2 * (lasts - span)) + 1)
            if _part(run.calls, start + s / 2, start + s / 2 + span)[0] >= 0.9 * truth[1]
        ),
        lasts,
    )
    held = [value for at, value in run.values if start + SETTLED <= at < end]
    middle = sorted(held)[len(held) // 2] if held else [value for at, value in run.values if at < end][-1]
    return settled / truth[1], whole / truth[1], whole / min(default, truth[1]), late, time, float(middle)


def _tables(case: Case, results: dict[str, dict[str, Any]]) -> list[Table]:
    table = Table(title=case.title, title_justify="left")
    for column in ("rule", "settled", "least of them", "whole", "beside default", "over the bound", "seconds to 0.9"):
        table.add_column(column, justify="left" if column == "rule" else "right")
    for name, row in results.items():
        shares = (f"{row[key]:.3f}" for key in ("settled", "least", "whole", "default"))
        table.add_row(name, *shares, f"{row['late']:.1%}", f"{row['time']:.1f}")
    each = Table(title="each regime, settled (value of the knob)", title_justify="left")
    each.add_column("regime")
    each.add_column("best", justify="right")
    for name in results:
        each.add_column(name, justify="right")
    for regime in case.regimes:
        value, rate, _ = best(case, regime)
        cells = (row["regimes"][regime.name] for row in results.values())
        each.add_row(regime.name, f"{rate:.0f}/s ({value})", *(f"{cell[0]:.2f} ({cell[5]:.0f})" for cell in cells))
    return [table, each]


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print the tables, and answer 1 where a bar is missed and ``--strict`` is given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__.splitlines()[0])
    parser.add_argument("--case", action="append", choices=list(CASES), help="all unless given")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tune", action="store_true", help="the seeds that ours was tuned on")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--strict", action="store_true")
    options = parser.parse_args(arguments)
    first, count = 1 if options.tune else 101, 1 if options.quick else options.seeds
    console = Console(width=125)
    console.print("Shares of the throughput of the best fixed value of each regime. Settled: from 10 s after a change on.")
    rows, missed = [], False
    for name in options.case or CASES:
        case = CASES[name]
        results = measure(case, range(first, first + count))
        for table in _tables(case, results):
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
