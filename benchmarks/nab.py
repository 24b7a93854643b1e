"""The Numenta Anomaly Benchmark: `warren.analytics.Novelty` and `Alarms` as they come, one configuration for all series.

    python -m benchmarks.nab --data NAB_FOLDER

The folder has ``data/`` and ``labels/combined_windows.json``, as https://github.com/numenta/NAB has. Every series is gone
through once, row by row; an alarm's score is the detector's, and rows without an alarm have 0. One threshold is chosen for
all series, as the benchmark does; beside it, for each category, what the threshold reaches that the others would choose.
``--out`` writes one file of scores for each series, for other scorers. Without ``--data`` only the time of a point is taken.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.anomalies.scoring import PROFILES, Floats, Series, best, read, total
from benchmarks.harness import Benchmark, Case, Mark, Subject, main
from warren.analytics import Alarms, Novelty

__all__ = ["BENCHMARK"]

OTHERS = {
    "ARTime": (77.9, 68.6, 83.3),
    "Numenta HTM": (69.5, 62.5, 73.8),
    "CAD OSE": (67.7, 64.2, 71.1),
    "windowed Gaussian": (31.3, 10.6, 39.9),
}
"""What others reach on the 35 series of the public part used here: standard, low FP, low FN."""


def watched(series: Series) -> Floats:
    """The score of each row, 0 where there is no alarm."""
    detector = Novelty()
    alarms = Alarms(detector.threshold)
    scores = detector.watch_many(series.values, series.times)
    return np.array([score if alarms.step(score) else 0.0 for score in scores])


def point(size: int) -> float:
    """Microseconds that a point takes: a day's rhythm, noise, and a memory that is full."""
    draw = random.Random(7)
    detector = Novelty()
    alarms = Alarms(detector.threshold)
    values = [10 + 5 * math.sin(i / 46) + draw.gauss(0, 1) for i in range(detector.memory + size)]
    times = [300.0 * i for i in range(len(values))]
    detector.learn_many(values[:-size], times[:-size])
    start = time.perf_counter()
    for score in detector.watch_many(values[-size:], times[-size:]):
        alarms.step(score)
    return 1e6 * (time.perf_counter() - start) / size


def report(folder: Path, out: Path | None) -> None:
    console = Console()
    series = read(folder)
    start = time.perf_counter()
    scores = [watched(each) for each in series]
    micros = 1e6 * (time.perf_counter() - start) / sum(len(each) for each in scores)
    if out is not None:
        for each, found in zip(series, scores, strict=True):
            (out / each.name).parent.mkdir(parents=True, exist_ok=True)
            pl.DataFrame({"timestamp": each.times, "anomaly_score": found}).write_csv(out / each.name)
    table = Table(title=f"{len(series)} series, {micros:.1f} µs a point", title_justify="left")
    for name in ("", *(profile.name for profile in PROFILES), "without it"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("warren", *(f"{best(series, scores, profile).score:.1f}" for profile in PROFILES), "")
    points = most = 0.0
    for category in sorted({each.category for each in series}):
        mine = [i for i, each in enumerate(series) if each.category == category]
        rest = [i for i in range(len(series)) if i not in mine]
        ours, theirs = (
            ([series[i] for i in mine], [scores[i] for i in mine]),
            ([series[i] for i in rest], [scores[i] for i in rest]),
        )
        left = total(*ours, PROFILES[0], best(*theirs, PROFILES[0]).threshold)
        points, most = points + left.points, most + left.most
        own = (f"{best(*ours, profile).score:.1f}" if left.most else "-" for profile in PROFILES)
        table.add_row(category, *own, f"{left.score:.1f}" if left.most else f"{left.points:.2f} points")
    table.add_row("each category by the threshold of the others", "", "", "", f"{100 * points / most:.1f}")
    for name, reached in OTHERS.items():
        table.add_row(name, *(f"{score:.1f}" for score in reached), "")
    console.print(table)


BENCHMARK = Benchmark(
    "nab",
    cases=[Case("point", "µs", [Subject("warren", point)], 20_000, quick_size=5_000, better="lower")],
    marks=[Mark("point", 50)],
)


def _data(argv: list[str]) -> int | None:
    """Scores the series, where they are named."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    options, rest = parser.parse_known_args(argv)
    if options.data is None:
        if not rest:
            print("No series are scored: name the folder of the benchmark's series with --data.", file=sys.stderr)
        return None
    if not (options.data / "labels" / "combined_windows.json").is_file():
        parser.error(
            f"--data {options.data}: there is no labels/combined_windows.json in it; name a folder such as NAB's own"
        )
    report(options.data, options.out)
    return 0


if __name__ == "__main__":
    code = _data(sys.argv[1:])
    sys.exit(main(BENCHMARK) if code is None else code)
