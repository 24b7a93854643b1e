"""`Curve`: how often an attempt succeeds after which delay, and the delays that cost the least."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, log2, sqrt
from typing import Any

__all__ = ["Curve"]

_MEMORY = 300
_KEEP = 1 - 1 / _MEMORY
_HALF_LIFE = 1800.0
_PRIOR = 2.0
_CURVES = 4
_FREE = 1.1
_EXPLORE = 0.05
_FRESH = 8
_LITTLE = 2.0
_LONGEST = 61
_HEAVY = 1e9
_SURE = 1.96


class Curve:
    """How often attempts of one class of errors succeeded after which delay: first retries, second, third, and later ones.

    Delays lie in buckets, each twice as long as the one before. What was seen fades with every outcome and with time, and is
    held against a curve whose best delay is the usual exponential one; that counts as two outcomes a bucket. Waiting longer
    is taken to be no worse: buckets that say otherwise are pooled.

    A delay costs ``(delay + initial) / success``: the seconds that a success takes, a call counting as much as ``initial``.

    >>> curve = Curve(0.1, 60.0)
    >>> curve.best(1)
    [0]
    >>> for i in range(100):
    ...     for delay in (0.1, 0.2, 0.4, 0.8, 1.6):
    ...         curve.learn(1, delay, delay > 1, i)
    >>> curve.best(1)
    [4]
    """

    def __init__(self, initial: float, maximum: float) -> None:
        self.initial = initial
        self._last = max(0, ceil(log2(maximum / initial)))
        self.maximum = maximum
        self._good = [[0.0] * (self._last + 1) for _ in range(_CURVES)]
        self._all = [[0.0] * (self._last + 1) for _ in range(_CURVES)]
        self._weight = 1.0
        self._spans = [self._span(bucket) for bucket in range(self._last + 1)]
        self._delays = [min(initial * 2.0**bucket, maximum) for bucket in range(self._last + 1)]
        # Looked up anew after each few outcomes.
        self._best: dict[int, list[int]] = {}
        self._fresh = _FRESH
        self.recovered = 0.0
        self.lost = 0.0
        self._hope: float | None = None
        self._at: float | None = None

    def bucket(self, delay: float) -> int:
        """Which bucket a delay lies in."""
        return min(max(floor(log2(max(delay, 1e-9) / self.initial) + 0.5), 0), self._last)

    def _span(self, bucket: int) -> tuple[float, float]:
        """The shortest and the longest delay of a bucket; the first begins at no delay."""
        middle = self.initial * 2.0**bucket
        low = middle / sqrt(2) if bucket else 0.0
        return min(low, self.maximum), min(middle * sqrt(2), self.maximum)

    def learn(self, failed: int, delay: float, ok: bool, now: float) -> None:
        """Take in an outcome."""
        self._fade(now)
        row, bucket = min(failed, _CURVES) - 1, self.bucket(delay)
        self._all[row][bucket] += self._weight
        self._good[row][bucket] += self._weight * ok
        self._fresh -= 1
        if not self._fresh:
            self._fresh = _FRESH
            self._best.clear()

    def judge(self, ok: bool, trust: float) -> None:
        """Take in whether an attempt succeeded, after whatever delay; ``trust`` is how much that says of the class."""
        self.recovered = _KEEP * self.recovered + trust * ok
        self.lost = _KEEP * self.lost + trust * (not ok)
        self._hope = None

    def _fade(self, now: float) -> None:
        past = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now if self._at is None else max(self._at, now)
        # What comes later weighs more, which is as if all before had faded.
        self._weight *= 2.0 ** min(past / _HALF_LIFE, 900) / _KEEP
        if self._weight > _HEAVY:
            for rows in (self._good, self._all):
                for row in rows:
                    row[:] = [each / self._weight for each in row]
            self._weight = 1.0

    def chances(self, failed: int) -> list[float]:
        """The probability of success after a delay of each bucket."""
        failed = min(failed, _LONGEST)
        row = min(failed, _CURVES) - 1
        usual = min(self.initial * 2.0 ** (failed - 1), self.maximum)
        knee = usual**2 / self.initial
        pools: list[tuple[float, float, int]] = []
        for delay, good, all in zip(self._delays, self._good[row], self._all[row], strict=True):
            weight, sum, size = all / self._weight + _PRIOR, good / self._weight + _PRIOR * delay / (delay + knee), 1
            while pools and pools[-1][1] * weight >= sum * pools[-1][0]:
                before = pools.pop()
                weight, sum, size = weight + before[0], sum + before[1], size + before[2]
            pools.append((weight, sum, size))
        return [sum / weight for weight, sum, size in pools for _ in range(size)]

    def best(self, failed: int) -> list[int]:
        """The buckets whose delays cost the least, or hardly more: among them a wait can be spread for nothing."""
        failed = min(failed, _LONGEST)
        if failed in self._best:
            return self._best[failed]
        costs = [(delay + self.initial) / chance for delay, chance in zip(self._delays, self.chances(failed), strict=True)]
        limit = _FREE * min(costs)
        best = self._best[failed] = [bucket for bucket, cost in enumerate(costs) if cost <= limit]
        return best

    def choose(self, failed: int, chance: float) -> tuple[float, float]:
        """One of the best delays, or, once in twenty times, one that is a step shorter or longer; and its probability.

        While little is known, it is anything from no delay to twice the longest that is meant by it.

        ``chance`` is a number from 0 to 1, drawn evenly.
        """
        some = self._best.get(failed) or self.best(failed)
        first, last = some[0], some[-1]
        count, share = len(some), 1.0
        if first or last < self._last:
            share = 1 - _EXPLORE
            if chance >= share:
                some = [each for each in (first - 1, last + 1) if 0 <= each <= self._last]
                count, chance, share = len(some), chance - share, _EXPLORE
        # What is left of the chance says which of them, and which part of that.
        place = chance / share * count
        index = int(place) if place < count else count - 1
        low, high = self._spans[some[index]]
        if self.recovered + self.lost < _LITTLE:
            # Others may have failed at the same time, and know as little.
            low, high = 0.0, min(2 * high, self.maximum)
        return low + min(place - index, 1.0) * (high - low), share / count

    @property
    def hope(self) -> float:
        """The most that the probability of success can be, with 97.5 % confidence (Wilson's bound)."""
        if self._hope is None:
            n = self.recovered + self.lost
            if n < 1e-9:
                return 1.0
            p, z = self.recovered / n, _SURE**2
            self._hope = (p + z / (2 * n) + _SURE * sqrt(p * (1 - p) / n + z / (4 * n * n))) / (1 + z / n)
        return self._hope

    def state(self) -> dict[str, Any]:
        """What `restore` takes over."""
        return {
            "good": [row.copy() for row in self._good],
            "all": [row.copy() for row in self._all],
            "weight": self._weight,
            "best": [[failed, *best] for failed, best in self._best.items()],
            "fresh": self._fresh,
            "recovered": self.recovered,
            "lost": self.lost,
            "at": self._at,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        size = len(self._good[0])
        good, all = ([list(map(float, row)) for row in state[name]] for name in ("good", "all"))
        if [len(row) for row in good + all] != [size] * (2 * _CURVES) or not 0 < state["weight"] <= _HEAVY:
            raise ValueError("it has other buckets")
        self._good, self._all = good, all
        self._weight, self._fresh = float(state["weight"]), min(max(int(state["fresh"]), 1), _FRESH)
        self._best = {failed: [min(max(int(each), 0), size - 1) for each in best] for failed, *best in state["best"]}
        self._hope = None
        self.recovered, self.lost = float(state["recovered"]), float(state["lost"])
        self._at = None if state["at"] is None else float(state["at"])
