"""Reads recorded flows as Polars frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa

from warren.analytics.display import as_html
from warren.analytics.layout import Recording, Recordings
from warren.analytics.quantiles import collected, with_quantiles
from warren.analytics.schema import DECISIONS, STAGES, TRIPS, WORKERS
from warren.core.errors import GraphError, StorageError
from warren.core.receipt import Kind

__all__ = ["Flows"]

_OUTCOMES = [kind.name.lower() for kind in sorted(Kind, key=lambda kind: (kind is not Kind.DELIVERED, kind))]
_TIMES = {"latency": pl.col("settled") - pl.col("enqueued"), "transit": pl.col("settled") - pl.col("received")}
_SUMS = [pl.col("attempts").cast(pl.Int64).sum(), pl.col("size").sum().alias("bytes")]


class Flows:
    """The flows that recorders wrote to a folder, as lazy frames and as small tables made from them.

    It reads what is there when a frame is made, also while recorders write. Times are UTC; columns that end in ``_ms`` are
    milliseconds. ``docs/flows.md`` describes the columns.

    Raises `StorageError` where the folder is missing, or a file in it is not a recording.

    >>> import tempfile
    >>> flows = Flows(tempfile.mkdtemp())
    >>> flows.trips.collect().height, flows.stages.collect().height
    (0, 0)
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            what = "is a file, not a folder" if self.folder.exists() else "does not exist"
            raise StorageError(f"{self.folder} {what}; name the folder that a Recorder writes to")
        self._trips = Recordings(self.folder, "trips")
        self._stages = Recordings(self.folder, "stages")
        self._workers = Recordings(self.folder, "workers")
        self._decisions = Recordings(self.folder, "decisions")

    @property
    def trips(self) -> pl.LazyFrame:
        """One row for each trip of a message."""
        return _scan(self._trips.files(), TRIPS, "settled")

    @property
    def stages(self) -> pl.LazyFrame:
        """One row for each chunk a stage took."""
        return _scan(self._stages.files(), STAGES, "end")

    @property
    def workers(self) -> pl.LazyFrame:
        """One row for a span of time in which the workers of a stage were at work."""
        return _scan(self._workers.files(), WORKERS, "end")

    @property
    def decisions(self) -> pl.LazyFrame:
        """One row for each decision of a model that is over; ``inputs`` is JSON."""
        return _scan(self._decisions.files(), DECISIONS, "at")

    def summary(self) -> pl.DataFrame:
        """For each pipeline and route: messages by outcome, attempts, bytes, and how long messages took.

        ``latency`` is from enqueued to settled, where the source knows when a message was enqueued; ``transit`` from
        received to settled.
        """
        return (
            with_quantiles(self.trips, ["pipeline", "route"], _TIMES, [pl.len().alias("messages"), *_ends(), *_SUMS])
            .with_columns(_words("route"))
            .sort("pipeline", "route", nulls_last=True)
            .pipe(collected)
        )

    def errors(self) -> pl.DataFrame:
        """Dead letters by pipeline, error, fingerprint and stage, the most frequent first."""
        return (
            self.trips.filter(pl.col("outcome").cast(pl.String) == Kind.DEAD_LETTERED.name.lower())
            .with_columns(_words("error", "fingerprint", "stage"))
            .group_by("pipeline", "error", "fingerprint", "stage")
            .agg(
                pl.len().alias("messages"),
                pl.col("settled").min().alias("first"),
                pl.col("settled").max().alias("last"),
            )
            .sort("messages", "pipeline", "error", "fingerprint", "stage", descending=[True, *[False] * 4], nulls_last=True)
            .collect(engine="streaming")
        )

    def rate(self, every: str = "1m") -> pl.DataFrame:
        """How many messages of each pipeline ended in each span of time, by outcome; ``at`` is where a span begins.

        ``every`` is a length as Polars writes it: ``"10s"``, ``"1m"``, ``"1h"``, ``"1d"``. A span without messages has no
        row. Raises `GraphError` where it is no such length.
        """
        return (
            _spans(self.trips.with_columns(_words("outcome")), "settled", every, "rate")
            .group_by("pipeline", "at")
            .agg(pl.len().alias("messages"), *_ends(), pl.col("size").sum().alias("bytes"))
            .sort("pipeline", "at")
            .collect(engine="streaming")
        )

    def traffic(self, every: str = "1m") -> pl.DataFrame:
        """What ended on each route in each span of time: messages by outcome, attempts, bytes, latency and transit.

        Raises `GraphError` where ``every`` is no length as Polars writes it.
        """
        rows = _spans(self.trips, "settled", every, "traffic")
        return (
            with_quantiles(rows, ["pipeline", "route", "at"], _TIMES, [pl.len().alias("messages"), *_ends(), *_SUMS])
            .with_columns(_words("route"))
            .sort("pipeline", "route", "at", nulls_last=True)
            .pipe(collected)
        )

    def depth(self, every: str = "1m") -> pl.DataFrame:
        """How many messages waited at the source, and how many were unsettled, in each span: the mean and the most.

        Means are over the chunks of the span. Raises `GraphError` where ``every`` is no length as Polars writes it.
        """
        columns = pl.col("depth", "credit")
        return (
            _spans(self.stages, "end", every, "depth")
            .group_by("pipeline", "at")
            .agg(columns.mean().name.suffix("_mean"), columns.max().name.suffix("_max"))
            .sort("pipeline", "at")
            .collect(engine="streaming")
        )

    def retries(self) -> pl.DataFrame:
        """How many trips of each pipeline and route ended at which attempt, and with which outcome."""
        return (
            self.trips.with_columns(_words("route", "outcome"))
            .group_by("pipeline", "route", "attempts", "outcome")
            .agg(pl.len().alias("messages"))
            .sort("pipeline", "route", "attempts", "outcome", nulls_last=True)
            .collect(engine="streaming")
        )

    def trace(self, id: str) -> pl.DataFrame:
        """The trips of one trace (32 hexadecimal digits) through all pipelines, in the order in which they were received.

        ``waited_ms`` is from enqueued to received, ``transit_ms`` from received to settled. An unknown one gives no rows.
        """
        times = {"waited": ("enqueued", "received"), "transit": ("received", "settled")}
        return (
            self.trips.filter(pl.col("trace") == id.lower())
            .with_columns(
                _words("source", "route", "outcome", "error", "stage"),
                *(
                    (pl.col(end) - pl.col(start)).dt.total_microseconds().truediv(1e3).alias(f"{name}_ms")
                    for name, (start, end) in times.items()
                ),
            )
            .select(
                *("pipeline", "source", "route", "outcome", "attempts", "received", "settled", "waited_ms", "transit_ms"),
                *("error", "stage", "size"),
            )
            .sort("received", "settled")
            .collect(engine="streaming")
        )

    def utilisation(self, every: str = "1m") -> pl.DataFrame:
        """How busy each stage was in each span: messages, microseconds for each, and the share of the span it worked.

        Of a stage with ``workers`` (an asynchronous step, a pool, a sink) their calls are counted, ``served`` messages, and
        the share is that of all of them; of the others, null there, what they take of the pipeline's thread. Where several
        processes recorded into one folder, their shares add up. What is counted is so in the span in which it ended.

        Raises `GraphError` where ``every`` is no length as Polars writes it.
        """
        keys = ["pipeline", "stage", "at"]
        busy = (pl.col("end") - pl.col("start")).dt.total_microseconds().sum()
        span = (pl.col("at").dt.offset_by(every) - pl.col("at")).dt.total_microseconds()
        calls = self.workers.filter(pl.col("blocked").is_null()).with_columns(_words("stage"))
        work = pl.coalesce(pl.col("work") * 1e6, "busy")
        return (
            _spans(self.stages.with_columns(_words("stage")), "end", every, "utilisation")
            .group_by(keys)
            .agg(pl.col("taken", "failed").sum(), busy.alias("busy"))
            .join(
                _spans(calls, "end", every, "utilisation")
                .group_by(keys)
                .agg(pl.col("workers").max(), pl.col("served").sum(), pl.col("busy").sum().alias("work")),
                on=keys,
                how="full",
                coalesce=True,
            )
            .select(
                *(*keys, "taken", "failed", "workers", "served"),
                work.truediv(1e6).alias("busy_s"),
                (work / pl.coalesce("served", "taken").replace(0, None)).alias("service_us"),
                (work / span / pl.col("workers").fill_null(1)).alias("utilisation"),
            )
            .sort(keys)
            .collect(engine="streaming")
        )

    def stage_times(self) -> pl.DataFrame:
        """For each pipeline and stage: chunks, messages taken, given and failed, and the time that chunks took."""
        took = pl.col("end") - pl.col("start")
        return (
            with_quantiles(
                self.stages,
                ["pipeline", "stage"],
                {"chunk": took},
                [
                    pl.len().alias("chunks"),
                    pl.col("taken", "given", "failed").sum(),
                    took.dt.total_microseconds().sum().truediv(1e6).alias("busy_s"),
                    pl.col("credit").max().alias("credit_max"),
                    pl.col("depth").max().alias("depth_max"),
                ],
            )
            .with_columns(_words("stage"))
            .sort("pipeline", "stage")
            .pipe(collected)
        )

    def __repr__(self) -> str:
        """Where it reads."""
        return f"Flows({os.fspath(self.folder)!r})"

    def _repr_html_(self) -> str:
        return as_html(self.folder, self._trips.files(), self.summary)


