"""A forecaster for series that grow: the growth is taken out before it learns, and put back into what it tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from warren.analytics.forecasts.contract import Forecaster
from warren.analytics.forecasts.panels import Floats, Panel
from warren.analytics.growth import growth
from warren.core.errors import DataError

__all__ = ["YEAR", "Growing"]

YEAR = 365.25 * 86_400e6
"""A year in microseconds."""


class Growing:
    """Fits the growth of each series, as far as it was known at each time, around another forecaster."""

    def __init__(self, inner: Forecaster) -> None:
        self.inner = inner

    def needs(self, panel: Panel, horizon: int) -> int:
        return max(self.inner.needs(panel, horizon), 4 * panel.week)

    def fit(self, panel: Panel, horizon: int) -> None:
        self.inner.fit(_without(panel, _rates(panel)), horizon)

    def predict(self, panel: Panel, horizon: int) -> Floats:
        rates = _rates(panel)
        ahead = np.arange(1, horizon + 1) * panel.every / YEAR
        return self.inner.predict(_without(panel, rates), horizon) * (1 + rates[:, None]) ** ahead


def _rates(panel: Panel) -> Floats:
    told = np.zeros(len(panel.values))
    for row, values in enumerate(panel.values):
        try:
            fitted = growth(values, panel.every / 1e6, period=panel.week)
        except DataError:
            continue
        # Growth that the weeks do not tell from none is none.
        told[row] = fitted.rate if fitted.low > 0 or fitted.high < 0 else 0.0
    return told


def _without(panel: Panel, rates: Floats) -> Panel:
    back = (np.arange(panel.spans) - panel.spans + 1) * panel.every / YEAR
    return replace(panel, values=panel.values / (1 + rates[:, None]) ** back)
