"""Recordings as they lie on disk: looked through once, then read in the order of time, never loaded whole."""

from __future__ import annotations

import logging
import math
import os
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from warren.core.errors import GraphError, StorageError, shorten
from warren.core.message import TENANT
from warren.pipelines.given import Arrival
from warren.testing.tape import Line

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Choice", "Stored", "Value", "instant", "stored"]

Value = Callable[[Mapping[str, Any]], Any]
_BLOCK = 1 << 20
_SPAN = "1h"

_log = logging.getLogger(__name__)


class Choice(NamedTuple):
    """Which messages of a recording: from ``since`` until before ``until`` (seconds since 1970), of one source, so many."""

    since: float | None = None
    until: float | None = None
    source: str | None = None
    limit: int | None = None

    def takes(self, time: float, source: str) -> bool:
        """Whether a message of that time and source is one of them."""
        in_time = (self.since is None or time >= self.since) and (self.until is None or time < self.until)
        return in_time and self.source in (None, source)


class Stored(ABC):
    """A recording on disk: how many messages it has, from when to when, of which sources."""

    count: int
    start = 0.0
    end = 0.0
    sources: Sequence[str]
    made_up = False
    """Whether the payloads are only bytes of the recorded sizes."""

    @abstractmethod
    def read(self) -> Iterator[tuple[str, Arrival]]:
        """Its messages with their sources, in the order of time, ``at`` from the start on."""


def stored(
    path: str | os.PathLike[str],
    *,
    pipeline: str | None = None,
    prefer: str | None = None,
    value: Value | None = None,
    choice: Choice = Choice(),  # noqa: B008  # immutable
) -> Stored:
    """Look through a folder that a `Recorder` wrote to, or a file of JSON lines; `recorded` says what they hold.

    ``prefer`` is the pipeline whose flows are meant where none is named, if there are any.

    Raises `StorageError` where there is nothing to read, or a line is no recorded message; `GraphError` where a folder has
    flows of several pipelines and none is named.
    """
    place = Path(path)
    if place.is_dir():
        return _Folder(place, pipeline, prefer, value, choice)
    if place.is_file():
        return _Lines(place, value, choice)
    raise StorageError(f"{place} does not exist; name a folder that a Recorder wrote to, or a file of JSON lines")


def instant(at: float | str) -> float:
    """Seconds since 1970 of a number or an ISO 8601 time, which is UTC where it names no zone; `ValueError` for neither.

    >>> instant("1970-01-01T01:00:05+01:00"), instant("1970-01-01 00:00:05"), instant(5)
    (5.0, 5.0, 5.0)
    """
    if not isinstance(at, str):
        if not math.isfinite(at):
            raise ValueError(f"at={at} is no time")
        return float(at)
    time = datetime.fromisoformat(at)
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()


class _Lines(Stored):
    """A file of JSON lines; 8 bytes of memory a line put them in order, and 32 while it is looked through."""

    def __init__(self, file: Path, value: Value | None, choice: Choice) -> None:
        import numpy as np

        self.file = file
        self.value = value
        sources: dict[str, None] = {}
        times, places = array("d"), array("q")
        place = 0
        with file.open("rb") as lines:
            for text in lines:
                found = self._look(text, place)
                place += len(text)
                if found is None:
                    continue
                time, source = found
                if choice.takes(time, source):
                    times.append(time)
                    places.append(place - len(text))
                    sources[source] = None
        # Nearly in order already, as messages are written down when they are settled.
        order = np.argsort(np.frombuffer(times), kind="stable")[: choice.limit]
        self._places = np.frombuffer(places, np.int64)[order]
        self.count = len(order)
        if self.count:
            self.start, self.end = times[order[0]], times[order[-1]]
        self.sources = list(sources)

    def _look(self, text: bytes, place: int) -> tuple[float, str] | None:
        """When a message came and from where; ``None`` of a line that is empty or was never finished."""
        if not text.strip():
            return None
        try:
            line = msgspec.json.decode(text, type=Line)
            if self.value is None:
                line.payload()
            return instant(line.at), line.source
        except (msgspec.MsgspecError, ValueError) as error:
            if not text.endswith(b"\n") and text.lstrip().startswith(b"{"):
                _log.warning(
                    "%s, line %d is cut short, as of a process that was killed; it is left out",
                    self.file,
                    self._number(place),
                )
                return None
            raise self._broken(text, place, error) from error

    def read(self) -> Iterator[tuple[str, Arrival]]:
        """Its messages with their sources, in the order of time."""
        with self.file.open("rb") as lines:
            for place in self._places:
                lines.seek(place)
                text = lines.readline()
                try:
                    line = msgspec.json.decode(text, type=Line)
                    payload = line.payload() if self.value is None else self.value(msgspec.json.decode(text))
                except (msgspec.MsgspecError, ValueError) as error:
                    raise self._broken(text, place, error) from error
                at = round(instant(line.at) - self.start, 6)
                yield line.source, Arrival(payload, at, line.id, line.key, line.headers, line.content_type)

    def _broken(self, text: bytes, place: int, error: Exception) -> StorageError:
        return StorageError(
            f"{self.file}, line {self._number(place)} is no recorded message: {error}; a line is an object such as "
            f'{{"at": 0.5, "value": …}}, and this one is {shorten(text)}'
        )

    def _number(self, place: int) -> int:
        """The number of the line that begins there."""
        number = 1
        with self.file.open("rb") as file:
            while place:
                block = file.read(min(_BLOCK, place))
                number += block.count(b"\n")
                place -= len(block)
        return number


