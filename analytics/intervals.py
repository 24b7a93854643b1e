"""`incidents`: what was unusual in recorded flows, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import polars as pl

from warren.analytics.alarms import Alarms
from warren.analytics.detectors import Detector
from warren.analytics.flows import Flows
from warren.analytics.novelty import Novelty
from warren.core.errors import GraphError
from warren.core.receipt import Kind

__all__ = ["MEASURES", "incidents", "measured"]

MEASURES = ("rate", "latency", "errors", "size", "depth")
"""What is looked at: messages, milliseconds, a share from 0 to 1, bytes, messages waiting at the source."""

_SCHEMA: dict[str, Any] = {
    "pipeline": pl.String,
    "measure": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "value": pl.Float64,
    "score": pl.Float64,
}


def incidents(
    flows: Flows,
    every: str = "1m",
    *,
    detector: Detector | None = None,
    alarms: Alarms | None = None,
    measures: Sequence[str] = MEASURES,
) -> pl.DataFrame:
    """The incidents of each pipeline in recorded flows, one row each: where it began, what was seen, and its score.

    Each span of ``every`` is one value of each measure: the ``rate`` of messages that ended, the median ``latency`` in
    milliseconds (from enqueued, or from received where that is not known), the share of ``errors`` (dead letters), the mean
    ``size`` in bytes and the greatest ``depth`` of the source. A span without messages has the rate 0, and its other values
    are missing. ``detector`` is what each of these series is given to, a `Novelty` unless given; ``at`` is where the span
    begins that made the alarm.

    Raises `GraphError` where ``every`` is no length or a measure is unknown, and `StorageError` where the folder holds
    something else.

    >>> import tempfile
    >>> incidents(Flows(tempfile.mkdtemp())).height
    0
    """
    detector = Novelty() if detector is None else detector
    alarms = Alarms(detector.threshold) if alarms is None else alarms
    unknown = [name for name in measures if name not in MEASURES]
    if unknown:
        raise GraphError(f"incidents(measures={list(measures)!r}): {unknown[0]!r} is none of {', '.join(MEASURES)}")
    rows: list[tuple[object, ...]] = []
    for pipeline, frame in _by_pipeline(measured(flows, every)):
        for measure in measures:
            follow, policy = deepcopy((detector, alarms))
            times, values = frame["at"].to_list(), frame[measure].to_list()
            for at, value, score in zip(times, values, follow.watch_many(values, times).tolist(), strict=True):
                if policy.step(score):
                    rows.append((pipeline, measure, at, value, score))
    return pl.DataFrame(rows, _SCHEMA, orient="row").sort("pipeline", "at", "measure")


def _by_pipeline(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    for (pipeline,), rows in frame.group_by("pipeline", maintain_order=True):
        yield str(pipeline), rows


def measured(flows: Flows, every: str = "1m") -> pl.DataFrame:
    """Each measure of each pipeline in each span of time, from its first to its last span with none left out.

    Raises `GraphError` where ``every`` is no length.

    >>> import tempfile
    >>> measured(Flows(tempfile.mkdtemp())).columns
    ['pipeline', 'at', 'rate', 'latency', 'errors', 'size', 'depth']
    """
    settled = pl.col("settled")
    began = pl.coalesce("enqueued", "received")
    name = pl.col("pipeline").cast(pl.String)
    try:
        trips = (
            flows.trips.group_by(name, settled.dt.truncate(every).alias("at"))
            .agg(
                pl.len().cast(pl.Float64).alias("rate"),
                (settled - began).dt.total_microseconds().median().truediv(1e3).alias("latency"),
                (pl.col("outcome").cast(pl.String) == Kind.DEAD_LETTERED.name.lower()).mean().alias("errors"),
                pl.col("size").mean(),
            )
            .collect()
        )
        depths = (
            flows.stages.group_by(name, pl.col("end").dt.truncate(every).alias("at"))
            .agg(pl.col("depth").max().cast(pl.Float64))
            .collect()
        )
        spans = (
            pl.concat([trips.select("pipeline", "at"), depths.select("pipeline", "at")])
            .group_by("pipeline")
            .agg(pl.datetime_ranges(pl.col("at").min(), pl.col("at").max(), every).first().alias("at"))
            .explode("at")
        )
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise GraphError(f"every={every!r}: write a length such as '10s', '1m', '1h' or '1d' ({error})") from error
    return (
        spans.join(trips, ["pipeline", "at"], "left")
        .join(depths, ["pipeline", "at"], "left")
        .with_columns(pl.col("rate").fill_null(0))
        .sort("pipeline", "at")
    )
