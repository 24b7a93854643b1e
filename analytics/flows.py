"""Reads recorded flows as Polars frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from warren.analytics.layout import Recording, Recordings
from warren.analytics.quantiles import with_quantiles
from warren.analytics.schema import STAGES, TRIPS
from warren.core.errors import GraphError, StorageError
from warren.core.receipt import Kind

__all__ = ["Flows"]

_OUTCOMES = [kind.name.lower() for kind in sorted(Kind, key=lambda kind: (kind is not Kind.DELIVERED, kind))]
_TIMES = {"latency": pl.col("settled") - pl.col("enqueued"), "transit": pl.col("settled") - pl.col("received")}


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

    @property
    def trips(self) -> pl.LazyFrame:
        """One row for each trip of a message."""
        return _scan(self._trips.files(), TRIPS, "settled")

    @property
    def stages(self) -> pl.LazyFrame:
        """One row for each chunk a stage took."""
        return _scan(self._stages.files(), STAGES, "end")

    def summary(self) -> pl.DataFrame:
        """For each pipeline and route: messages by outcome, attempts, bytes, and how long messages took.

        ``latency`` is from enqueued to settled, where the source knows when a message was enqueued; ``transit`` from
        received to settled.
        """
        outcomes = [(pl.col("outcome") == name).sum().alias(name) for name in _OUTCOMES]
        return (
            with_quantiles(
                self.trips.with_columns(_words("route", "outcome")),
                ["pipeline", "route"],
                _TIMES,
                [
                    pl.len().alias("messages"),
                    *outcomes,
                    pl.col("attempts").cast(pl.Int64).sum(),
                    pl.col("size").sum().alias("bytes"),
                ],
            )
            .sort("pipeline", "route", nulls_last=True)
            .collect(engine="streaming")
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
            .collect()
        )

    def rate(self, every: str = "1m") -> pl.DataFrame:
        """How many messages of each pipeline ended in each span of time, by outcome; ``at`` is where a span begins.

        ``every`` is a length as Polars writes it: ``"10s"``, ``"1m"``, ``"1h"``, ``"1d"``. A span without messages has no
        row. Raises `GraphError` where it is no such length.
        """
        outcomes = [(pl.col("outcome") == name).sum().alias(name) for name in _OUTCOMES]
        try:
            return (
                self.trips.with_columns(_words("outcome"), pl.col("settled").dt.truncate(every).alias("at"))
                .group_by("pipeline", "at")
                .agg(pl.len().alias("messages"), *outcomes, pl.col("size").sum().alias("bytes"))
                .sort("pipeline", "at")
                .collect()
            )
        except (pl.exceptions.PolarsError, TypeError) as error:
            raise GraphError(f"rate(every={every!r}): write a length such as '10s', '1m', '1h' or '1d' ({error})") from error

    def stage_times(self) -> pl.DataFrame:
        """For each pipeline and stage: chunks, messages taken, given and failed, and the time that chunks took."""
        took = pl.col("end") - pl.col("start")
        return (
            with_quantiles(
                self.stages.with_columns(_words("stage")),
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
            .sort("pipeline", "stage")
            .collect(engine="streaming")
        )

    def __repr__(self) -> str:
        """Where it reads."""
        return f"Flows({os.fspath(self.folder)!r})"

    def _repr_html_(self) -> str:
        return f"<p><code>{self!r}</code></p>{self.summary()._repr_html_()}"


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
