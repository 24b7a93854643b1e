"""A pipeline's recording, hour by hour, with what it cannot tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from warren.analytics.flows import Flows
from warren.analytics.layout import Recording
from warren.analytics.quantiles import with_quantiles
from warren.core.errors import DataError
from warren.core.receipt import Kind

__all__ = ["HOUR", "Part", "Recorded", "most", "pipelines", "recorded", "total"]

HOUR = timedelta(hours=1)
_SURE = 20.0
"""Where so many messages are usual in an hour, one without any was not recorded; by chance that never happens."""
_APART = timedelta(days=60)
"""Rows so far apart are of a clock that jumped, or of another age of the pipeline."""


class Part(Flows):
    """The rows of one pipeline whose times can be: from a moment on, until another, none ending before it began."""

    def __init__(self, flows: Flows, pipeline: str, first: datetime | None = None, last: datetime | None = None) -> None:
        super().__init__(flows.folder)
        self._trips, self._stages = flows._trips, flows._stages
        self._pipeline = pipeline
        self._first, self._last = first, last

    def stage_files(self) -> list[Recording]:
        """The files with the stages of this pipeline that lie in folders of days."""
        return [each for each in self._stages.files() if each.partition and each.partition.pipeline == self._pipeline]

    @property
    def trips(self) -> pl.LazyFrame:
        return self._within(super().trips, "received", "settled")

    @property
    def stages(self) -> pl.LazyFrame:
        return self._within(super().stages, "start", "end")

    @property
    def workers(self) -> pl.LazyFrame:
        return self._within(super().workers, "start", "end")

    def _within(self, rows: pl.LazyFrame, start: str, end: str) -> pl.LazyFrame:
        rows = rows.filter(pl.col("pipeline") == self._pipeline, pl.col(end) >= pl.col(start))
        # The day is that of the end; what began before may end a day later.
        if self._first is not None:
            rows = rows.filter(pl.col("day") >= self._first.date(), pl.col(start) >= self._first)
        if self._last is not None:
            rows = rows.filter(pl.col("day") <= self._last.date() + timedelta(days=1), pl.col(start) < self._last)
        return rows


def pipelines(flows: Flows) -> list[str]:
    """The names of those that are recorded."""
    files = [*flows._trips.files(), *flows._stages.files()]
    found = {file.partition.pipeline for file in files if file.partition is not None}
    if any(file.partition is None for file in files):
        found |= set(flows.trips.select(pl.col("pipeline").unique()).collect()["pipeline"])
    return sorted(found)


@dataclass(frozen=True)
class Recorded:
    """What is known of a pipeline: ``rows`` has one for each hour from ``first`` to ``last``."""

    flows: Part
    rows: pl.DataFrame
    sources: list[str]
    first: datetime
    last: datetime
    unrecorded: list[tuple[datetime, datetime]]
    reversed: int
    outside: list[tuple[datetime, datetime, int]]
    """Rows that lie far from the others in time: from, to, how many."""

    @property
    def rates(self) -> pl.DataFrame:
        """``at`` and ``rate``, messages a second, of each whole hour; null where nothing was recorded."""
        whole = self.rows.filter(pl.col("whole"))
        return whole.select("at", rate=pl.col("messages") / HOUR.total_seconds())


def recorded(flows: Flows, pipeline: str, target: float, now: datetime) -> Recorded:
    """Read a pipeline's recording by hours; ``target`` is in seconds. Raises `DataError` where it holds no message."""
    everything = Part(flows, pipeline)
    found = _hourly(everything, target)
    if found.is_empty():
        raise DataError(f"pipeline {pipeline!r} has no recorded message in {flows.folder}; run it with --record")
    if found["at"][0] >= now:
        raise DataError(
            f"pipeline {pipeline!r}: all its messages are of the future, from {found['at'][0]!s} on, now being {now}; "
            f"set the clock right"
        )
    # What is dated later than now cannot be, unless clocks differ a little.
    later = found.filter(pl.col("at") > now + HOUR)
    found = found.filter(pl.col("at") < now)
    outside = [_span(later)] if later.height else []
    away = found["at"].diff().dt.total_seconds().fill_null(0) > _APART.total_seconds()
    if away.any():
        start = int(away.arg_true()[-1])
        outside.append(_span(found.head(start)))
        found = found.tail(found.height - start)
    first, last = found["first"].min(), found["last"].max()
    assert isinstance(first, datetime) and isinstance(last, datetime)
    part = Part(flows, pipeline, found["at"][0], found["at"][-1] + HOUR)
    rows = _marked(found.join(_depths(part), on="at", how="left"), first, last, now)
    sources = part.trips.select(pl.col("source").cast(pl.String).unique().sort()).collect()["source"].to_list()
    backward = flows.trips.filter(pl.col("pipeline") == pipeline, pl.col("settled") < pl.col("received"))
    turned = backward.select(pl.len()).collect().item()
    return Recorded(part, rows, sources, first, last, _runs(rows), turned, outside)


