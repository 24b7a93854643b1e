"""How good forecasts are on the hourly series of the M4 competition, and how long they take.

The metrics are the competition's: sMAPE, MASE, OWA relative to Naive2, and MSIS of the 95 % interval, with its coverage.
Every origin is a time from which the next 48 hours are forecast knowing only what came before: 1 leaves out the last 48
hours of each series, 2 the last 96, and so on. Nothing is chosen by one origin alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

__all__ = ["Scores", "main", "naive2", "read", "score"]

Floats = npt.NDArray[np.float64]

DATA = "WARREN_M4"
HORIZON, DAY = 48, 24
MARKS = {"owa": (0.0, 0.50), "msis": (0.0, 7.5), "coverage": (0.93, 0.97), "seconds": (0.0, 60.0)}
PUBLISHED = "published, for the test part: best OWA 0.410, ES-RNN 0.440, seasonal naive 0.627; best MSIS 6.14, ARIMA 7.54"
END = datetime(2026, 1, 1)


@dataclass(frozen=True)
class Scores:
    """The competition's metrics of one method; intervals only where it gives some."""

    smape: float
    mase: float
    msis: float | None = None
    coverage: float | None = None


def read(path: Path) -> dict[str, Floats]:
    """The series of an M4 file: a row each, the name first. Raises `SystemExit` with a sentence where there is none."""
    if not path.is_file():
        raise SystemExit(
            f"{path} is not there: download the M4 data set, and name the folder that holds Hourly-train.csv with --data"
        )
    with path.open(newline="") as lines:
        rows = csv.reader(lines)
        next(rows)
        return {row[0]: np.array([float(each) for each in row[1:] if each not in ("", "NA")]) for row in rows}


def naive2(history: Floats) -> Floats:
    """The competition's benchmark: the last value, seasonally adjusted where the series passes a test of being seasonal."""
    seasons = np.ones(DAY)
    if _seasonal(history):
        weights = np.r_[0.5, np.ones(DAY - 1), 0.5] / DAY
        half = DAY // 2
        ratio = np.full(len(history), np.nan)
        ratio[half:-half] = history[half:-half] / np.convolve(history, weights, "valid")
        seasons = np.array([np.nanmean(ratio[phase::DAY]) for phase in range(DAY)])
        seasons *= DAY / seasons.sum()
    last = history[-1] / seasons[(len(history) - 1) % DAY]
    told: Floats = last * seasons[np.arange(len(history), len(history) + HORIZON) % DAY]
    return told


def _seasonal(history: Floats) -> bool:
    away = history - history.mean()
    total = (away**2).sum()
    if not total:
        return False
    lags = np.array([(away[lag:] * away[:-lag]).sum() / total for lag in range(1, DAY + 1)])
    return bool(abs(lags[-1]) > 1.645 / np.sqrt(len(history)) * np.sqrt(1 + 2 * (lags[:-1] ** 2).sum()))


def score(
    histories: Sequence[Floats], actual: Floats, told: Floats, low: Floats | None = None, high: Floats | None = None
) -> Scores:
    """The metrics over all series, each counting the same."""
    unit = np.array([np.abs(each[DAY:] - each[:-DAY]).mean() for each in histories])[:, None]
    away = np.abs(actual - told)
    smape = float((200 * away / (np.abs(actual) + np.abs(told))).mean())
    mase = float((away / unit).mean())
    if low is None or high is None:
        return Scores(smape, mase)
    width = (high - low) + 40 * (np.maximum(low - actual, 0) + np.maximum(actual - high, 0))
    return Scores(smape, mase, float((width / unit).mean()), float(((low <= actual) & (actual <= high)).mean()))


