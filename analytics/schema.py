"""The Arrow schema of recorded flows; `docs/flows.md` says the same in words, and a test compares the two."""

from __future__ import annotations

import pyarrow as pa

__all__ = ["DECISIONS", "KIND", "KNOWN", "STAGES", "TABLES", "TRIPS", "VERSION", "WORKERS"]

VERSION = "2"
"""Grows when a column changes its meaning or goes away; a new column alone does not change it."""

KNOWN = ("1", VERSION)
"""The versions that can be read. Files of version 1 have the pipeline as a column, and no folders by pipeline and day."""

KIND = b"warren.flows"
"""The key in a file's metadata whose value names the table and the version, such as ``trips/1``."""

_WORD = pa.dictionary(pa.int32(), pa.string())
_TIME = pa.timestamp("us", tz="UTC")

TRIPS = pa.schema(
    [
        pa.field("source", _WORD, nullable=False),
        pa.field("route", _WORD),
        pa.field("tenant", _WORD),
        pa.field("key_hash", pa.uint64()),
        pa.field("size", pa.int64()),
        pa.field("enqueued", _TIME),
        pa.field("received", _TIME, nullable=False),
        pa.field("settled", _TIME, nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("outcome", _WORD, nullable=False),
        pa.field("error", _WORD),
        pa.field("fingerprint", _WORD),
        pa.field("stage", _WORD),
        pa.field("trace", pa.string()),
    ],
    metadata={KIND: f"trips/{VERSION}"},
)
"""One row for each trip of a message from its source to its end."""

STAGES = pa.schema(
    [
        pa.field("stage", _WORD, nullable=False),
        pa.field("taken", pa.int64(), nullable=False),
        pa.field("given", pa.int64(), nullable=False),
        pa.field("failed", pa.int64(), nullable=False),
        pa.field("start", _TIME, nullable=False),
        pa.field("end", _TIME, nullable=False),
        pa.field("credit", pa.int64(), nullable=False),
        pa.field("depth", pa.int64()),
    ],
    metadata={KIND: f"stages/{VERSION}"},
)
"""One row for each chunk a stage took."""

WORKERS = pa.schema(
    [
        pa.field("stage", _WORD, nullable=False),
        pa.field("start", _TIME, nullable=False),
        pa.field("end", _TIME, nullable=False),
        pa.field("workers", pa.int64(), nullable=False),
        pa.field("waiting", pa.int64(), nullable=False),
        pa.field("served", pa.int64(), nullable=False),
        pa.field("busy", pa.float64(), nullable=False),
        pa.field("stayed", pa.float64(), nullable=False),
        pa.field("service", pa.float64()),
        pa.field("blocked", pa.float64()),
    ],
    metadata={KIND: f"workers/{VERSION}"},
)
"""One row for a span of time in which the workers of a stage were at work."""

DECISIONS = pa.schema(
    [
        pa.field("stage", _WORD, nullable=False),
        pa.field("policy", _WORD, nullable=False),
        pa.field("number", pa.int64(), nullable=False),
        pa.field("at", _TIME, nullable=False),
        pa.field("choice", _WORD),
        pa.field("static", _WORD),
        pa.field("done", _WORD),
        pa.field("propensity", pa.float64(), nullable=False),
        pa.field("mode", _WORD, nullable=False),
        pa.field("reason", _WORD, nullable=False),
        pa.field("inputs", pa.string(), nullable=False),
        pa.field("seconds", pa.float64()),
        pa.field("success", pa.bool_()),
        pa.field("messages", pa.int64(), nullable=False),
    ],
    metadata={KIND: f"decisions/{VERSION}"},
)
"""One row for each decision of a model that is over."""

TABLES = {"trips": TRIPS, "stages": STAGES, "workers": WORKERS, "decisions": DECISIONS}
"""All tables by name."""
