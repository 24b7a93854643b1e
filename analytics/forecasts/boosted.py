"""Gradient boosting over all series at once: what a value was a day, days and weeks before, in units of its own series."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from warren.analytics.forecasts.panel import Floats, Panel
from warren.analytics.forecasts.seasonal import lagged
from warren.core.errors import DataError

__all__ = ["Boosted"]

_ROWS = 300_000
_ORIGINS = 14


class Boosted:
    """One model for all series, fitted to the absolute error, so that what it tells is a median.

    Every series is put into its own unit. The model starts from the mean of a day and of a week before, and learns what to add
    from the last two weeks, the level's latest moves, the hour, the weekday, and the holidays. It needs scikit-learn.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._model: Any = None

    def needs(self, panel: Panel, horizon: int) -> int:
        return 2 * panel.week + horizon + panel.day

    def fit(self, panel: Panel, horizon: int) -> None:
        try:
            from sklearn.ensemble import HistGradientBoostingRegressor
        except ImportError as error:
            raise DataError("the forecaster 'boosted' needs scikit-learn: pip install 'warren[ml]'") from error
        inputs, targets = self._rows(panel, horizon)
        self._model = HistGradientBoostingRegressor(
            loss="absolute_error",
            max_iter=250,
            learning_rate=0.07,
            max_leaf_nodes=31,
            min_samples_leaf=min(50, max(5, len(targets) // 200)),
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.seed,
        )
        self._model.fit(inputs, targets - _base(inputs))

    def _rows(self, panel: Panel, horizon: int) -> tuple[Floats, Floats]:
        """What to learn from: forecasts of the past, as they would have been made then, and what came."""
        draw = np.random.default_rng(self.seed)
        step = max(1, min(panel.day, (panel.spans - horizon - 2 * panel.week) // _ORIGINS or 1))
        inputs, targets = [], []
        for each in range(_ORIGINS):
            origin = panel.spans - horizon - each * step
            if origin < 2 * panel.week:
                break
            # A series counts from the time that it has a history of its own.
            known = ~np.isnan(panel.values[:, max(0, origin - 2 * panel.week) : origin - panel.week]).all(1)
            then = panel.until(origin).rows(known)
            level, unit = then.units(origin)
            came = (panel.values[known, origin : origin + horizon] - level[:, None]) / unit[:, None]
            chosen = ~np.isnan(came)
            if chosen.sum() > _ROWS // _ORIGINS:
                chosen &= draw.random(chosen.shape) < _ROWS / _ORIGINS / chosen.sum()
            inputs.append(_inputs(then, horizon)[chosen])
            targets.append(came[chosen])
        if not sum(map(len, targets)):
            raise DataError(
                "no series has two weeks and a horizon of values; use the forecaster 'profile', or record for longer"
            )
        return np.concatenate(inputs), np.concatenate(targets)

    def predict(self, panel: Panel, horizon: int) -> Floats:
        inputs = _inputs(panel, horizon)
        level, unit = panel.units(panel.spans)
        flat = inputs.reshape(-1, inputs.shape[-1])
        told = (self._model.predict(flat) + _base(flat)).reshape(len(level), horizon)
        return np.asarray(told * unit[:, None] + level[:, None], np.float64)


def _base(inputs: Floats) -> Floats:
    """Where the model starts from: the mean of a day before and a week before, of what is known of them."""
    known = ~np.isnan(inputs[:, :2])
    total: Floats = np.where(known, inputs[:, :2], 0.0).sum(1)
    return total / np.maximum(1, known.sum(1))


def _inputs(panel: Panel, horizon: int) -> Floats:
    """What the model sees of each value to come: series by horizon by inputs."""
    origin, day, week = panel.spans, panel.day, panel.week
    level, unit = panel.units(origin)
    past = (panel.values[:, -4 * week :] - level[:, None]) / unit[:, None]
    past = np.hstack([np.full((len(past), max(0, 4 * week - past.shape[1])), np.nan), past])
    days, weeks = lagged(past, horizon, day, 14), lagged(past, horizon, week, 3)
    beside = [lagged(past, horizon + 1, week, 1)[0][:, 1:], lagged(past[:, :-1], horizon, week, 1)[0]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN, which the model takes
        columns = [
            days[0],
            weeks[0],
            *days[1:7],
            *weeks[1:],
            *beside,
            np.nanmean(days[:7], 0),
            np.nanmedian(days, 0),
            np.nanmean(weeks, 0),
            np.nanstd(days[:7], 0),
            days[0] - days[7],
        ]
        daily, weekly = past[:, day:] - past[:, :-day], past[:, week:] - past[:, :-week]
        moves = [change[:, -last:] for last in sorted({1, day // 8 or 1, day // 4 or 1, day}) for change in (daily, weekly)]
        levels = [np.nanmean(each, 1) for each in (*moves, weekly[:, -week:], past[:, -day:])]
        levels += [past[:, -1], past[:, -2], past[:, -3], np.nanstd(past[:, -week:], 1)]
    levels.append(np.log(unit / (np.abs(level) + unit)))
    ahead = np.arange(horizon)
    shared = np.column_stack([ahead, panel.calendar(origin + ahead), *_holidays_before(panel, ahead)])
    each = np.broadcast_to(np.stack(levels, 1)[:, None, :], (len(past), horizon, len(levels)))
    told = np.concatenate(
        [np.stack(columns, -1), each, np.broadcast_to(shared, (len(past), *shared.shape))], -1, dtype=np.float64
    )
    # A column in which nothing is known has no use and no bins.
    told[..., np.isnan(told).all((0, 1))] = 0.0
    return told


def _holidays_before(panel: Panel, ahead: npt.NDArray[np.int64]) -> list[Floats]:
    """Whether the day, and the week, that a value is first compared with was a holiday."""
    return [panel.calendar(panel.spans - period + ahead % period)[:, 2] for period in (panel.day, panel.week)]
