"""How throughput grows with workers, and where it stops: the Universal Scalability Law (N. J. Gunther, 1993)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import polars as pl

from warren.analytics.flows import Flows
from warren.core.clock import Duration, seconds
from warren.core.errors import DataError

__all__ = ["Scaling", "concurrency", "fit_scaling"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scaling:
    """Throughput of N workers: ``single × N / (1 + contention (N - 1) + coherence N (N - 1))``.

    ``single`` is what one worker does by itself, ``contention`` the share of the work that only one can do at a time, and
    ``coherence`` what each pair of workers costs in agreeing. ``error`` is the typical relative error of the points.

    >>> law = Scaling(single=100.0, contention=0.05, coherence=0.001, error=0.0)
    >>> round(law.throughput(8), 1), law.peak
    (569.0, 31)
    """

    single: float
    contention: float
    coherence: float
    error: float

    def throughput(self, workers: float) -> float:
        """Messages a second with so many workers."""
        n = float(workers)
        return self.single * n / (1 + self.contention * (n - 1) + self.coherence * n * (n - 1))

    @property
    def peak(self) -> int | None:
        """The number of workers with the most throughput; None where more always help."""
        if self.coherence <= 0:
            return None if self.contention < 1 else 1
        best = math.sqrt(max(0.0, 1 - self.contention) / self.coherence)
        return max(1, max(math.floor(best), math.ceil(best), key=self.throughput))

    def workers_for(self, rate: float) -> int:
        """The fewest workers that reach a rate. Raises `DataError` where no number of them does."""
        most = self.peak
        limit = self.throughput(most) if most else (self.single / self.contention if self.contention else math.inf)
        if rate > limit or (most is None and rate == limit):
            at = f"{most} workers" if most else "ever more workers"
            raise DataError(f"{rate:g} messages a second are more than {at} reach, {limit:g}; make the work itself cheaper")
        low, high = 1, most or 1
        while self.throughput(high) < rate:
            high *= 2
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.throughput(middle) >= rate else (middle + 1, high)
        return low


def fit_scaling(workers: Sequence[float] | Floats, throughput: Sequence[float] | Floats) -> Scaling:
    """Fit the law to points; none of its three numbers is negative, and a few points that lie far off hardly count.

    Workers over throughput is linear in the three, so for each choice of those that are zero the rest is a least-squares
    line in relative errors; points are then weighted down by how far off they are (Tukey's biweight), until nothing changes.

    Raises `DataError` where fewer than three different numbers of workers are given, or a point is not positive.

    >>> law = fit_scaling([1, 2, 4, 8, 16], [100, 190, 345, 570, 790])
    >>> round(law.contention, 2), law.peak
    (0.05, 27)
    """
    n, x = np.asarray(workers, np.float64), np.asarray(throughput, np.float64)
    if n.ndim != 1 or n.shape != x.shape:
        raise DataError(
            f"{n.shape} numbers of workers do not pair with {x.shape} throughputs; give as many of each, in a row"
        )
    known = np.isfinite(n) & np.isfinite(x)
    n, x = n[known], x[known]
    if (n <= 0).any() or (x <= 0).any():
        raise DataError("each point needs workers and throughput above zero; leave idle spans out")
    if len(np.unique(n)) < 3:
        raise DataError(
            f"{len(np.unique(n))} different number(s) of workers cannot tell the law; measure with three at least"
        )
    inverse = n / x
    terms = np.column_stack([np.ones_like(n), n - 1, n * (n - 1)]) / inverse[:, None]
    weights = np.ones_like(n)
    numbers = _least(terms, weights)
    for _ in range(50):
        away = terms @ numbers - 1
        middle = float(np.median(np.abs(away)))
        wide = max(6.0 * middle, 1e-9)
        weights = np.clip(1 - (away / wide) ** 2, 0.0, None) ** 2
        again = _least(terms, weights)
        if np.allclose(again, numbers, rtol=1e-10, atol=0):
            break
        numbers = again
    base = numbers[0]
    error = 1.4826 * float(np.median(np.abs(terms @ numbers - 1)))
    return Scaling(float(1 / base), float(numbers[1] / base), float(numbers[2] / base), error)


def _least(terms: Floats, weights: Floats) -> Floats:
    """Non-negative least squares of ``terms @ numbers = 1``: tries every set of zeros; the first number is never zero."""
    best, least = None, math.inf
    root = np.sqrt(weights)
    for used in product((True, False), repeat=2):
        chosen = np.array([True, *used])
        found = np.zeros(3)
        found[chosen] = np.linalg.lstsq(terms[:, chosen] * root[:, None], root, rcond=None)[0]
        if found[0] <= 0 or (found < 0).any():
            continue
        rest = float((weights * (terms @ found - 1) ** 2).sum())
        if rest < least * (1 - 1e-12):
            best, least = found, rest
    assert best is not None  # the mean alone, with both others zero, is positive
    return best


def concurrency(flows: Flows, every: Duration = "1m") -> pl.DataFrame:
    """Points for `fit_scaling` from flows: ``pipeline``, ``at``, ``workers`` and ``throughput`` of each span.

    By Little's law, the time that messages spent in the pipeline over the span is how many were in it on average: those are
    the workers, each a message in hand. Spans without messages have no row. Raises `DataError` where a span is no length.
    """
    length = round(seconds(every) * 1e6)
    if length < 1:
        raise DataError(f"every={every!r}: a span must last at least a microsecond")
    spent = (pl.col("settled") - pl.col("received")).dt.total_microseconds()
    return (
        flows.trips.with_columns(pl.col("pipeline").cast(pl.String))
        .group_by("pipeline", pl.col("settled").dt.truncate(f"{length}us").alias("at"))
        .agg(workers=spent.sum() / length, throughput=pl.len() * 1e6 / length)
        .filter(pl.col("workers") > 0)
        .sort("pipeline", "at")
        .collect()
    )
