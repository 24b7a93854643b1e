from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.analytics.forecasting import START, hourly
from warren.analytics.forecasts import fit, forecast, load
from warren.core.errors import DataError, PluginError


def missed(frame: pl.DataFrame, **options: Any) -> float:
    """The mean error of the last day, forecast from the rest, in units of the noise, 1."""
    told = forecast(frame.filter(pl.col("at") < frame["at"].max() - timedelta(hours=23)), 24, **options)
    both = told.table.join(frame, on=["queue", "at"], validate="1:1")
    assert both.height == 24 * frame["queue"].n_unique()
    return float((both["p50"] - both["value"]).abs().mean())


@pytest.mark.parametrize("method", ["auto", "boosted", "profile"])
def test_days_and_weeks_are_found(method: str) -> None:
    assert missed(hourly(6, 3), method=method) < 1.3


def test_quantiles_hold_what_they_say_and_tell_what_they_held() -> None:
    frame = hourly(8, 6, noise=4.0)
    told = forecast(frame.filter(pl.col("at") < START + timedelta(weeks=7)), 48, (0.05, 0.5, 0.95), method="profile")
    assert told.table.columns == ["queue", "at", "p05", "p50", "p95"]
    for level in (0.05, 0.5, 0.95):
        assert told.covered(level) == pytest.approx(level, abs=0.04)
    both = told.table.join(frame, on=["queue", "at"])
    assert both.height == 6 * 48
    assert both.select((pl.col("value") <= pl.col("p95")).mean()).item() == pytest.approx(0.95, abs=0.04)
    assert set(told.coverage.columns) == {"queue", "nominal", "covered", "count"}
    assert {"queue", "made", "at", "actual", "p05", "p50", "p95"} == set(told.backtest.columns)
    assert told.backtest["at"].max() == datetime(2026, 2, 22, 23)
    with pytest.raises(DataError, match=r"has the quantiles \[0.05, 0.5, 0.95\]"):
        told.covered(0.99)


@pytest.mark.parametrize("horizon", [37, 100, 252])
def test_a_forecast_of_any_length_is_tested_on_the_past(horizon: int) -> None:
    assert forecast(hourly(5), horizon, method="profile").coverage["count"].min() >= 2 * horizon


def test_a_notebook_shows_how_it_did_on_the_past() -> None:
    frame = hourly(5, 2)
    told = forecast(frame, 12, method="profile")
    assert f"profile; past values that were not above: p50 {told.covered(0.5):.0%}, p95 " in told._repr_html_()
    ended = frame.filter((pl.col("queue") != frame["queue"][0]) | (pl.col("at") < START + timedelta(weeks=3)))
    assert "; 1 series left out</p>" in forecast(ended, 12, method="profile")._repr_html_()


def test_the_same_rows_give_the_same_forecast() -> None:
    frame = hourly(5, 2)
    assert forecast(frame, 12, method="boosted").table.equals(forecast(frame, 12, method="boosted").table)


def test_a_holiday_is_unlike_other_days() -> None:
    free = [date(2026, 1, 21), date(2026, 2, 3), date(2026, 2, 19), date(2026, 3, 5), date(2026, 3, 12)]
    frame = hourly(10, 3).filter(pl.col("at") < datetime(2026, 3, 13, tzinfo=UTC))
    frame = frame.with_columns(
        value=pl.when(pl.col("at").dt.date().is_in(free)).then(pl.col("value") / 2).otherwise("value")
    )
    asked = {"method": "boosted"}
    assert missed(frame, holidays=free, **asked) < missed(frame, **asked) / 2


def test_local_days_are_found_over_a_change_of_the_clocks() -> None:
    # Busy from 8 to 18 by the clocks of Berlin, which went forward on 29 March 2026.
    at = pl.datetime_range(START, START + timedelta(weeks=12, hours=4), "1h", eager=True)
    busy = at.dt.convert_time_zone("Europe/Berlin").dt.hour().is_between(8, 17)
    frame = pl.DataFrame({"queue": "a", "at": at, "value": busy.cast(pl.Float64) * 100})
    frame = frame.filter(pl.col("at") < datetime(2026, 3, 30, 20, tzinfo=UTC))
    assert missed(frame, zone="Europe/Berlin", method="seasonal_naive") < 1
    assert missed(frame, method="seasonal_naive") > 5