def _ends() -> list[pl.Expr]:
    return [(pl.col("outcome") == name).sum().alias(name) for name in _OUTCOMES]


def _spans(rows: pl.LazyFrame, time: str, every: str, name: str) -> pl.LazyFrame:
    """Rows with the span of time in which they lie, as ``at``."""
    try:
        pl.select(pl.lit(datetime(1970, 1, 1)).dt.truncate(every))
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise GraphError(f"{name}(every={every!r}): write a length such as '10s', '1m', '1h' or '1d' ({error})") from error
    return rows.with_columns(pl.col(time).dt.truncate(every).alias("at"))


def _words(*names: str) -> pl.Expr:
    return pl.col(*names).cast(pl.String)


def _scan(files: Sequence[Recording], schema: pa.Schema, time: str) -> pl.LazyFrame:
    """All rows, with the pipeline and the day that their folders name; of other days and pipelines nothing is read."""
    rows = pl.from_arrow(schema.empty_table())
    assert isinstance(rows, pl.DataFrame)
    names = {"pipeline": pl.String, "day": pl.Date}
    empty = rows.lazy().select(*(pl.lit(None, dtype).alias(name) for name, dtype in names.items()), pl.all()).head(0)
    parts = [empty]
    new = [file.path for file in files if file.partition is not None]
    if new:
        # A newer recorder may have added a column, an older one may lack it.
        frame = pl.scan_parquet(
            new,
            schema=rows.schema,
            hive_partitioning=True,
            hive_schema=names,
            missing_columns="insert",
            extra_columns="ignore",
        )
        parts.append(frame.select(*names, *rows.columns))
    old = [file.path for file in files if file.partition is None]
    if old:
        frame = pl.scan_parquet(
            old, schema={"pipeline": pl.Categorical(), **rows.schema}, missing_columns="insert", extra_columns="ignore"
        )
        parts.append(frame.select(_words("pipeline"), pl.col(time).dt.date().alias("day"), *rows.columns))
    return pl.concat(parts)
