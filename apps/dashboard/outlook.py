"""What is unusual in the last minutes of a pipeline, and what is to be expected in the next one."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from warren.analytics.alarms import Alarms
from warren.analytics.novelty import Novelty

__all__ = ["Unusual", "expected"]

FIELDS = ("rate", "p95", "in_flight", "depth")
_QUIET = 30
_KEPT = 50
_USUAL = 300
_LEAST, _PAST = 120, 420
"""Points before anything is expected, and how many of the last ones tell what is."""
_LEVEL, _STEP, _STEPS = 10, 5, 12


class Unusual:
    """Watches the figures of a pipeline, a point each second, for what they have not shown before.

    >>> unusual = Unusual()
    >>> for second in range(400):
    ...     unusual.take({"at": second, "rate": 100.0 + second % 7, "p95": None}, [])
    >>> unusual.take({"at": 400, "rate": 900.0, "p95": None}, [])
    >>> [(alarm["field"], alarm["value"]) for alarm in unusual.alarms]
    [('rate', 900.0)]
    """

    def __init__(self) -> None:
        self.alarms: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._detectors = {field: Novelty() for field in FIELDS}
        self._bars = {field: Alarms(detector.threshold, quiet=_QUIET) for field, detector in self._detectors.items()}

    def take(self, point: Mapping[str, Any], past: Sequence[Mapping[str, Any]]) -> None:
        """One more point; ``past`` are those before it, which say what was usual."""
        for field, detector in self._detectors.items():
            value = point.get(field)
            if self._bars[field].step(detector.watch_one(value)):
                before = [each[field] for each in islice(reversed(past), _USUAL) if each.get(field) is not None]
                low, high = np.quantile(before, (0.05, 0.95)).tolist() if before else (None, None)
                self.alarms.append({"field": field, "at": point["at"], "value": value, "low": low, "high": high})


def expected(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The next minute of each figure, in steps of five seconds: the middle, and between what nine of ten should be.

    It is what the figure did over the same time before, again and again in the last minutes, from the level that it has now;
    no days and weeks, as `warren.analytics.forecasts` knows them, are in ten minutes. Empty until two minutes are known.
    """
    found = {}
    for field in FIELDS:
        known = np.array([np.nan if each.get(field) is None else each[field] for each in points], np.float64)
        if np.isfinite(known).sum() >= _LEAST and np.isfinite(known[-_LEVEL:]).any():
            most = points[-1].get("credit") or np.inf if field == "in_flight" else np.inf
            low, middle, high = _ahead(known[-_PAST:], most)
            start = points[-1]["at"]
            found[field] = {"from": start, "every": _STEP, "values": middle, "low": low, "high": high}
    return found


def _ahead(values: npt.NDArray[np.float64], most: float) -> list[list[float]]:
    windows = np.lib.stride_tricks.sliding_window_view(values, _LEVEL)
    with np.errstate(invalid="ignore"):
        levels = np.median(windows, 1)
    now = float(np.nanmedian(values[-_LEVEL:]))
    rows = []
    for step in range(1, _STEPS + 1):
        ahead = step * _STEP
        # What came so long after each level, beside that level.
        came = values[_LEVEL - 1 + ahead :]
        changes = came - levels[: len(came)]
        changes = changes[np.isfinite(changes)]
        moved = np.quantile(changes, (0.05, 0.5, 0.95)) if len(changes) else np.zeros(3)
        rows.append(np.clip(now + moved, 0.0, most))
    return [column.tolist() for column in np.stack(rows).T]
