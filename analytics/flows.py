"""Reads recorded flows as Polars frames."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from warren.analytics.schema import KIND, STAGES, TRIPS
from warren.core.errors import GraphError, StorageError
from warren.core.receipt import Kind

__all__ = ["Flows"]

_OUTCOMES = [kind.name.lower() for kind in sorted(Kind, key=lambda kind: (kind is not Kind.DELIVERED, kind))]
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


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
        self._known: set[Path] = set()
        if not self.folder.is_dir():
            what = "is a file, not a folder" if self.folder.exists() else "does not exist"
            raise StorageError(f"{self.folder} {what}; name the folder that a Recorder writes to")

    @property
    def trips(self) -> pl.LazyFrame:
        """One row for each trip of a message."""
        return self._scan("trips", TRIPS)

    @property
    def stages(self) -> pl.LazyFrame:
        """One row for each chunk a stage took."""
        return self._scan("stages", STAGES)

    def _scan(self, table: str, schema: pa.Schema) -> pl.LazyFrame:
        frame = pl.from_arrow(schema.empty_table())
        assert isinstance(frame, pl.DataFrame)
        # Files in the making begin with a dot.
        files = sorted(file for file in (self.folder / table).glob("*.parquet") if not file.name.startswith("."))
        for file in files:
            if file not in self._known:
                _check(file, schema.metadata[KIND].decode())
                self._known.add(file)
        if not files:
            return frame.lazy()
        # A newer recorder may have added a column, an older one may lack it.
        return pl.scan_parquet(files, schema=frame.schema, missing_columns="insert", extra_columns="ignore")

    def summary(self) -> pl.DataFrame:
        """For each pipeline and route: messages by outcome, attempts, bytes, and how long messages took.

        ``latency`` is from enqueued to settled, where the source knows when a message was enqueued; ``transit`` from
        received to settled.
        """
        outcomes = [(pl.col("outcome") == name).sum().alias(name) for name in _OUTCOMES]
        return (
            self.trips.with_columns(_words("pipeline", "route", "outcome"))
            .group_by("pipeline", "route")
            .agg(
                pl.len().alias("messages"),
                *outcomes,
                pl.col("attempts").cast(pl.Int64).sum(),
                pl.col("size").sum().alias("bytes"),
                *_milliseconds("latency", pl.col("settled") - pl.col("enqueued")),
                *_milliseconds("transit", pl.col("settled") - pl.col("received")),
            )
            .sort("pipeline", "route", nulls_last=True)
            .collect()
        )

    def errors(self) -> pl.DataFrame:
        """Dead letters by pipeline, error, fingerprint and stage, the most frequent first."""
        return (
            self.trips.filter(pl.col("outcome").cast(pl.String) == Kind.DEAD_LETTERED.name.lower())
            .with_columns(_words("pipeline", "error", "fingerprint", "stage"))
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
                self.trips.with_columns(_words("pipeline", "outcome"), pl.col("settled").dt.truncate(every).alias("at"))
                .group_by("pipeline", "at")
                .agg(pl.len().alias("messages"), *outcomes, pl.col("size").sum().alias("bytes"))
                .sort("pipeline", "at")
                .collect()
            )
        except (pl.exceptions.PolarsError, TypeError) as error:
            raise GraphError(f"rate(every={every!r}): write a length such as '10s', '1m', '1h' or '1d' ({error})") from error

    def stage_times(self) -> pl.DataFrame:
        """For each pipeline and stage: chunks, messages taken, given and failed, and the time that chunks took."""
        return (
            self.stages.with_columns(_words("pipeline", "stage"))
            .group_by("pipeline", "stage")
            .agg(
                pl.len().alias("chunks"),
                pl.col("taken", "given", "failed").sum(),
                (pl.col("end") - pl.col("start")).dt.total_microseconds().sum().truediv(1e6).alias("busy_s"),
                *_milliseconds("chunk", pl.col("end") - pl.col("start")),
                pl.col("credit").max().alias("credit_max"),
                pl.col("depth").max().alias("depth_max"),
            )
            .sort("pipeline", "stage")
            .collect()
        )

    def __repr__(self) -> str:
        """Where it reads."""
        return f"Flows({os.fspath(self.folder)!r})"

    def _repr_html_(self) -> str:
        return f"<p><code>{self!r}</code></p>{self.summary()._repr_html_()}"


def _words(*names: str) -> pl.Expr:
    return pl.col(*names).cast(pl.String)


def _milliseconds(name: str, length: pl.Expr) -> list[pl.Expr]:
    return [
        length.dt.total_microseconds().quantile(q, "nearest").truediv(1e3).alias(f"{name}_{label}_ms")
        for label, q in _QUANTILES.items()
    ]


def _check(file: Path, expected: str) -> None:
    remedy = f"move it out of {file.parent}, where only recorders write"
    try:
        metadata = pq.read_schema(file).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{file} cannot be read as Parquet ({str(error).splitlines()[0]}); {remedy}") from error
    kind = metadata.get(KIND, b"").decode("utf-8", "replace")
    if not kind:
        raise StorageError(f"{file} is Parquet, but no recording of flows; {remedy}")
    if kind != expected:
        raise StorageError(f"{file} holds {kind!r} where {expected!r} is expected: another table or version; {remedy}")
