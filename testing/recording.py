"""Recorded messages, replayed in virtual time as they came."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from warren.core.codecs import decoder
from warren.core.errors import GraphError
from warren.pipelines.given import Arrival, Script
from warren.pipelines.pipeline import Pipeline
from warren.pipelines.trial import Ends, Trial, try_out
from warren.testing.stored import Stored, Value, stored

__all__ = ["Recording", "parted", "recorded", "replay"]

_SAMPLE = bytes(8)


class Recording(NamedTuple):
    """Messages by the names of the sources that they came from, from ``start`` on, which is in seconds since 1970."""

    start: float
    sources: Mapping[str, Sequence[Arrival]]

    @property
    def arrivals(self) -> list[Arrival]:
        """All of them, in the order in which they came; `Pipeline.test` takes them too."""
        return sorted((each for source in self.sources.values() for each in source), key=lambda each: each.at)


def recorded(path: str | os.PathLike[str], *, pipeline: str | None = None, value: Value | None = None) -> Recording:
    """Read recorded messages: from a folder that a `Recorder` wrote to, or from a file of JSON lines, such as a `Tape`'s.

    - ``pipeline``: of which pipeline, where the folder holds flows of several
    - ``value``: makes the payload of a message. It is given the row of ``trips`` as a dict, with ``index``, which counts
      the messages, or the line as a dict. A recorded flow holds no payloads: without it they are bytes of the recorded size

    A line is an object with ``at`` (seconds, or an ISO 8601 time), a payload (``value``, ``body`` or ``base64``), and, if
    need be, ``id``, ``key``, ``headers``, ``content_type`` and ``source``. A last line that was never finished is left out.
    Of a recorded flow each message comes once, when it was read for the last time; its key is the hash of the key it had.

    Raises `StorageError` where there is nothing to read, or a line is no such object, with its number; `GraphError` where a
    parameter is missing.
    """
    return _loaded(stored(path, pipeline=pipeline, value=value))


def _loaded(found: Stored) -> Recording:
    sources: dict[str, list[Arrival]] = {}
    for source, arrival in found.read():
        sources.setdefault(source, []).append(arrival)
    return Recording(found.start, sources)


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
    >>> from pathlib import Path
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
    made_up = False
    if not isinstance(recording, Recording):
        found = stored(recording, value=value, prefer=pipeline.name)
        made_up, recording = found.made_up, _loaded(found)
    scripts = {}
    for name, source in parted(pipeline, recording.sources, made_up).items():
        arrivals = recording.arrivals if source is None else recording.sources.get(source, ())
        scripts[name] = Script([msgspec.structs.replace(each, at=each.at / speed) for each in arrivals])
    return try_out(pipeline, scripts.__getitem__, recording.start, () if faults is None else (faults,))


def parted(pipeline: Pipeline, sources: Iterable[str], made_up: bool) -> dict[str, str | None]:
    """Of which recorded source each source of a pipeline gets the messages; ``None`` stands for all of them."""
    inlets = {inlet.name: inlet for inlet in pipeline.flow.source.inlets()}
    for inlet in inlets.values() if made_up else ():
        try:
            decoder(inlet.type)(_SAMPLE)
        except Exception as error:
            raise GraphError(
                f"pipeline {pipeline.name!r}: a recorded flow holds no payloads, and {inlet.name} cannot decode bytes of "
                f"the recorded sizes; say how to make a payload from a row, with value=lambda row: ..., or keep messages "
                f"with a Tape"
            ) from error
    if len(inlets) == 1:
        return dict.fromkeys(inlets)
    if strange := [name for name in sources if name not in inlets]:
        raise GraphError(
            f"pipeline {pipeline.name!r}: recorded messages came from {strange[0]!r}, and its sources are "
            f"{', '.join(map(repr, inlets))}; rename the sources of the recording"
        )
    return {name: name for name in inlets}
