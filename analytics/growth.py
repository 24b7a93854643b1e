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
    """Growth in a year: 0.2 is a fifth more. ``low`` and ``high`` hold the interval, ``level`` the fitted level at the end."""

    rate: float
    low: float
    high: float
    level: float


def growth(
    values: npt.NDArray[np.float64], seconds: float, *, period: int = 1, confidence: float = 0.9, seed: int = 0
) -> Growth:
    """The growth of a series of positive values, one each so many ``seconds``.

    Each ``period`` of values is averaged first, a week of hours say, so that days and weeks do not look like growth. The line
    through the logarithms is the median of the slopes of all pairs (Theil and Sen); its interval comes from lines through
    resampled blocks of the remainders, which keeps what one period carries over to the next.

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
    means = np.where(np.isfinite(parts), parts, 0.0).sum(1) / np.maximum(known, 1)
    usable = (known >= max(1, period // 2)) & (means > 0)
    if usable.sum() < 4:
        raise DataError(f"growth needs four periods with values above zero, and there are {usable.sum()}; record for longer")
    at = (np.arange(whole) * period + (period - 1) / 2 - (len(values) - 1))[usable] * seconds / _YEAR
    logs = np.log(means[usable])
    slope, level = _line(at, logs)
    rest = logs - level - slope * at
    draw = np.random.default_rng(seed)
    count = len(rest)
    block = max(1, round(count ** (1 / 3)))
    slopes = np.empty(400)
    for each in range(len(slopes)):
        starts = draw.integers(0, count - block + 1, -(-count // block))
        again = np.concatenate([rest[start : start + block] for start in starts])[:count]
        slopes[each] = _line(at, level + slope * at + again)[0]
    # Remainders of a fitted line are a little too small.
    slopes = slope + (slopes - slope) * np.sqrt(count / (count - 2))
    low, high = np.quantile(slopes, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Growth(*(float(np.expm1(np.clip(each, -20.0, 20.0))) for each in (slope, low, high)), level=float(np.exp(level)))


def _line(at: npt.NDArray[np.float64], logs: npt.NDArray[np.float64]) -> tuple[float, float]:
    i, j = np.triu_indices(len(at), 1)
    slope = float(np.median((logs[j] - logs[i]) / (at[j] - at[i])))
    return slope, float(np.median(logs - slope * at))
