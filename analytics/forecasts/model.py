"""Forecasts for the people who ask: one call, many series, quantiles, and how well that went before."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl

from warren.analytics import saved
from warren.analytics.forecasts.contract import Forecaster, find
from warren.analytics.forecasts.growing import YEAR, Growing
from warren.analytics.forecasts.intervals import Calibration, calibrate
from warren.analytics.forecasts.panels import Floats, Panel, panel
from warren.core.clock import Duration
from warren.core.errors import DataError

__all__ = ["Forecast", "Model", "fit", "forecast", "load"]

_KIND = "forecast"
_WINDOWS = (4, 3, 2)
Growth: TypeAlias = "Literal['fitted'] | float | None"


@dataclass(frozen=True)
class Forecast:
    """What comes, and how such forecasts did on the past."""

    table: pl.DataFrame
    """A row for each series and time: ``at`` in UTC, and a column for each quantile, such as ``p95``."""
    coverage: pl.DataFrame
    """For each series and quantile: ``nominal``, the share of past values that were not above it, and of how many."""
    backtest: pl.DataFrame
    """Forecasts as made in the past, with what came; in local time: ``made``, ``at``, ``actual`` and the quantiles."""
    method: str
    """The forecaster."""
    skipped: pl.DataFrame
    """Series that cannot be forecast, and why."""

    def covered(self, level: float) -> float:
        """The share of past values that were not above this quantile. Raises `DataError` if it was not asked for."""
        rows = self.coverage.filter((pl.col("nominal") - level).abs() < 1e-9, pl.col("count") > 0)
        if rows.is_empty():
            raise DataError(f"covered({level}): the forecast has the quantiles {sorted(set(self.coverage['nominal']))}")
        return float(np.average(rows["covered"].to_numpy(), weights=rows["count"].to_numpy()))

    def _repr_html_(self) -> str:
        counted = self.coverage.filter(pl.col("count") > 0)
        past = ", ".join(f"{_name(level)} {self.covered(level):.0%}" for level in counted["nominal"].unique().sort())
        left = f"; {len(self.skipped)} series left out" if len(self.skipped) else ""
        told = f"<p>{escape(self.method)}; past values that were not above: {past or 'none are known'}{left}</p>"
        return f"<div>{told}{self.table._repr_html_()}</div>"


@dataclass(frozen=True)
class Model:
    """A fitted forecaster with its calibration; `forecast` it, save it, load it, give it newer data of the same series."""

    method: str
    horizon: int
    panel: Panel
    forecaster: Forecaster
    calibration: Calibration
    past: dict[str, Floats]
    options: dict[str, Any]
    growth: float
    skipped: pl.DataFrame
    fingerprint: str

    def forecast(
        self, quantiles: Sequence[float] = (0.5, 0.95), *, frame: pl.DataFrame | pl.LazyFrame | None = None
    ) -> Forecast:
        """The spans that follow what the model was fitted to, or newer rows of the same series in ``frame``.

        Raises `DataError` where a quantile is none, or the frame holds other series or other spans.
        """
        if not quantiles or any(not 0 < level < 1 for level in quantiles):
            raise DataError(f"quantiles={list(quantiles)}: give shares between 0 and 1, such as (0.5, 0.95)")
        now = self.panel if frame is None else self._again(frame)
        instants, spans = now.following(self.horizon)
        ahead = spans - now.spans
        told = self.forecaster.predict(now, int(ahead.max()) + 1)[:, ahead]
        unit = now.units(now.spans)[1][:, None]
        near = np.minimum(ahead, self.horizon - 1)
        grown = (1 + self.growth) ** ((ahead + 1) * now.every / YEAR)
        least = _least(now)
        levels = sorted(set(quantiles))
        columns = {
            _name(level): np.maximum((told + unit * self.calibration.quantile(level)[:, near]) * grown, least).ravel()
            for level in levels
        }
        at = pl.Series("at", instants, pl.Datetime("us", "UTC"))
        table = _keyed(now.keys, self.horizon).with_columns(pl.Series("at", list(at) * len(now.keys), at.dtype), **columns)
        return Forecast(table, self._coverage(levels), self._backtest(levels, least), self.method, self.skipped)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file with its version and the data's fingerprint. Raises `StorageError` where that fails."""
        saved.save(path, _KIND, self, self.fingerprint, pickled=True)

    def _again(self, frame: pl.DataFrame | pl.LazyFrame) -> Panel:
        now, _ = _living(panel(frame, **self.options))
        if now.every != self.panel.every:
            raise DataError(
                f"the model was fitted to spans of {self.panel.every / 1e6:g} s; the rows have {now.every / 1e6:g} s"
            )
        if now.keys.columns != self.panel.keys.columns or not now.keys.equals(self.panel.keys):
            here, there = set(now.keys.iter_rows()), set(self.panel.keys.iter_rows())
            new, gone = (sorted(map(str, each))[:3] for each in (here - there, there - here))
            raise DataError(f"the rows hold other series than the model: new {new}, gone {gone}; fit it again")
        if now.spans < 2 * now.day:
            raise DataError(
                f"{now.spans} spans are too few to go on from; give the rows of two days at least, better four weeks"
            )
        return now

    def _coverage(self, levels: Sequence[float]) -> pl.DataFrame:
        count = np.isfinite(self.past["actual"]).sum((0, 2))
        parts = [
            self.panel.keys.with_columns(
                pl.lit(level).alias("nominal"),
                pl.Series("covered", self.calibration.below(level)),
                pl.Series("count", count.astype(np.int64)),
            )
            for level in levels
        ]
        return pl.concat(parts).with_columns(pl.col("covered").fill_nan(None))

    def _backtest(self, levels: Sequence[float], least: float) -> pl.DataFrame:
        parts = []
        made = self.past["origins"].astype(np.int64)
        for each, origin in enumerate(made):
            told, unit = self.past["told"][each], self.past["unit"][each][:, None]
            tested = self.calibration.tested[each]
            spans = origin + np.arange(self.horizon)
            columns = {_name(level): np.maximum(told + unit * tested.quantile(level), least).ravel() for level in levels}
            parts.append(
                _keyed(self.panel.keys, self.horizon).with_columns(
                    made=pl.lit(self.panel.wall(made[each : each + 1])[0].item()),
                    at=np.tile(self.panel.wall(spans), len(told)),
                    actual=self.past["actual"][each].ravel(),
                    **columns,
                )
            )
        return pl.concat(parts).with_columns(pl.col("actual").fill_nan(None))


