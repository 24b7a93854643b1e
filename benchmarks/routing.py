"""How long messages take by each policy of routing, in a simulation driven by real arrivals and sizes.

Nine targets of different speeds with 17 workers, each slowed down 2 to 5 times now and then; a message's work is its tokens,
give or take a fifth. Arrivals come ten times as fast as they did. Depths are read each second and known a second later. The
first half of the trace is what our policy was tuned on; the second half, with other seeds, is what is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.routing_model.ours import Ours
from benchmarks.routing_model.plant import Plant, Policy, build, shared, simulate
from benchmarks.routing_model.rivals import RIVALS
from benchmarks.routing_model.trace import Trace, read, synthetic

__all__ = ["CASES", "Case", "main", "measure"]

DATA = "WARREN_AZURE"
OURS, BEST, QUEUE = "EarliestFinish", "clairvoyant", "one shared queue"
MARKS = {0.7: 1.6, 0.9: 1.3}
LOADS = tuple(MARKS)
Maker = Callable[[Plant, int], Policy]


@dataclass(frozen=True)
class Case:
    """One setting of the simulation: the plant, how many routers there are, and which policies are shown."""

    title: str
    plant: dict[str, Any] = field(default_factory=dict)
    routers: int = 1
    ours: dict[str, dict[str, Any]] = field(default_factory=lambda: {OURS: {}})
    rivals: tuple[str, ...] = ("two choices, stale depth", "least in flight", "Prequal")


FAIL = (60.0, 10.0)
CASES = {
    "usual": Case("one router", rivals=tuple(name for name in RIVALS if name != BEST)),
    "routers": Case("four routers, each knows what it sent, and of others only the depths", routers=4),
    "sizes": Case("one router that knows no sizes", ours={OURS: {"size": None}}),
    "depths": Case("queues: only their depth is known", ours={OURS: {"ends": "read"}}, rivals=("two choices, stale depth",)),
    "failing": Case("one router, targets fail now and then", plant={"fail": FAIL}),
    "kinds": Case(
        "four kinds of messages, for which targets have different strengths",
        plant={"kinds": 4},
        ours={"EarliestFinish, without kinds": {}, OURS: {"kind": lambda message: message.kind}},
    ),
}


def measure(trace: Trace, case: Case, load: float, seeds: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Of each policy the median of the seeds' percentiles in seconds, the ratio to the clairvoyant, and the failed share."""
    makers: dict[str, Maker] = {name: RIVALS[name] for name in (*case.rivals, BEST)}
    for name, settings in case.ours.items():
        makers[name] = lambda plant, seed, settings=settings: Ours(plant, seed, **settings)  # type: ignore[misc]
    found: dict[str, list[Any]] = {name: [] for name in (*makers, QUEUE)}
    for seed in seeds:
        for name in found:
            plant = build(trace, load, seed, **case.plant)
            if name == QUEUE:
                seconds = shared(plant)
            else:
                seconds = simulate(plant, [makers[name](plant, 100 * seed + i) for i in range(case.routers)])
            failed = sum(message.tries for message in plant.messages) / len(plant.messages)
            found[name].append([*np.percentile(seconds, (50, 95, 99)), failed])
    ends = {name: np.array(rows) for name, rows in found.items()}
    results = {}
    for name, rows in ends.items():
        ratios = rows[:, 2] / ends[BEST][:, 2]
        p50, p95, p99, failed = np.median(rows, 0).tolist()
        ratio = float(np.exp(np.log(ratios).mean()))
        results[name] = {"p50": p50, "p95": p95, "p99": p99, "failed": failed, "ratio": ratio, "worst": float(ratios.max())}
    return results


def _table(title: str, results: dict[float, dict[str, dict[str, Any]]], *, failing: bool) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("policy")
    for load in results:
        for column in ("p50", "p95", "p99", "ratio", "worst", *(["failed"] if failing else [])):
            table.add_column(f"{column}\n{load}", justify="right")
    first = next(iter(results.values()))
    for name in sorted(first, key=lambda name: -first[name]["ratio"]):
        cells = []
        for rows in results.values():
            row = rows[name]
            cells += [f"{row[key]:.2f}" for key in ("p50", "p95", "p99")]
            cells += [f"{row['ratio']:.2f}", f"{row['worst']:.2f}"]
            if failing:
                cells.append(f"{row['failed']:.1%}")
        table.add_row(name, *cells)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print the tables, and answer 1 where a bar is missed and ``--strict`` is given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get(DATA), help=f"the folder of the trace, or {DATA}")
    parser.add_argument("--case", action="append", choices=list(CASES), help="all unless given")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pace", type=float, default=10.0, help="how many times as fast messages come as they did")
    parser.add_argument("--tune", action="store_true", help="the part that the policy was tuned on")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages, one seed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--strict", action="store_true")
    options = parser.parse_args(arguments)
    whole = read(Path(options.data)) if options.data else synthetic()
    start, end = (0.0, 0.5) if options.tune else (0.5, 0.55 if options.quick else 1.0)
    trace = whole.part(start, end, options.pace)
    first, count = 1 if options.tune else 101, 1 if options.quick else options.seeds
    seeds = range(first, first + count)
    console = Console()
    console.print(
        f"{len(trace.at)} messages of {options.data or 'a made-up trace'}, {count} seeds. Seconds from arrival to success,"
    )
    console.print("the ratio of the p99 to the clairvoyant's, and the worst of it.")
    rows, missed = [], False
    for name in options.case or CASES:
        case = CASES[name]
        results = {load: measure(trace, case, load, seeds) for load in LOADS}
        console.print(_table(case.title, results, failing="fail" in case.plant))
        for load, found in results.items():
            missed |= name == "usual" and found[OURS]["ratio"] > MARKS[load]
            for subject, row in found.items():
                each = {
                    "benchmark": "routing",
                    "case": f"{name} {load}",
                    "subject": subject,
                    "value": round(row["ratio"], 3),
                }
                rows.append({**each, "unit": "p99 / clairvoyant", "better": "lower"})
    if options.json:
        options.json.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", "utf-8")
    return int(missed and options.strict)


if __name__ == "__main__":
    sys.exit(main())
