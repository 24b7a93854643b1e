"""The rules of the Numenta Anomaly Benchmark (Lavin and Ahmad, 2015), and its series.

Each labelled anomaly has a window. The best-placed alarm in it counts, the earlier the more; a window without one costs the
weight of a miss. An alarm outside costs up to the weight of a false alarm, little right behind a window and all of it far
away. The first 15 % of a series, 750 rows at most, are for learning and count nothing. One threshold holds for all series.
The sum is put on a scale where no alarm at all is 0 and every window found at its first row is 100.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["PROFILES", "Outcome", "Profile", "Series", "best", "read", "total"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """What a miss and a false alarm weigh; a hit weighs 1."""

    name: str
    miss: float
    false: float


PROFILES = (Profile("standard", 1, 0.11), Profile("low FP", 1, 0.22), Profile("low FN", 2, 0.11))


@dataclass(frozen=True)
class Series:
    """One series: its rows, and the first and last row of each window."""

    name: str
    times: Sequence[datetime]
    values: Sequence[float | None]
    windows: Sequence[tuple[int, int]]

    @property
    def category(self) -> str:
        """The folder it is in."""
        return self.name.split("/")[0]


@dataclass(frozen=True)
class Outcome:
    """What one threshold reaches on some series: points above those of no alarm, and the most there could be."""

    threshold: float
    points: float
    most: float

    @property
    def score(self) -> float:
        """On the scale from 0 to 100."""
        return 100 * self.points / self.most if self.most else 0.0


def read(folder: Path) -> list[Series]:
    """The series of a folder that has ``data/`` and ``labels/combined_windows.json``."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text())
    return [_series(folder, name, spans) for name, spans in sorted(labels.items())]


def _series(folder: Path, name: str, spans: Sequence[tuple[str, str]]) -> Series:
    frame = pl.read_csv(folder / "data" / name, schema_overrides={"value": pl.Float64})
    times = frame["timestamp"].str.to_datetime("%Y-%m-%d %H:%M:%S").to_list()
    first = {time: row for row, time in reversed(list(enumerate(times)))}
    windows = [(first[datetime.fromisoformat(start)], first[datetime.fromisoformat(end)]) for start, end in spans]
    return Series(name, times, frame["value"].to_list(), windows)


def _place(position: float) -> float:
    """The worth of an alarm: -1 is the first row of a window, 0 its last, 1 as far behind it again."""
    return -1.0 if position > 3 else 2 / (1 + math.exp(5 * position)) - 1


def _worth(series: Series, row: int) -> tuple[int | None, float]:
    """Which window an alarm is in, and what it is worth there."""
    before: tuple[int, int] | None = None
    for i, (start, end) in enumerate(series.windows):
        if start <= row <= end:
            return i, _place((row - end - 1) / (end - start + 1)) / _place(-1)
        if end < row:
            before = start, end
    return None, -1.0 if before is None else _place((row - before[1]) / (before[1] - before[0]))


def _outcomes(series: Iterable[Series], scores: Iterable[Floats], profile: Profile) -> list[Outcome]:
    """What each threshold reaches, from the highest score down."""
    alarms: list[tuple[float, tuple[int, int] | None, float]] = []
    most = 0.0
    for n, (each, found) in enumerate(zip(series, scores, strict=True)):
        most += (1 + profile.miss) * len(each.windows)
        for row in np.flatnonzero(found > 0):
            if row >= min(math.floor(0.15 * len(found)), 750):
                window, worth = _worth(each, int(row))
                alarms.append((float(found[row]), None if window is None else (n, window), worth))
    alarms.sort(key=lambda alarm: -alarm[0])
    reached: dict[tuple[int, int], float] = {}
    points, outcomes = 0.0, [Outcome(math.inf, 0.0, most)]
    for score, place, worth in alarms:
        if place is None:
            points += profile.false * worth
        elif worth > reached.get(place, -profile.miss):
            points += worth - reached.get(place, -profile.miss)
            reached[place] = worth
        if outcomes[-1].threshold == score:
            outcomes.pop()
        outcomes.append(Outcome(score, points, most))
    return outcomes


def best(series: Iterable[Series], scores: Iterable[Floats], profile: Profile) -> Outcome:
    """What the best threshold reaches."""
    return max(_outcomes(series, scores, profile), key=lambda outcome: outcome.points)


def total(series: Iterable[Series], scores: Iterable[Floats], profile: Profile, threshold: float) -> Outcome:
    """What this threshold reaches."""
    return [outcome for outcome in _outcomes(series, scores, profile) if outcome.threshold >= threshold][-1]