def _name(level: float) -> str:
    return "p" + f"{100 * level:05.2f}".rstrip("0").rstrip(".")


def _keyed(keys: pl.DataFrame, times: int) -> pl.DataFrame:
    return keys[np.repeat(np.arange(len(keys)), times)]


def _least(now: Panel) -> float:
    """What never was below zero will not be."""
    return 0.0 if np.nanmin(now.values) >= 0 else -np.inf


def fit(
    frame: pl.DataFrame | pl.LazyFrame,
    horizon: int,
    *,
    method: str = "auto",
    growth: Growth = None,
    time: str = "at",
    value: str = "value",
    series: Sequence[str] | None = None,
    every: Duration | None = None,
    zone: str = "UTC",
    holidays: Iterable[date] = (),
    gaps: Literal["unknown", "zero"] = "unknown",
) -> Model:
    """Fit a forecaster to the rows and test it on their last part; see `forecast` for the arguments."""
    if isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1:
        raise DataError(f"horizon={horizon!r}: say how many spans to forecast, 1 or more")
    if growth not in (None, "fitted") and (not isinstance(growth, int | float) or not -1 < growth < 100):
        raise DataError(f"growth={growth!r}: write 'fitted', or a share in a year such as 0.2 for a fifth more")
    options: dict[str, Any] = {
        "time": time, "value": value, "series": series, "zone": zone, "holidays": tuple(holidays), "gaps": gaps
    }  # fmt: skip
    now, skipped = _living(panel(frame, every=every, **options))
    tried = [_test(name, now, horizon, growth == "fitted") for name in _candidates(method)]
    # The least error in the units of the series.
    fitting = [each for each in tried if not isinstance(each, DataError)]
    if not fitting:
        raise tried[-1] if isinstance(tried[-1], DataError) else DataError("no forecaster was tried")
    best = min(fitting, key=lambda each: each.error)
    forecaster = _make(best.method, growth == "fitted")
    forecaster.fit(now, horizon)
    options["every"] = now.every / 1e6
    extra = float(growth) if isinstance(growth, int | float) else 0.0
    return Model(
        best.method, horizon, now, forecaster, best.calibration, best.past, options, extra, skipped, _fingerprint(now)
    )


def forecast(
    frame: pl.DataFrame | pl.LazyFrame, horizon: int, quantiles: Sequence[float] = (0.5, 0.95), **options: Any
) -> Forecast:
    """Forecast many series at once, with quantiles, and with the coverage they had on the past.

    ``frame`` has a row for each time and value; its other columns tell series apart. What is forecast are the ``horizon``
    spans after the last row.

    - ``quantiles``: 0.5 is the median, 0.95 what is passed one time in twenty
    - ``method``: a forecaster by name (`names`), or ``"auto"``, the one with the least error on the past
    - ``growth``: nothing, ``"fitted"``, or a share in a year that the future adds to what the past shows
    - ``holidays``: dates that are unlike other days, of the past and of the future
    - ``zone``, ``every``, ``gaps``, ``time``, ``value``, ``series``: see `panel`

    Seeds are fixed, so the same rows give the same forecast. Raises `DataError` where the rows cannot answer, and
    `PluginError` where there is no such method.

    >>> from datetime import datetime
    >>> hours = pl.datetime_range(datetime(2026, 1, 1), datetime(2026, 1, 29), "1h", closed="left", eager=True)
    >>> rows = pl.DataFrame({"at": hours, "value": [100 + hour % 24 for hour in range(len(hours))]})
    >>> forecast(rows, 3, method="seasonal_naive").table["p50"].round(3).to_list()
    [100.0, 101.0, 102.0]
    """
    return fit(frame, horizon, **options).forecast(quantiles)