def by_warren(method: str) -> Callable[[Sequence[Floats]], tuple[Floats, Floats, Floats]]:
    """Forecasts by one of warren's forecasters: the median, and the 95 % interval."""

    def tell(histories: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
        import polars as pl

        from warren.analytics.forecasts import forecast

        # The series came without times, so all are made to end at the same one.
        frames = [
            pl.DataFrame({"series": f"{row:04}", "at": _hours(len(values)), "value": values})
            for row, values in enumerate(histories)
        ]
        table = forecast(pl.concat(frames), HORIZON, (0.025, 0.5, 0.975), method=method).table.sort("series", "at")
        told, low, high = (table[name].to_numpy().reshape(-1, HORIZON) for name in ("p50", "p02.5", "p97.5"))
        return told, low, high

    return tell


def _hours(count: int) -> Any:
    import polars as pl

    return pl.datetime_range(END - timedelta(hours=count), END, "1h", closed="left", eager=True)


def seasonal_naive(histories: Sequence[Floats]) -> tuple[Floats, None, None]:
    return np.array([np.tile(each[-DAY:], HORIZON // DAY) for each in histories]), None, None


METHODS: dict[str, Callable[[Sequence[Floats]], tuple[Floats, Floats | None, Floats | None]]] = {
    "warren": by_warren("boosted"),
    "profile": by_warren("profile"),
    "seasonal naive": seasonal_naive,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table for each origin, and say which marks are reached; 1 with ``--strict`` where one is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.m4_hourly", allow_abbrev=False)
    parser.add_argument("--data", type=Path, help=f"the folder with Hourly-train.csv; without it, {DATA} or data/m4")
    parser.add_argument(
        "--origins", type=int, default=1, metavar="N", help="forecast from the last N origins, 48 hours apart"
    )
    parser.add_argument("--test", action="store_true", help="forecast Hourly-test.csv, from all of Hourly-train.csv")
    parser.add_argument("--method", action="append", choices=sorted(METHODS), help="only this; can be given several times")
    parser.add_argument("--series", type=int, help="only the first so many series")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file, as a JSON array of rows")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where warren misses a mark")
    options = parser.parse_args(argv)
    folder = options.data or Path(os.environ.get(DATA, "data/m4"))
    train = dict(list(read(folder / "Hourly-train.csv").items())[: options.series])
    if options.test:
        later = read(folder / "Hourly-test.csv")
        splits = [("test", list(train.values()), np.array([later[name][:HORIZON] for name in train]))]
    else:
        splits = [_split(train, origin) for origin in range(1, options.origins + 1)]
    rows: list[dict[str, Any]] = []
    for name, histories, actual in splits:
        rows += _measure(name, histories, actual, options.method or list(METHODS))
        _print([row for row in rows if row["origin"] == name])
    print(PUBLISHED)
    if options.json:
        options.json.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    return 1 if _missed(rows) and options.strict else 0


def _split(series: dict[str, Floats], origin: int) -> tuple[str, list[Floats], Floats]:
    histories = [values[: len(values) - HORIZON * origin] for values in series.values()]
    actual = [values[len(values) - HORIZON * origin :][:HORIZON] for values in series.values()]
    return str(origin), histories, np.array(actual)


def _measure(origin: str, histories: list[Floats], actual: Floats, methods: Sequence[str]) -> list[dict[str, Any]]:
    bar = score(histories, actual, np.array([naive2(each) for each in histories]))
    rows = [{"origin": origin, "subject": "Naive2", "owa": 1.0, "smape": bar.smape, "mase": bar.mase}]
    for method in methods:
        began, work = time.perf_counter(), time.process_time()
        told, low, high = METHODS[method](histories)
        seconds, processor = time.perf_counter() - began, time.process_time() - work
        found = score(histories, actual, told, low, high)
        owa = (found.smape / bar.smape + found.mase / bar.mase) / 2
        numbers = {"owa": owa, **vars(found), "seconds": seconds, "cpu_s": processor}
        rows.append({"origin": origin, "subject": method} | {key: each for key, each in numbers.items() if each is not None})
    return rows


def _print(rows: Sequence[dict[str, Any]]) -> None:
    columns = ("owa", "smape", "mase", "msis", "coverage", "seconds", "cpu_s")
    table = Table(title=f"m4_hourly, origin {rows[0]['origin']}", title_justify="left")
    table.add_column("subject")
    for name in columns:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(row["subject"], *(f"{row[name]:.3f}" if name in row else "" for name in columns))
    Console().print(table)


def _missed(rows: Sequence[dict[str, Any]]) -> int:
    missed = 0
    for row in rows:
        if row["subject"] == "warren":
            for name, (low, high) in MARKS.items():
                reached = low <= row[name] <= high
                missed += not reached
                between = f"at most {high:g}" if not low else f"{low:g} to {high:g}"
                print(f"{'PASS' if reached else 'FAIL'}  origin {row['origin']} {name}: {row[name]:.3f}, {between}")
    return missed


if __name__ == "__main__":
    # One core: read by the libraries when they are imported.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    sys.exit(main())
