"""What a worker tells of its pipeline about once a second: small plain values, as JSON on the wire."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from warren.core.breaker import State
from warren.core.errors import DecodeError
from warren.core.health import Health
from warren.core.receipt import Kind

__all__ = ["KINDS", "LATENCIES", "Chunks", "Decided", "Edge", "Graph", "Node", "Snapshot", "Work", "read", "written"]

LATENCIES = tuple(0.0005 * 2 ** (step / 4) for step in range(92))
"""The upper bounds, in seconds, of the classes in which times to the end are counted: half a millisecond to an hour."""

VERSION = 1


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step in the drawing. ``id`` is the name under which observers are told of it; ``queue`` the queue behind it."""

    id: str
    name: str
    kind: Literal["source", "step", "sink", "letters"]
    note: str = ""
    queue: str = ""


class Edge(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where values go from one step to another; ``failures`` says that only failed messages do."""

    source: str
    target: str
    label: str = ""
    failures: bool = False


class Graph(msgspec.Struct, frozen=True):
    """The drawing of a pipeline."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()


class Chunks(msgspec.Struct):
    """What one stage did with the chunks it took, added up: the columns that `warren.analytics.loads.gathered` takes."""

    stage: str
    chunks: int = 0
    taken: int = 0
    given: int = 0
    failed: int = 0
    thread: float = 0.0
    squared: float = 0.0
    stayed: float = 0.0
    reads: int = 0
    behind: int = 0
    low: float = 0.0
    high: float = 0.0


class Work(msgspec.Struct):
    """What the workers of one stage did, added up; ``source`` counts what was told of a source."""

    stage: str
    workers: int = 0
    served: int = 0
    busy: float = 0.0
    stayed: float = 0.0
    blocked: float = 0.0
    source: int = 0
    waited: float = 0.0
    took: float = 0.0
    end: int = 0
    first: float = 0.0
    last: float = 0.0
    low: float = 0.0
    high: float = 0.0


class Decided(msgspec.Struct):
    """What one controller decided: how often, of how many the outcome is known, how many went well, how often what was done.

    ``newest`` are the last ones, with all their fields.
    """

    policy: str
    stage: str
    mode: str = "shadow"
    count: int = 0
    known: int = 0
    well: int = 0
    choices: dict[str, int] = msgspec.field(default_factory=dict)
    newest: list[dict[str, Any]] = msgspec.field(default_factory=list)


class Snapshot(msgspec.Struct, omit_defaults=True):
    """One worker and its pipeline in the ``seconds`` until ``at`` (seconds since 1970).

    - ``ended``: messages that reached their end, by `Kind` in small letters; ``latencies``: how many of them took how long,
      in the classes of `LATENCIES`, a last one for those beyond
    - ``letters``: dead letters by the class of error; ``dead``: by their queue
    - ``breakers``: circuit breakers that are not closed
    - ``last``: the worker ends
    """

    pipeline: str
    worker: str
    number: int
    at: float
    seconds: float
    version: int = VERSION
    graph: Graph = Graph()
    chunks: list[Chunks] = []
    work: list[Work] = []
    received: int = 0
    ended: dict[str, int] = {}
    latencies: dict[int, int] = {}
    letters: dict[str, int] = {}
    dead: dict[str, int] = {}
    in_flight: int = 0
    credit: int = 0
    depth: int | None = None
    breakers: dict[str, State] = {}
    decided: list[Decided] = []
    health: Health | None = None
    last: bool = False


KINDS = {kind: kind.name.lower() for kind in Kind}

_encoder = msgspec.json.Encoder(enc_hook=str)
_decoder = msgspec.json.Decoder(Snapshot)


def written(snapshot: Snapshot) -> bytes:
    """A snapshot as JSON; what a model chose among may be of any type, and is told as its text."""
    return _encoder.encode(snapshot)


def read(body: bytes) -> Snapshot:
    """A snapshot from JSON. Raises `DecodeError` where it is none, or one of another version.

    >>> read(written(Snapshot("orders", "w1", 1, 10.0, 1.0))).pipeline
    'orders'
    """
    try:
        snapshot = _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"a report is none: {error}; only workers may write where a dashboard reads") from error
    if snapshot.version != VERSION:
        raise DecodeError(
            f"worker {snapshot.worker!r} reports in version {snapshot.version}, this dashboard reads {VERSION}; run both "
            f"with the same version of warren"
        )
    return snapshot
