"""Gradient boosting over all series at once: what a value was a day, days and weeks before, in units of its own series."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from warren.analytics.forecasts.panels import Floats, Panel
from warren.analytics.forecasts.seasonal import lagged
from warren.core.errors import DataError

__all__ = ["Boosted"]

_ROWS = 150_000
_ORIGINS = 14


class Boosted:
    """One model for all series, fitted to the absolute error, so that what it tells is a median.

    Every series is put into its own unit. The model starts from the mean of a day and of a week before, for a holiday from
    that of earlier ones, and learns what to add from the last two weeks, the latest moves of the level, the hour, the
    weekday and the holidays. It needs scikit-learn.
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
        # A column in which nothing is known has no bins.
        inputs[:, np.isnan(inputs).all(0)] = 0.0
        make: Any = HistGradientBoostingRegressor
        self._model = make(
            loss="absolute_error",
            max_iter=int(np.clip(len(targets) // 100, 100, 250)),
            learning_rate=0.07,
            max_leaf_nodes=31,
            min_samples_leaf=min(50, max(5, len(targets) // 200)),
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.seed,
        )
        with _one_thread():
            self._model.fit(inputs, targets - inputs[:, 0])

    def _rows(self, panel: Panel, horizon: int) -> tuple[Floats, Floats]:
        """What to learn from: forecasts of the past, as they would have been made then, and what came."""
        draw = np.random.default_rng(self.seed)
        room = panel.spans - horizon - 2 * panel.week
        step = max(1, min(panel.day, room // _ORIGINS))
        # Few series leave room to look further back, which holidays need.
        times = max(_ORIGINS, min(room // step, _ROWS // (len(panel.values) * horizon)))
        inputs, targets = [], []
        for each in range(times):
            origin = panel.spans - horizon - each * step
            if origin < 2 * panel.week:
                break
            # A series counts from the time that it has a history of its own.
            known = ~np.all(np.isnan(panel.values[:, max(0, origin - 2 * panel.week) : origin - panel.week]), axis=1)
            then = panel.until(origin).rows(known)
            level, unit = then.units(origin)
            came = (panel.values[known, origin : origin + horizon] - level[:, None]) / unit[:, None]
            chosen = ~np.isnan(came)
            if chosen.sum() > _ROWS // times:
                chosen &= draw.random(chosen.shape) < _ROWS / times / chosen.sum()
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
        with _one_thread():
            told = (self._model.predict(flat) + flat[:, 0]).reshape(len(level), horizon)
        return np.asarray(told * unit[:, None] + level[:, None], np.float64)


def _one_thread() -> AbstractContextManager[object]:
    """Have OpenMP use one thread: several, on cores that have other work, wait for each other most of the time."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "openmp")  # type: ignore[no-any-return]  # it has no types


def _inputs(panel: Panel, horizon: int) -> Floats:
    """What the model sees of each value to come, series by horizon by inputs; the first is where it starts from.

    Values of holidays are not compared with those of other days.
    """
    origin, day, week = panel.spans, panel.day, panel.week
    level, unit = panel.units(origin)
    ahead = np.arange(horizon)
    calendar = panel.calendar(origin + ahead)
    scaled, holiday = _without_holidays(panel, (panel.values - level[:, None]) / unit[:, None], calendar)
    past = scaled[:, -4 * week :]
    past = np.hstack([np.full((len(past), max(0, 4 * week - past.shape[1])), np.nan), past])
    days, weeks = lagged(past, horizon, day, 14), lagged(past, horizon, week, 3)
    beside = [lagged(past, horizon + 1, week, 1)[0][:, 1:], lagged(past[:, :-1], horizon, week, 1)[0]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN, which the model takes
        usual = np.nanmean(np.stack([days[0], weeks[0]]), 0)
        columns = [
            np.nan_to_num(np.where(np.isnan(holiday), usual, holiday)),
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
    shared = np.column_stack([ahead, calendar])
    each = np.broadcast_to(np.stack(levels, 1)[:, None, :], (len(past), horizon, len(levels)))
    parts = [np.stack(columns, -1), each, np.broadcast_to(shared, (len(past), *shared.shape))]
    return np.concatenate(parts, -1, dtype=np.float64)


def _without_holidays(panel: Panel, values: Floats, calendar: Floats) -> tuple[Floats, Floats]:
    """The values with those of holidays unknown, and for holidays to come the mean of earlier ones at the same hour."""
    told = np.full((len(values), len(calendar)), np.nan)
    if not panel.holidays:
        return values, told
    before = panel.calendar(np.arange(panel.spans))
    free = before[:, 2] > 0
    for hour in np.unique(calendar[calendar[:, 2] > 0, 0]):
        earlier = values[:, free & (before[:, 0] == hour)]
        known = ~np.isnan(earlier)
        mean = np.where(known, earlier, 0.0).sum(1) / np.maximum(1, known.sum(1))
        told[:, (calendar[:, 2] > 0) & (calendar[:, 0] == hour)] = np.where(known.any(1), mean, np.nan)[:, None]
    return np.where(free, np.nan, values), told
