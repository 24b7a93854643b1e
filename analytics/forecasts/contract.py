"""What a forecaster is, where they are found, and the check that each of them must pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, cast

import numpy as np
import polars as pl

from warren.analytics.forecasts.panels import Floats, Panel
from warren.core import plugins
from warren.core.errors import DataError, PluginError

__all__ = ["Forecaster", "Make", "check", "find", "names"]


class Forecaster(Protocol):
    """Learns from many series at once and says what comes next, each series' median.

    It is made anew for each fit, may be pickled once it is fitted, and draws from a generator with a fixed seed if it draws.
    """

    def needs(self, panel: Panel, horizon: int) -> int:
        """How many spans there must be before the first one that is forecast."""
        ...

    def fit(self, panel: Panel, horizon: int) -> None:
        """Learn from everything the panel holds."""
        ...

    def predict(self, panel: Panel, horizon: int) -> Floats:
        """The spans that follow the panel's last one: series by horizon, all finite."""
        ...


Make: TypeAlias = Callable[[], Forecaster]


def _seasonal_naive() -> Forecaster:
    from warren.analytics.forecasts.seasonal import SeasonalNaive

    return SeasonalNaive()


def _profile() -> Forecaster:
    from warren.analytics.forecasts.seasonal import Profile

    return Profile()


def _boosted() -> Forecaster:
    from warren.analytics.forecasts.boosted import Boosted

    return Boosted()


_OWN: dict[str, Make] = {"boosted": _boosted, "profile": _profile, "seasonal_naive": _seasonal_naive}


def names() -> list[str]:
    """The forecasters there are: warren's own, and those of the entry point group ``warren.forecasters``."""
    return sorted({*_OWN, *plugins.names("forecaster")})


def find(name: str) -> Make:
    """What makes a forecaster of that name. Raises `PluginError` where there is none."""
    if name in _OWN:
        return _OWN[name]
    found = plugins.find("forecaster", name)
    if found is None:
        raise PluginError(f"there is no forecaster {name!r}; known are {', '.join(names())}")
    return cast(Make, found)


def _example(series: int = 4, weeks: int = 4, seed: int = 1) -> Panel:
    """Made-up hourly series with days, weeks and noise; one has gaps and one is constant."""
    draw = np.random.default_rng(seed)
    hours = np.arange(weeks * 168)
    shape = 10 + 4 * np.sin(hours * 2 * np.pi / 24) - 3 * (hours // 24 % 7 >= 5)
    values = shape * draw.uniform(1, 5, (series, 1)) + draw.normal(0, 0.5, (series, len(hours)))
    values[0, draw.random(len(hours)) < 0.1] = np.nan
    values[-1] = 7.0
    return Panel(pl.DataFrame({"series": [str(row) for row in range(series)]}), values, 0, 3_600_000_000)


def check(make: Make, horizon: int = 12) -> None:
    """Raise `DataError` with the first promise of the contract that a forecaster breaks.

    >>> check(find("profile"))
    """
    panel = _example()
    kept = panel.values.copy()
    origin = panel.spans - horizon
    past = panel.until(origin)
    if not 0 < make().needs(panel, horizon) <= panel.spans:
        raise DataError("the forecaster needs more than four weeks of hours before it forecasts half a day")
    first, second = make(), make()
    first.fit(past, horizon)
    second.fit(past, horizon)
    told = first.predict(past, horizon)
    if told.shape != (len(panel.values), horizon):
        raise DataError(f"the forecast of {len(panel.values)} series for {horizon} spans has the shape {told.shape}")
    if not np.isfinite(told).all():
        raise DataError("the forecast holds NaN or infinity; a series with gaps or without change must be forecast too")
    if not np.array_equal(told, second.predict(past, horizon)):
        raise DataError("two fits to the same panel differ; fix the seed")
    if not np.allclose(told[-1], 7.0, rtol=0.01):
        raise DataError(f"a series that always was 7 is forecast to be {told[-1][0]:g}")
    if not np.array_equal(kept, panel.values, equal_nan=True):
        raise DataError("the forecaster has changed the panel that it was given")
    error = np.nanmean(np.abs(told - panel.values[:, origin:]))
    if error > np.nanmean(np.abs(panel.values[:, origin:] - np.nanmean(past.values, 1, keepdims=True))):
        raise DataError("the forecast of plain days and weeks is worse than their mean")
