"""Forecasts from the days and weeks before: quick, and nothing to install."""

from __future__ import annotations

import numpy as np

from warren.analytics.forecasts.panels import Floats, Panel

__all__ = ["Profile", "SeasonalNaive", "lagged"]


def lagged(values: Floats, horizon: int, period: int, times: int) -> Floats:
    """The values at the same phase of the ``times`` last whole periods, the latest first: times by series by horizon."""
    ahead = np.arange(horizon) % period
    spans = values.shape[1]
    padded = np.hstack([np.full((len(values), max(0, period * times - spans)), np.nan), values])
    return np.stack([padded[:, padded.shape[1] - period * each + ahead] for each in range(1, times + 1)])


class SeasonalNaive:
    """Tomorrow is as today: the last known value at the same time of the day."""

    def needs(self, panel: Panel, horizon: int) -> int:
        return 2 * panel.day

    def fit(self, panel: Panel, horizon: int) -> None:
        """Nothing to learn."""

    def predict(self, panel: Panel, horizon: int) -> Floats:
        days = lagged(panel.values, horizon, panel.day, max(2, min(14, panel.spans // panel.day)))
        told = np.broadcast_to(panel.units(panel.spans)[0][:, None], days.shape[1:]).copy()
        for day in days[::-1]:
            told = np.where(np.isnan(day), told, day)
        return told


class Profile:
    """The mean of the last four weeks at the same time of the week, moved to the level of the last day.

    A week that lies further back counts less. Holidays are days like others to it.
    """

    def needs(self, panel: Panel, horizon: int) -> int:
        return 2 * panel.week

    def fit(self, panel: Panel, horizon: int) -> None:
        """Nothing to learn that the panel does not hold."""

    def predict(self, panel: Panel, horizon: int) -> Floats:
        weeks = lagged(panel.values, horizon, panel.week, 4)
        told = _weighted(weeks, panel.units(panel.spans)[0])
        # How far the last day was from its own profile.
        day = panel.until(panel.spans - panel.day)
        was = _weighted(lagged(day.values, panel.day, panel.week, 4), day.units(day.spans)[0])
        away = panel.values[:, -panel.day :] - was
        known = ~np.isnan(away)
        shift = np.where(known, away, 0.0).sum(1) / np.maximum(1, known.sum(1))
        moved: Floats = told + 0.5 * shift[:, None]
        return moved


def _weighted(weeks: Floats, level: Floats) -> Floats:
    weights = 0.6 ** np.arange(len(weeks))[:, None, None] * ~np.isnan(weeks)
    total = weights.sum(0)
    sums = (np.nan_to_num(weeks) * weights).sum(0)
    return np.where(total > 0, sums / np.maximum(total, 1e-9), level[:, None])
