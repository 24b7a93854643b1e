"""Recorded flows as series to forecast: rate, latency, depth and the use of resources, a row for each span."""

from __future__ import annotations

import polars as pl

from warren.analytics.flows import Flows
from warren.core.clock import Duration, seconds
from warren.core.errors import DataError

__all__ = ["measures"]

_WORDS = pl.col("pipeline").cast(pl.String)


def measures(flows: Flows, every: Duration = "1h") -> pl.DataFrame:
    """What `forecast` reads: ``pipeline``, ``measure``, ``at`` and ``value``.

    - ``rate``: messages received in a second; zero in spans without any, between the first and the last message
    - ``latency_p50_ms``, ``latency_p95_ms``: from enqueued, or received where the source does not know, to settled
    - ``depth``: the most messages that waited at the source, where it knows
    - ``credit``: the most messages that were unsettled at once
    - ``busy``: how many stages were at work on average, such as 1.5; what more workers would share

    Spans are of UTC. Raises `DataError` where a span is no length or shorter than a microsecond.

    >>> import tempfile
    >>> measures(Flows(tempfile.mkdtemp())).columns
    ['pipeline', 'measure', 'at', 'value']
    """
    length = round(seconds(every) * 1e6)
    if length < 1:
        raise DataError(f"every={every!r}: a span must last at least a microsecond")
    span = f"{length}us"
    took = (pl.col("settled") - pl.coalesce("enqueued", "received")).dt.total_microseconds() / 1e3
    trips = flows.trips.with_columns(_WORDS)
    came = (
        trips.group_by("pipeline", pl.col("received").dt.truncate(span).alias("at"))
        .agg(rate=pl.len() / (length / 1e6))
        .collect()
    )
    ended = trips.group_by("pipeline", pl.col("settled").dt.truncate(span).alias("at")).agg(
        latency_p50_ms=took.quantile(0.5), latency_p95_ms=took.quantile(0.95)
    )
    worked = (
        flows.stages.with_columns(_WORDS)
        .group_by("pipeline", pl.col("start").dt.truncate(span).alias("at"))
        .agg(
            depth=pl.col("depth").max().cast(pl.Float64),
            credit=pl.col("credit").max().cast(pl.Float64),
            busy=(pl.col("end") - pl.col("start")).dt.total_microseconds().sum() / length,
        )
    )
    parts = [_filled(came, span), ended.collect(), worked.collect()]
    longs = [
        part.unpivot(index=["pipeline", "at"], variable_name="measure").select("pipeline", "measure", "at", "value")
        for part in parts
    ]
    return pl.concat(longs).drop_nulls("value").sort("pipeline", "measure", "at")


def _filled(came: pl.DataFrame, span: str) -> pl.DataFrame:
    """With a zero where a pipeline had no message."""
    ends = came.group_by("pipeline").agg(pl.col("at").min().alias("first"), pl.col("at").max().alias("last"))
    every = ends.select("pipeline", pl.datetime_ranges("first", "last", span).alias("at")).explode("at")
    return every.join(came, on=["pipeline", "at"], how="left").with_columns(pl.col("rate").fill_null(0.0))
