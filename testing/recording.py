"""Recorded messages, replayed in virtual time as they came."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from warren.core.errors import GraphError, StorageError, shorten
from warren.core.message import TENANT
from warren.pipelines.given import Arrival, Script
from warren.pipelines.pipeline import Pipeline
from warren.pipelines.trial import Ends, Trial, try_out
from warren.testing.tape import Line

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Recording", "recorded", "replay"]

Value = Callable[[Mapping[str, Any]], Any]


class Recording(NamedTuple):
    """Messages by the names of the sources that they came from, from ``start`` on, which is in seconds since 1970."""

    start: float
    sources: Mapping[str, Sequence[Arrival]]

    @property
    def arrivals(self) -> list[Arrival]:
        """All of them, in the order in which they came."""
        return sorted((each for source in self.sources.values() for each in source), key=lambda each: each.at)


class _Row(NamedTuple):
    time: float
    source: str
    arrival: Arrival


def recorded(path: str | os.PathLike[str], *, pipeline: str | None = None, value: Value | None = None) -> Recording:
    """Read recorded messages: from a folder that a `Recorder` wrote to, or from a file of JSON lines, such as a `Tape`'s.

    - ``pipeline``: of which pipeline, where the folder holds flows of several
    - ``value``: makes the payload of a message. A recorded flow holds none, so there it is needed; it is given the row of
      ``trips`` as a dict, with ``index``, which counts the messages. From JSON lines it is given the line as a dict

    A line is an object with ``at`` (seconds, or an ISO 8601 time), a payload (``value``, ``body`` or ``base64``), and, if
    need be, ``id``, ``key``, ``headers``, ``content_type`` and ``source``. Of a recorded flow each message comes once, when
    it was read for the last time; its key is the hash of the key that it had.

    Raises `StorageError` where there is nothing to read, or a line is no such object, with its number; `GraphError` where a
    parameter is missing.
    """
    place = Path(path)
    if place.is_dir():
        rows = _flows(place, pipeline, value)
    elif place.is_file():
        rows = _lines(place, value)
    else:
        raise StorageError(f"{place} does not exist; name a folder that a Recorder wrote to, or a file of JSON lines")
    rows.sort(key=lambda row: row.time)
    start = rows[0].time if rows else 0.0
    sources: dict[str, list[Arrival]] = {}
    for row in rows:
        arrival = msgspec.structs.replace(row.arrival, at=round(row.time - start, 6))
        sources.setdefault(row.source, []).append(arrival)
    return Recording(start, sources)


def _lines(file: Path, value: Value | None) -> list[_Row]:
    rows = []
    with file.open("rb") as lines:
        for number, text in enumerate(lines, 1):
            if not text.strip():
                continue
            try:
                line = msgspec.json.decode(text, type=Line)
                payload = line.payload() if value is None else value(msgspec.json.decode(text))
                time = _seconds(line.at)
            except (msgspec.MsgspecError, ValueError) as error:
                raise StorageError(
                    f"{file}, line {number} is no recorded message: {error}; a line is an object such as "
                    f'{{"at": 0.5, "value": …}}, and this one is {shorten(text)}'
                ) from error
            rows.append(_Row(time, line.source, Arrival(payload, 0.0, line.id, line.key, line.headers, line.content_type)))
    return rows


def _seconds(at: float | str) -> float:
    if not isinstance(at, str):
        if not math.isfinite(at):
            raise ValueError(f"at={at} is no time")
        return float(at)
    time = datetime.fromisoformat(at)
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()


def _flows(folder: Path, pipeline: str | None, value: Value | None) -> list[_Row]:
    import polars as pl

    from warren.analytics.flows import Flows

    if value is None:
        raise GraphError(
            f"recorded({folder}): a recorded flow holds no payloads; say how to make one from a row, with value=lambda row: "
            f"..., or keep messages with a Tape"
        )
    trips = Flows(folder).trips
    names = trips.select(pl.col("pipeline").cast(pl.String)).unique().collect()["pipeline"].sort().to_list()
    if pipeline is None and len(names) > 1:
        raise GraphError(f"recorded({folder}): it holds flows of {', '.join(names)}; say which, with pipeline=...")
    if not names or (pipeline is not None and pipeline not in names):
        wanted = f"no flow of {pipeline!r}" if pipeline is not None else "no flows"
        raise StorageError(f"{folder} holds {wanted}; it holds {', '.join(names) or 'nothing'}")
    # A parked or released message has a row for each of its trips; only one of them is its last.
    ended = trips.filter(
        pl.col("pipeline").cast(pl.String) == (pipeline or names[0]),
        ~pl.col("outcome").cast(pl.String).is_in(["parked", "released"]),
    )
    words = [name for name, kind in ended.collect_schema().items() if kind == pl.Categorical]
    frame = ended.with_columns(pl.col(*words).cast(pl.String)).sort("received", maintain_order=True).collect()
    return [_trip(row, value) for row in _indexed(frame)]


def _indexed(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [{"index": index, **row} for index, row in enumerate(frame.iter_rows(named=True))]


def _trip(row: dict[str, Any], value: Value) -> _Row:
    headers = None if row["tenant"] is None else {TENANT: row["tenant"]}
    key = None if row["key_hash"] is None else f"{row['key_hash']:016x}"
    return _Row(row["received"].timestamp(), row["source"], Arrival(value(row), 0.0, str(row["index"]), key, headers))


def replay(
    pipeline: Pipeline,
    recording: str | os.PathLike[str] | Recording,
    *,
    speed: float = 1.0,
    value: Value | None = None,
    faults: Ends | None = None,
) -> Trial:
    r"""Replay recorded messages through a pipeline in virtual time, with the pauses that were between them.

    - ``recording``: what `recorded` gives, or reads: a folder of recorded flows, or a file of JSON lines
    - ``speed``: how many times as fast as they came
    - ``value``: as for `recorded`; ``faults``: as for `Pipeline.test`

    The pipeline's time starts at that of the first message. A pipeline with one source gets all of them; where there are
    several, each gets those of its name. Of a folder, the flows of the pipeline's own name are read, or the only ones.

    Raises what `recorded` raises; `GraphError` where the speed is not above zero, or messages came from a source that the
    pipeline lacks.

    >>> import tempfile
    >>> from warren.connectors import memory
    >>> from warren.operators import batch
    >>> file = Path(tempfile.mkdtemp(), "orders.jsonl")
    >>> _ = file.write_text('{"at": 10, "value": "a"}\n{"at": 11, "value": "b"}\n{"at": 99, "value": "c"}\n')
    >>> pairs = Pipeline("pairs", memory.items([]) | batch(2, "5s") | memory.into([]))
    >>> replay(pairs, file).values
    [['a', 'b'], ['c']]
    """
    if not isinstance(speed, int | float) or not 0 < speed < math.inf:
        raise GraphError(f"replay(speed={speed!r}): give a number above 0; 10 replays ten times as fast")
    if not isinstance(recording, Recording):
        recording = recorded(recording, pipeline=_which(recording, pipeline), value=value)
    inlets = [inlet.name for inlet in pipeline.flow.source.inlets()]
    if len(inlets) == 1:
        sources: Mapping[str, Sequence[Arrival]] = {inlets[0]: recording.arrivals}
    elif strange := [name for name in recording.sources if name not in inlets]:
        raise GraphError(
            f"pipeline {pipeline.name!r}: recorded messages came from {strange[0]!r}, and its sources are "
            f"{', '.join(map(repr, inlets))}; rename the sources of the recording"
        )
    else:
        sources = recording.sources
    scripts = {
        name: Script([msgspec.structs.replace(each, at=each.at / speed) for each in arrivals])
        for name, arrivals in sources.items()
    }
    ends = () if faults is None else (faults,)
    return try_out(pipeline, lambda name: scripts.get(name, Script(())), recording.start, ends)


def _which(path: str | os.PathLike[str], pipeline: Pipeline) -> str | None:
    """The name of the pipeline, if the folder holds flows of it; a test may call it otherwise than the recorded one."""
    if not Path(path).is_dir():
        return None
    import polars as pl

    from warren.analytics.flows import Flows

    named = Flows(path).trips.filter(pl.col("pipeline").cast(pl.String) == pipeline.name)
    return pipeline.name if named.limit(1).collect().height else None
