"""How fast a series grows, told by lines through its weeks that a few odd weeks do not bend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from warren.core.errors import DataError

__all__ = ["Growth", "growth"]

_YEAR = 365.25 * 86_400


@dataclass(frozen=True)
class Growth:
    """Growth in a year: 0.2 is a fifth more. ``low`` to ``high`` is the interval, ``level`` the fitted level at the end."""

    rate: float
    low: float
    high: float
    level: float
    confidence: float
    draws: npt.NDArray[np.float64]
    """Slopes and levels at the end, both of the logarithm, that the resampled remainders gave."""

    def reaches(self, level: float) -> tuple[float, float, float]:
        """Seconds from the last value to this level: the middle, and the interval; infinite where it never comes."""
        slopes, ends = self.draws
        gap = np.log(level) - ends
        with np.errstate(divide="ignore", invalid="ignore"):
            years = np.where(gap <= 0, 0.0, np.where(slopes > 0, gap / slopes, np.inf))
        side = (1 - self.confidence) / 2
        low, middle, high = (float(np.quantile(years, each, method="lower") * _YEAR) for each in (side, 0.5, 1 - side))
        return middle, low, high


def growth(
    values: npt.NDArray[np.float64],
    seconds: float,
    *,
    period: int = 1,
    quantile: float | None = None,
    confidence: float = 0.9,
    seed: int = 0,
) -> Growth:
    """The growth of a series of positive values, one each so many ``seconds``.

    Each ``period`` of values counts as one first, a week of hours say, so that days and weeks do not look like growth: its
    mean, or a ``quantile`` of it, such as 0.95 for how its busy hours grow. The line through the logarithms is the median of
    the slopes of all pairs (Theil and Sen); its interval comes from lines through resampled blocks of the remainders, which
    keeps what one period carries over to the next.

    Raises `DataError` where fewer than four periods are known.

    >>> weeks = 100 * 1.01 ** np.arange(20)
    >>> round(growth(weeks, 7 * 86400).rate, 2)
    0.68
    """
    whole = len(values) // period
    if period < 1 or whole < 1:
        raise DataError(f"{len(values)} value(s) hold no whole period of {period}; record for longer")
    parts = np.asarray(values, np.float64)[len(values) - whole * period :].reshape(whole, period)
    known = np.isfinite(parts).sum(1)
    enough = known >= max(1, period // 2)
    means = np.zeros(whole)
    for each in map(int, np.flatnonzero(enough)):
        part = parts[each][np.isfinite(parts[each])]
        means[each] = part.mean() if quantile is None else np.quantile(part, quantile)
    usable = enough & (means > 0)
    if usable.sum() < 4:
        raise DataError(f"growth needs four periods with values above zero, and there are {usable.sum()}; record for longer")
    at = np.asarray((np.arange(whole) * period + (period - 1) / 2 - (len(values) - 1))[usable] * seconds / _YEAR, np.float64)
    logs = np.log(means[usable])
    slope, level = _line(at, logs)
    rest = logs - level - slope * at
    draw = np.random.default_rng(seed)
    count = len(rest)
    block = max(1, round(count ** (1 / 3)))
    draws = np.empty((2, 400))
    # Remainders of a fitted line are too small, and blocks of few of them too much alike: measured, so that nine intervals
    # in ten hold what they are said to hold.
    rest *= 1.15 * float(np.sqrt(count / (count - 2))) * (1 + 3 / (count - 2))
    for each in range(draws.shape[1]):
        starts = draw.integers(0, count - block + 1, -(-count // block))
        again = np.concatenate([rest[start : start + block] for start in starts])[:count]
        draws[:, each] = _line(at, level + slope * at + again)
    low, high = np.quantile(draws[0], [(1 - confidence) / 2, (1 + confidence) / 2])
    rate, least, most = (float(np.expm1(np.clip(each, -20.0, 20.0))) for each in (slope, low, high))
    return Growth(rate, least, most, float(np.exp(level)), confidence, draws)


def _line(at: npt.NDArray[np.float64], logs: npt.NDArray[np.float64]) -> tuple[float, float]:
    i, j = np.triu_indices(len(at), 1)
    slope = float(np.median((logs[j] - logs[i]) / (at[j] - at[i])))
    return slope, float(np.median(logs - slope * at))