def test_growth_as_given_and_as_fitted() -> None:
    frame = hourly(20, noise=0.5, yearly=2.0)
    plain = forecast(frame, 168, method="profile").table
    given = forecast(frame, 168, method="profile", growth=1.0).table
    ratio = (given["p50"] / plain["p50"]).to_numpy()
    np.testing.assert_allclose(ratio[[0, -1]], 2 ** (np.array([1, 168]) / (365.25 * 24)), rtol=1e-9)
    assert missed(frame, method="profile", growth="fitted") < missed(frame, method="profile")


def test_gaps_are_passed_over() -> None:
    draw = np.random.default_rng(3)
    frame = hourly(6, 3)
    assert (
        missed(
            frame.filter(
                pl.Series(draw.random(frame.height) > 0.15)
                | (pl.col("at").rank("dense", descending=True).over("queue") <= 24)
            )
        )
        < 2
    )


def test_what_never_was_below_zero_stays_there() -> None:
    frame = hourly(5, noise=0.0).with_columns(value=(pl.col("value") - 60).clip(0))
    assert forecast(frame, 24, (0.01, 0.5), method="profile").table["p01"].min() >= 0


def test_constant_series_are_forecast() -> None:
    frame = hourly(5, 2).with_columns(value=pl.when(queue="q00").then(5.0).otherwise("value"))
    for method in ("boosted", "profile"):
        table = forecast(frame, 12, (0.05, 0.5, 0.95), method=method).table.filter(queue="q00")
        np.testing.assert_allclose(table.select("p05", "p50", "p95").to_numpy(), 5.0, atol=0.01)


def test_a_series_that_has_ended_is_left_out_with_the_reason() -> None:
    frame = hourly(5, 2).filter((pl.col("queue") == "q00") | (pl.col("at") < START + timedelta(weeks=3)))
    told = forecast(frame, 12, method="profile")
    assert told.table["queue"].unique().to_list() == ["q00"]
    assert told.skipped.rows() == [("q01", "no value in the last week")]


def test_spans_of_a_day_and_of_a_minute() -> None:
    days = hourly(20).group_by_dynamic("at", every="1d", group_by="queue").agg(pl.col("value").mean())
    assert forecast(days, 7).table.height == 7
    minutes = hourly(30).with_columns(at=START + (pl.col("at") - START) / 60)
    assert forecast(minutes, 5, method="seasonal_naive").table["at"].diff().drop_nulls().unique().item() == timedelta(
        minutes=1
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"horizon": 0}, "horizon=0"),
        ({"horizon": 1.5}, "horizon=1.5"),
        ({"growth": "much"}, "growth='much'"),
        ({"growth": -1.0}, "growth=-1.0"),
        ({"quantiles": (95,)}, "give shares between 0 and 1"),
        ({"quantiles": ()}, "give shares between 0 and 1"),
        ({"horizon": 500, "method": "boosted"}, "too few for the forecaster 'boosted' to forecast 500"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], sentence: str) -> None:
    asked: dict[str, Any] = {"horizon": 12, "method": "profile"} | options
    with pytest.raises(DataError, match=sentence):
        forecast(hourly(4), **asked)


def test_nothing_known_is_refused() -> None:
    with pytest.raises(DataError, match="no series has a known value"):
        forecast(hourly(4).with_columns(value=pl.lit(None, pl.Float64)), 12)
    with pytest.raises(PluginError, match="no forecaster 'oracle'"):
        forecast(hourly(4), 12, method="oracle")


def test_a_model_is_kept_and_goes_on_with_newer_rows(tmp_path: Path) -> None:
    frame = hourly(7, 2)
    old = frame.filter(pl.col("at") < START + timedelta(weeks=6))
    model = fit(old, 24, method="boosted")
    model.save(tmp_path / "m.model")
    again = load(tmp_path / "m.model", old)
    assert again.forecast().table.equals(model.forecast().table)
    newer = again.forecast(frame=frame).table
    assert newer["at"].min() == START + timedelta(weeks=7)
    assert abs(newer["p50"].mean() - frame["value"].mean()) < 15  # type: ignore[operator]
    with pytest.raises(DataError, match="was fitted to other rows"):
        load(tmp_path / "m.model", frame)


def test_a_pipeline_that_changed_its_shape_is_told() -> None:
    model = fit(hourly(5, 2), 12, method="profile")
    with pytest.raises(DataError, match=r"new \[\"\('q02',\)\"\], gone \[\]; fit it again"):
        model.forecast(frame=hourly(5, 3))
    with pytest.raises(DataError, match="too few to go on from"):
        model.forecast(frame=hourly(5, 2).group_by("queue").head(30))
    coarser = replace(model, options={**model.options, "every": 7200.0})
    with pytest.raises(DataError, match="spans of 3600 s"):
        coarser.forecast(frame=hourly(5, 2))
