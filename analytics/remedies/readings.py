"""What metrics say at a look: gauges as they are, counters and histograms by what came since the last look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import inf, isfinite
from typing import Any, Protocol

__all__ = ["Collector", "Readings"]

Labels = tuple[tuple[str, str], ...]


class Collector(Protocol):
    """What metrics can be asked of: `Metrics`, or a registry of prometheus-client."""

    def collect(self) -> Iterable[Any]:
        """Its metrics, each with samples."""
        ...


class Readings:
    """The samples of this look and of the one before.

    >>> from prometheus_client import CollectorRegistry, Counter
    >>> registry = CollectorRegistry()
    >>> sold = Counter("sold", "Things sold.", ["shop"], registry=registry)
    >>> readings = Readings(registry)
    >>> readings.look(0.0)
    >>> sold.labels("eu").inc(30)
    >>> readings.look(10.0)
    >>> readings.each("sold", {})
    {'shop=eu': 3.0}
    """

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._at, self._seconds = -inf, 0.0
        self._kinds: dict[str, str] = {}
        self._now: dict[str, dict[Labels, float]] | None = None
        self._before: dict[str, dict[Labels, float]] | None = None

    def look(self, at: float) -> None:
        """Read all of them, at a time in seconds."""
        now: dict[str, dict[Labels, float]] = defaultdict(dict)
        for family in self._collector.collect():
            self._kinds[family.name] = family.type
            for sample in family.samples:
                now[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
        # A clock may be turned back; before the first look nothing is known.
        self._seconds = max(at - self._at, 1e-6)
        self._before, self._now, self._at = self._now, now, at

    def each(self, name: str, labels: Mapping[str, str], quantile: float | None = None) -> dict[str, float]:
        """What a metric says, for each of those that have these labels, by their labels in words.

        Of a counter, how much came in a second; of a histogram, the ``quantile`` of what came, or the mean. What is not
        known yet, or is no number, is left out.
        """
        family = name.removesuffix("_total")
        kind = self._kinds.get(family, self._kinds.get(name, ""))
        if kind == "counter":
            found = {key: count / self._seconds for key, count in self._came(f"{family}_total").items()}
        elif kind == "histogram":
            found = self._means(family) if quantile is None else self._quantiles(family, quantile)
        else:
            found = (self._now or {}).get(name, {})
        wanted = labels.items()
        return {_words(key): value for key, value in found.items() if isfinite(value) and wanted <= dict(key).items()}

    def _came(self, name: str) -> dict[Labels, float]:
        """By how much a counter has grown; one that fell began anew."""
        if self._before is None or self._now is None:
            return {}
        before = self._before.get(name, {})
        grown = {key: (value, value - before.get(key, 0.0)) for key, value in self._now.get(name, {}).items()}
        return {key: more if more >= 0 else value for key, (value, more) in grown.items()}

    def _means(self, name: str) -> dict[Labels, float]:
        sums = self._came(f"{name}_sum")
        return {key: sums.get(key, 0.0) / count for key, count in self._came(f"{name}_count").items() if count > 0}

    def _quantiles(self, name: str, quantile: float) -> dict[Labels, float]:
        buckets: dict[Labels, list[tuple[float, float]]] = defaultdict(list)
        for key, count in self._came(f"{name}_bucket").items():
            bounds = [float(value) for label, value in key if label == "le"]
            buckets[tuple(each for each in key if each[0] != "le")] += [(bound, count) for bound in bounds]
        return {key: _quantile(sorted(steps), quantile) for key, steps in buckets.items() if max(steps)[1] > 0}


def _quantile(steps: list[tuple[float, float]], quantile: float) -> float:
    """By straight lines within buckets; beyond the last bound, that bound."""
    rank = quantile * steps[-1][1]
    low, below = 0.0, 0.0
    for bound, count in steps:
        if count >= rank and count > below:
            return low if bound == inf else low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low


def _words(key: Labels) -> str:
    return ", ".join(f"{label}={value}" for label, value in key)
