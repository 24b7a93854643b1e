"""What will arrive: forecasts as far as the recording can test them, and beyond that by growth alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl

from warren.analytics.forecasts import Forecast, forecast
from warren.analytics.growth import growth
from warren.analytics.report.contents import Demand
from warren.core.errors import DataError

__all__ = ["Ahead", "demand"]

_DAY, _WEEK = 24, 168
_YEAR = 365.25 * 86_400


@dataclass(frozen=True)
class Ahead:
    """The hours to come, and the demand by horizon."""

    told: Forecast
    demand: list[Demand]
    tested: int
    """How many hours the recording can test a forecast for."""

    @property
    def at(self) -> list[datetime]:
        """When each hour begins."""
        return self.told.table["at"].to_list()

    def rates(self, column: str) -> list[float]:
        """The rates of the hours at ``"p50"`` or ``"p95"``."""
        return [max(0.0, each) for each in self.told.table[column]]


def demand(rates: pl.DataFrame, horizon: float, zone: str) -> Ahead:
    """Forecast hourly ``rate``s for so many seconds. Raises `DataError` where the recording is too short for any."""
    hours = max(1, round(horizon / 3600))
    span = int((rates["at"][-1] - rates["at"][0]).total_seconds() // 3600) + 1
    # Growth is fitted where it can be tested too; each try needs its weeks and twice what it forecasts.
    tries: list[tuple[str, Literal["fitted"] | None, int, int]] = [
        ("profile", "fitted", min(hours, (span - 4 * _WEEK) // 2), min(hours, _WEEK)),
        ("profile", None, min(hours, (span - 2 * _WEEK) // 2), min(hours, _DAY)),
        ("seasonal_naive", None, min(hours, (span - 2 * _DAY) // 2), 1),
    ]
    for method, grown, tested, least in tries:
        if tested >= least:
            rows = rates.select("at", value="rate").drop_nulls()
            told = forecast(rows, tested, every=3600, zone=zone, growth=grown, method=method)
            return Ahead(told, _by_horizon(told, rates, tested, hours), tested)
    raise DataError(f"{span} hours of recording are too few for a forecast, which takes three days; record for longer")


def _by_horizon(told: Forecast, rates: pl.DataFrame, tested: int, asked: int) -> list[Demand]:
    found = [_within(told, each) for each in sorted({each for each in (_DAY, _WEEK, tested) if each <= tested})]
    if asked <= tested:
        return found
    try:
        fitted = growth(rates["rate"].fill_null(np.nan).to_numpy(), 3600.0, period=_WEEK, quantile=0.95)
    except DataError:
        return found
    last = found[-1]
    away = (asked - tested) * 3600.0
    times = np.exp(fitted.draws[0] * away / _YEAR)
    middle, high = float(np.median(times)), float(np.quantile(times, 0.95))
    beyond = Demand(
        seconds=asked * 3600.0,
        until=last.until + timedelta(seconds=away),
        mean=last.mean * middle,
        p50=last.p50 * middle,
        p95=last.p95 * max(middle, high),
        covered_p50=None,
        covered_p95=None,
        count=0,
    )
    return [*found, beyond]


def _within(told: Forecast, hours: int) -> Demand:
    part = told.table.head(hours)
    # What was forecast so long before, and what came.
    past = told.backtest.filter(pl.col("at") - pl.col("made") < timedelta(hours=hours), pl.col("actual").is_not_null())
    covered = [float((past["actual"] <= past[name]).mean()) if past.height else None for name in ("p50", "p95")]  # type: ignore[arg-type]
    return Demand(
        seconds=hours * 3600.0,
        until=part["at"][-1] + timedelta(hours=1),
        mean=float(part["p50"].mean()),  # type: ignore[arg-type]
        p50=float(part["p50"].max()),  # type: ignore[arg-type]
        p95=float(part["p95"].max()),  # type: ignore[arg-type]
        covered_p50=covered[0],
        covered_p95=covered[1],
        count=past.height,
    )