class _Folder(Stored):
    """Recorded flows; those of one hour at a time are in memory."""

    def __init__(self, folder: Path, pipeline: str | None, prefer: str | None, value: Value | None, choice: Choice) -> None:
        import polars as pl

        from warren.analytics.flows import Flows

        trips = Flows(folder).trips
        names = trips.select(pl.col("pipeline").cast(pl.String)).unique().collect()["pipeline"].sort().to_list()
        pipeline = prefer if pipeline is None and prefer in names else pipeline
        if pipeline is None and len(names) > 1:
            raise GraphError(f"recorded({folder}): it holds flows of {', '.join(names)}; say which, with pipeline=...")
        if not names or (pipeline is not None and pipeline not in names):
            wanted = f"no flow of {pipeline!r}" if pipeline is not None else "no flows"
            raise StorageError(f"{folder} holds {wanted}; it holds {', '.join(names) or 'nothing'}")
        received = pl.col("received")
        conditions = [
            pl.col("pipeline").cast(pl.String) == (pipeline or names[0]),
            # A parked or released message has a row for each of its trips; only one of them is its last.
            ~pl.col("outcome").cast(pl.String).is_in(["parked", "released"]),
        ]
        if choice.since is not None:
            conditions.append(received >= datetime.fromtimestamp(choice.since, UTC))
        if choice.until is not None:
            conditions.append(received < datetime.fromtimestamp(choice.until, UTC))
        if choice.source is not None:
            conditions.append(pl.col("source").cast(pl.String) == choice.source)
        self.value = value
        self.made_up = value is None
        self.limit = choice.limit
        self.rows = trips.filter(conditions)
        spans = self.rows.group_by("day", received.dt.truncate(_SPAN).alias("span")).agg(
            pl.len().alias("count"),
            received.min().alias("start"),
            received.max().alias("end"),
            pl.col("source").cast(pl.String).unique().alias("sources"),
        )
        self.spans = spans.sort("span", "day").collect(engine="streaming")
        count, first, last = self.spans.select(pl.col("count").sum(), pl.col("start").min(), pl.col("end").max()).row(0)
        self.count = count if choice.limit is None else min(count, choice.limit)
        if count:
            self.start, self.end = first.timestamp(), last.timestamp()
        self.sources = self.spans["sources"].explode().drop_nulls().unique(maintain_order=True).to_list()

    def read(self) -> Iterator[tuple[str, Arrival]]:
        """Its messages with their sources, in the order of time."""
        for index, row in enumerate(islice(self._ordered(), self.limit)):
            yield row["source"], _trip({"index": index, **row}, self.value, self.start)

    def _ordered(self) -> Iterator[dict[str, Any]]:
        import polars as pl

        for (span,), days in self.spans.group_by("span", maintain_order=True):
            assert isinstance(span, datetime)
            # A row lies in the folder of the day on which it ended, which may be a later one.
            hour = pl.col("received").is_between(span, span + timedelta(hours=1), closed="left")
            yield from _plain(self.rows.filter(pl.col("day").is_in(days["day"].to_list()), hour)).iter_rows(named=True)


def _plain(rows: pl.LazyFrame) -> pl.DataFrame:
    """Rows in the order of time, with words as texts."""
    import polars as pl

    words = [name for name, kind in rows.collect_schema().items() if kind == pl.Categorical]
    return rows.with_columns(pl.col(*words).cast(pl.String)).sort("received", maintain_order=True).collect()


def _trip(row: dict[str, Any], value: Value | None, start: float) -> Arrival:
    headers = None if row["tenant"] is None else {TENANT: row["tenant"]}
    key = None if row["key_hash"] is None else f"{row['key_hash']:016x}"
    payload = bytes(row["size"] or 0) if value is None else value(row)
    at = round(row["received"].timestamp() - start, 6)
    return Arrival(payload, at, str(row["index"]), key, headers)
