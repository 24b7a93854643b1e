"""`Deviation`: how far a value is from the median of the last ones, in units of their usual deviation."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping
from statistics import fmean, median
from typing import Any

from warren.analytics.detectors import Detector, number
from warren.analytics.moments import At
from warren.core.errors import GraphError

__all__ = ["Deviation"]

_WARM = 10
# The median and the mean deviation of a normal distribution, in its standard deviations.
_MEDIAN = 0.6745
_MEAN = 0.7979
_MOST = 1000.0


class Deviation(Detector):
    """Finds numbers far from those just before them: the robust z-score, by the median and the median deviation.

    Outliers among the last ``window`` values move it little, and a new level is usual once it is half of them. The score is
    in standard deviations of a normal distribution, 1,000 at most, and 0 for the first 10 values. Where the last values are
    all the same, any other one scores most. Choose it where the last values alone matter; `Novelty` finds more.

    Missing values leave everything as it is; it does not look at times. Raises `GraphError` where a setting cannot work.

    >>> depth = Deviation(window=60)
    >>> usual = depth.watch_many([5, 6, 4, 5, 7, 5, 4, 6, 5, 5, 6, 4])
    >>> depth.score_one(5) < 1, depth.score_one(40) > depth.threshold
    (True, True)
    """

    def __init__(self, *, window: int = 60, threshold: float = 6.0) -> None:
        if window < _WARM:
            raise GraphError(f"Deviation(window={window}): a median takes {_WARM} values or more")
        if not threshold > 0:
            raise GraphError(f"Deviation(threshold={threshold}): a threshold is above 0")
        self.window = window
        self.threshold = threshold
        self._values: deque[float] = deque(maxlen=window)

    def score_one(self, value: Any, at: At = None) -> float:
        self.check(value, at)
        plain = number(value)
        if plain is None or self.learned < _WARM:
            return 0.0
        middle = median(self._values)
        distance = abs(plain - middle)
        distances = [abs(each - middle) for each in self._values]
        # More than half of them may be the same, and the mean is left.
        usual = median(distances) / _MEDIAN or fmean(distances) / _MEAN
        return min(distance / usual, _MOST) if usual > 0 else _MOST if distance else 0.0

    def learn_one(self, value: Any, at: At = None) -> None:
        self.check(value, at)
        plain = number(value)
        if plain is not None:
            self._values.append(plain)
            self._learned(struct.pack("<d", plain))

    def state(self) -> dict[str, Any]:
        return {"values": list(self._values)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._values = deque(state["values"], maxlen=self.window)