def load(path: str | os.PathLike[str], frame: pl.DataFrame | pl.LazyFrame | None = None) -> Model:
    """Read a model that `Model.save` wrote; load only files you trust, as they can run code.

    With ``frame`` the rows must be those that it was fitted to. Raises `StorageError` where the file cannot be read,
    `DataError` where it holds something else, or was fitted to other rows.
    """
    model, header = saved.load(path, _KIND, pickled=True)
    assert isinstance(model, Model)
    if frame is not None:
        now = _fingerprint(_living(panel(frame, **model.options))[0])
        if now != header.fingerprint:
            raise DataError(
                f"{path} was fitted to other rows (fingerprint {header.fingerprint}, and these have {now}); fit it again, "
                f"or give newer rows of the same series to forecast(frame=...)"
            )
    return model


def _living(everything: Panel) -> tuple[Panel, pl.DataFrame]:
    """Series that have values in the last week or two days, and the others with the reason."""
    recent = ~np.all(np.isnan(everything.values[:, -max(everything.week, 2) :]), axis=1)
    gone = everything.rows(~recent)
    reasons = ["no value at all" if np.isnan(row).all() else "no value in the last week" for row in gone.values]
    if not recent.any():
        raise DataError(
            "no series has a known value in its last week; give newer rows, or gaps='zero' where none means zero"
        )
    return everything.rows(recent), gone.keys.with_columns(pl.Series("reason", reasons, pl.String))


def _candidates(method: str) -> list[str]:
    if method != "auto":
        return [method]
    own = ["boosted"] if importlib.util.find_spec("sklearn") else []
    return [*own, "profile", "seasonal_naive"]


def _make(name: str, growing: bool) -> Forecaster:
    made = find(name)()
    return Growing(made) if growing else made


@dataclass(frozen=True)
class _Tried:
    method: str
    error: float
    calibration: Calibration
    past: dict[str, Floats]


def _test(name: str, now: Panel, horizon: int, growing: bool) -> _Tried | DataError:
    """Fit to the first part, forecast the rest from several times on, and calibrate."""
    forecaster = _make(name, growing)
    needed = forecaster.needs(now, horizon)
    first = next((now.spans - times * horizon for times in _WINDOWS if now.spans - times * horizon >= needed), None)
    if first is None:
        return DataError(
            f"{now.spans} spans are too few for the forecaster {name!r} to forecast {horizon} and to test that: it needs "
            f"{needed + 2 * horizon}; record for longer, or ask for a shorter horizon or longer spans"
        )
    origins = _origins(first, now.spans - horizon, horizon, now.day)
    forecaster.fit(now.until(first), horizon)
    told = np.stack([forecaster.predict(now.until(origin), horizon) for origin in origins])
    unit = np.stack([now.units(origin)[1] for origin in origins])
    actual = np.stack([now.values[:, origin : origin + horizon] for origin in origins])
    errors = (actual - told) / unit[:, :, None]
    if not np.isfinite(errors).any():
        return DataError("no value is known in the last part of the rows, so the forecast cannot be tested; give newer rows")
    past = {"told": told, "unit": unit, "actual": actual, "origins": np.array(origins, np.float64)}
    return _Tried(name, float(np.nanmean(np.minimum(np.abs(errors), 1e3))), calibrate(errors, origins, now.day), past)


def _origins(first: int, last: int, horizon: int, day: int) -> list[int]:
    """When to forecast in the past: at the same time of the day as now, where there is room, and each apart from another."""
    step = max(1, round(horizon / 2 / day)) * day
    if last - first < -(-horizon // step) * step:
        step = horizon
    origins = list(range(last, first - 1, -step))[:8][::-1]
    return [each for each in origins if any(abs(each - other) >= horizon for other in origins)]


def _fingerprint(now: Panel) -> str:
    told = hashlib.blake2b(digest_size=8)
    told.update(repr((now.keys.columns, now.keys.rows(), now.first, now.every, now.zone, sorted(now.holidays))).encode())
    told.update(np.nan_to_num(now.values, nan=-1e300).tobytes())
    return told.hexdigest()