def total(values: pl.Series) -> float:
    """The sum of what is known."""
    return float(values.drop_nulls().to_numpy().sum())


def most(values: pl.Series) -> float:
    """The greatest of what is known; zero where nothing is."""
    return float(values.drop_nulls().to_numpy().max(initial=0.0))


def _hourly(flows: Part, target: float) -> pl.DataFrame:
    """Messages by the hour in which they came, and how they fared."""
    took = pl.col("settled") - pl.coalesce("enqueued", "received")
    age = pl.col("received") - pl.col("enqueued")
    rows = flows.trips.with_columns(pl.col("outcome").cast(pl.String), at=pl.col("received").dt.truncate("1h"))
    return (
        with_quantiles(
            rows,
            ["at"],
            {"latency": took, "age": age},
            [
                pl.len().alias("messages"),
                pl.col("received").min().alias("first"),
                pl.col("received").max().alias("last"),
                (took <= timedelta(seconds=target)).sum().alias("kept"),
                (pl.col("attempts") > 1).sum().alias("retried"),
                (pl.col("outcome") == Kind.DEAD_LETTERED.name.lower()).sum().alias("dead"),
                age.max().dt.total_microseconds().truediv(1e3).alias("age_max_ms"),
            ],
        )
        .sort("at")
        .collect(engine="streaming")
    )


def _depths(flows: Part) -> pl.DataFrame:
    return (
        flows.stages.group_by(pl.col("start").dt.truncate("1h").alias("at"))
        .agg(
            pl.col("depth").max().cast(pl.Float64),
            busy=(pl.col("end") - pl.col("start")).dt.total_microseconds().sum() / 1e6,
        )
        .collect(engine="streaming")
    )


def _marked(found: pl.DataFrame, first: datetime, last: datetime, now: datetime) -> pl.DataFrame:
    """Every hour, whether or not it has rows; whether it is whole, and what is unknown of it is null."""
    grid = pl.datetime_range(found["at"][0], found["at"][-1], "1h", eager=True).alias("at")
    rows = grid.to_frame().join(found, on="at", how="left")
    here, slot, hour = (
        pl.col("messages").is_not_null(),
        [pl.col("at").dt.weekday(), pl.col("at").dt.hour()],
        pl.col("at").dt.hour(),
    )
    usual = pl.coalesce(
        pl.when(here.sum().over(slot) >= 2).then(pl.col("messages").median().over(slot)),
        pl.col("messages").median().over(hour),
        pl.col("messages").median(),
    )
    # Silence is unknown where rows are usual: at that time of the week, or it lasts longer than a day.
    often = (here.mean().over(slot) >= 0.5) | (pl.len().over(here.rle_id()) >= 24)
    rows = rows.with_columns(messages=pl.when(here | ((usual >= _SURE) & often)).then(pl.col("messages")).otherwise(0))
    # A recording begins and ends within an hour, which tells too little of that hour's rate.
    late = first - found["at"][0] > HOUR / 10
    early = now < found["at"][-1] + HOUR or found["at"][-1] + HOUR - last > HOUR / 10
    ends = [found["at"][0]] * late + [found["at"][-1]] * early
    return rows.with_columns(whole=~pl.col("at").is_in(pl.Series(ends, dtype=rows.schema["at"]).implode()))


def _span(rows: pl.DataFrame) -> tuple[datetime, datetime, int]:
    return rows["first"].min(), rows["last"].max(), int(rows["messages"].sum())  # type: ignore[return-value]


def _runs(rows: pl.DataFrame) -> list[tuple[datetime, datetime]]:
    """Hours without a row that follow each other, where rows are usual."""
    silent = rows.filter(pl.col("messages").is_null())["at"].to_list()
    found: list[tuple[datetime, datetime]] = []
    for at in silent:
        if found and found[-1][1] == at:
            found[-1] = found[-1][0], at + HOUR
        else:
            found.append((at, at + HOUR))
    return [(first.astimezone(UTC), last.astimezone(UTC)) for first, last in found]
