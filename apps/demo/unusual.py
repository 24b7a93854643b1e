"""The hours unlike others: how late flights left, compared with what is usual at that hour of the week."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from warren.apps.demo.data import NEW_YORK

__all__ = ["CANCELLED_MINUTES", "unusual", "worst"]

CANCELLED_MINUTES = 180
"""A cancelled flight counts as one that left three hours late."""

_FEWEST_FLIGHTS = 10
_FEWEST_WEEKS = 8
_SPREAD = 1.4826  # makes the median absolute deviation of a normal distribution its standard deviation
_LEAST_SPREAD = 5.0  # minutes; quiet hours differ by less, which means nothing


def unusual(hours: pl.DataFrame) -> pl.DataFrame:
    """How unusual each hour was, over all airports, most unusual first.

    ``score`` is a robust z-score: how far the mean delay, cancelled flights included, lies above the median of this hour of
    the week, in units of the median absolute deviation. Where there are less than eight weeks, the hour of the day
    stands for the hour of the week. ``hour`` is New York's time.
    """
    late = pl.col("delay").fill_null(0) * pl.col("departures")
    every = (
        hours.group_by("hour")
        .agg(
            pl.col("departures", "cancelled").sum(),
            pl.col("visibility", "wind").mean(),
            late=late.sum(),
        )
        .with_columns(pl.col("hour").dt.convert_time_zone(NEW_YORK), flights=pl.col("departures") + pl.col("cancelled"))
        .filter(pl.col("flights") >= _FEWEST_FLIGHTS)
    )
    if every.is_empty():
        return every.with_columns(score=pl.lit(None, pl.Float64), usual=pl.lit(None, pl.Float64))
    span = every["hour"].max() - every["hour"].min()  # type: ignore[operator]  # both are times, as it is not empty
    assert isinstance(span, timedelta)
    slot = pl.col("hour").dt.hour()
    if span >= timedelta(weeks=_FEWEST_WEEKS):
        slot = slot + 24 * pl.col("hour").dt.weekday().cast(pl.Int32)
    disruption = (pl.col("late") + CANCELLED_MINUTES * pl.col("cancelled")) / pl.col("flights")
    scored = (
        every.with_columns(slot=slot, disruption=disruption, delay=pl.col("late") / pl.col("departures"))
        .with_columns(usual=pl.col("disruption").median().over("slot"))
        .with_columns(above=pl.col("disruption") - pl.col("usual"))
        .with_columns(spread=_SPREAD * pl.col("above").abs().median().over("slot"))
        .with_columns(score=pl.col("above") / pl.max_horizontal("spread", pl.lit(_LEAST_SPREAD)))
    )
    return scored.drop("slot", "late", "above", "spread").sort("score", "hour", descending=[True, False])


def worst(scored: pl.DataFrame, count: int = 10, threshold: float = 6.0) -> pl.DataFrame:
    """The worst hour of each of the most unusual days, and how many hours of that day scored above the threshold.

    A storm makes many unusual hours; one for each day shows more of the year.
    """
    return (
        scored.with_columns(day=pl.col("hour").dt.date())
        .with_columns(alike=(pl.col("score") > threshold).sum().over("day"))
        .unique("day", keep="first", maintain_order=True)
        .head(count)
    )
