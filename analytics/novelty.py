"""`Novelty`: how far a series is from anything that it has done before."""

from __future__ import annotations

import struct
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from math import log1p
from typing import Any

import numpy as np

from warren.analytics.detectors import Detector, number
from warren.analytics.moments import At, hour_of, zone_of
from warren.core.errors import GraphError

__all__ = ["Novelty"]

_WARM = 50
_SPAN = 3  # hours
_FORGET = 0.5 ** (1 / 3000)
# What is new where nothing ever was is no more than this: one view alone shall not drown the others.
_MOST = log1p(1000)
_ROUNDING = 1e-12


class Novelty(Detector):
    """Finds values, levels and unrest in a series of numbers that it has not shown before.

    It looks at three things: the value, the mean of the last ``window`` values, and how much these moved from one to the
    next. Each has a distance to the nearest that is remembered, once of all hours and once of the same three hours of the
    day, so that what is usual at noon stands out at night. A distance counts by how many times the usual one it is: the
    score is the mean of log(1 + ratio) over these six, and 0 for the first 50 values. Without times there are three.

    - ``window``: how many values make a level
    - ``memory``: how many values are remembered; three numbers each
    - ``threshold``: the score from which a value counts as anomalous
    - ``zone``: the time zone whose clock sets the day, such as ``"Europe/Berlin"``; UTC unless given

    Missing values leave everything as it is; jumps of the clock and gaps change which hours a value is compared with, and
    nothing else. A value takes about 20 µs. Raises `GraphError` where a setting cannot work.

    >>> latency = Novelty()
    >>> usual = latency.watch_many([20 + i % 7 for i in range(500)])
    >>> usual.max() < latency.threshold < latency.score_one(90)
    True
    """

    def __init__(self, *, window: int = 16, memory: int = 5000, threshold: float = 0.9, zone: str | None = None) -> None:
        if window < 2:
            raise GraphError(f"Novelty(window={window}): a level takes 2 values or more")
        if memory < _WARM:
            raise GraphError(f"Novelty(memory={memory}): remember {_WARM} values or more")
        if not threshold > 0:
            raise GraphError(f"Novelty(threshold={threshold}): a threshold is above 0")
        self.window = window
        self.memory = memory
        self.threshold = threshold
        self.zone = zone
        self._zone = zone_of(zone)
        self._clear()

    def _clear(self) -> None:
        self._values: deque[float] = deque(maxlen=self.window)
        self._moves: deque[float] = deque(maxlen=self.window)
        self._past: deque[tuple[float, float, float, int]] = deque()
        # The values before those, whose level and unrest are theirs too.
        self._before: deque[float] = deque(maxlen=self.window + 1)
        # Of each feature all values in order, then those of each part of the day.
        self._seen: list[list[list[float]]] = [[[] for _ in range(1 + 24 // _SPAN)] for _ in range(3)]
        # Of each view the sum of distances and how many that were; both fade.
        self._sums = [0.0] * 6
        self._counts = [0.0] * 6

    def _features(self, value: float) -> tuple[float, float, float]:
        values, moves = self._values, self._moves
        if not values:
            return value, value, 0.0
        move = abs(value - values[-1])
        if len(values) < self.window:
            return value, (sum(values) + value) / (len(values) + 1), (sum(moves) + move) / (len(moves) + 1)
        # The oldest is about to go.
        return value, (sum(values) - values[0] + value) / self.window, (sum(moves) - moves[0] + move) / self.window

    def _part(self, at: At) -> int:
        """Which part of the day it is, from 1; 0 where nobody knows."""
        hour = hour_of(at, self._zone)
        return 0 if hour is None else 1 + hour // _SPAN

    def _distances(self, features: tuple[float, float, float], part: int) -> list[float | None]:
        """To the nearest of all, and of this part of the day; ``None`` where there is none."""
        found: list[float | None] = []
        for seen, value in zip(self._seen, features, strict=True):
            for i in (0, part) if part else (0,):
                known = seen[i]
                if not known:
                    found.append(None)
                    continue
                place = bisect_left(known, value)
                if place == len(known):
                    distance = value - known[-1]
                else:
                    distance = known[place] - value
                    if place and value - known[place - 1] < distance:
                        distance = value - known[place - 1]
                found.append(distance if distance > _ROUNDING * abs(value) else 0.0)
            if not part:
                found.append(None)
        return found

    def _score(self, distances: list[float | None], part: int) -> float:
        if self.learned < _WARM:
            return 0.0
        total = 0.0
        for distance, sum, count in zip(distances, self._sums, self._counts, strict=True):
            if distance:
                # A usual distance of 0 makes any other infinitely far.
                total += min(log1p(distance * count / sum), _MOST) if sum > 0 else _MOST
        return total / (6 if part else 3)

    def score_one(self, value: Any, at: At = None) -> float:
        plain = number(value)
        part = self._part(at)
        return 0.0 if plain is None else self._score(self._distances(self._features(plain), part), part)

    def learn_one(self, value: Any, at: At = None) -> None:
        self.watch_one(value, at)

    def watch_one(self, value: Any, at: At = None) -> float:
        plain = number(value)
        part = self._part(at)
        if plain is None:
            return 0.0
        features = self._features(plain)
        distances = self._distances(features, part)
        score = self._score(distances, part)
        sums, counts = self._sums, self._counts
        for i, distance in enumerate(distances):
            if distance is not None:
                sums[i] = sums[i] * _FORGET + distance
                counts[i] = counts[i] * _FORGET + 1
        self._follow(plain)
        self._remember(features, part)
        self._learned(struct.pack("<db", plain, part))
        return score

    def _follow(self, value: float) -> None:
        """Take a value into the level and the unrest of the next ones."""
        if self._values:
            self._moves.append(abs(value - self._values[-1]))
        self._values.append(value)

    def _remember(self, features: tuple[float, float, float], part: int) -> None:
        past = self._past
        past.append((*features, part))
        for seen, value in zip(self._seen, features, strict=True):
            insort(seen[0], value)
            if part:
                insort(seen[part], value)
        if len(past) > self.memory:
            *oldest, part = past.popleft()
            self._before.append(oldest[0])
            for seen, value in zip(self._seen, oldest, strict=True):
                known = seen[0]
                del known[bisect_left(known, value)]
                if part:
                    known = seen[part]
                    del known[bisect_left(known, value)]

    def state(self) -> dict[str, Any]:
        # The features follow from the values, so these alone are kept; the first ones for what follows from them.
        values = [*self._before, *(value for value, _, _, _ in self._past)]
        return {
            "values": np.array(values, "<f8").tobytes(),
            "parts": np.array([part for _, _, _, part in self._past], "i1").tobytes(),
            "sums": self._sums.copy(),
            "counts": self._counts.copy(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._clear()
        values = np.frombuffer(state["values"], "<f8").tolist()
        parts = np.frombuffer(state["parts"], "i1").tolist()
        first = len(values) - len(parts)
        for i, value in enumerate(values):
            features = self._features(value)
            self._follow(value)
            if i < first:
                self._before.append(value)
                continue
            part = parts[i - first]
            self._past.append((*features, part))
            for seen, feature in zip(self._seen, features, strict=True):
                seen[0].append(feature)
                if part:
                    seen[part].append(feature)
        for seen in self._seen:
            for known in seen:
                known.sort()
        self._sums, self._counts = list(state["sums"]), list(state["counts"])
