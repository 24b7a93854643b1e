"""Flights as JSON messages, a few of them broken on purpose."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
import polars as pl

__all__ = ["BROKEN", "broken", "messages", "number"]

BROKEN = ("truncated", "wrong type", "missing field")
"""The ways in which records are broken, in turn."""

_EVERY, _FIRST = 2801, 1400
_BLOCK = 16_384
_NUMBER = re.compile(rb'"id":(\d+)')


def broken(id: int) -> str | None:
    """How the message of this flight is broken, if it is: about 120 of the year's are.

    >>> broken(0), broken(1400), broken(4201)
    (None, 'truncated', 'wrong type')
    """
    return BROKEN[id // _EVERY % len(BROKEN)] if id % _EVERY == _FIRST else None


def messages(flights: pl.DataFrame, start: int = 0) -> Iterator[bytes]:
    """The flights from ``start`` on, each as the body of a message."""
    table = flights.with_columns(pl.col("scheduled").dt.to_string("%Y-%m-%dT%H:%M:%SZ"))
    for first in range(start, table.height, _BLOCK):
        block = table.slice(first, _BLOCK)
        bodies = block.write_ndjson().encode().splitlines()
        for place, id in enumerate(block["id"]):
            if (how := broken(id)) is not None:
                bodies[place] = _break(bodies[place], how)
        yield from bodies


def number(body: bytes) -> int | None:
    """The flight a message is about, even where the message is broken; None where it does not say.

    >>> number(b'{"id":17,"sched')
    17
    """
    found = _NUMBER.search(body)
    return int(found[1]) if found else None


def _break(body: bytes, how: str) -> bytes:
    if how == "truncated":
        return body[: len(body) // 2]
    record = msgspec.json.decode(body)
    if how == "wrong type":
        record["distance"] = "far"
    else:
        del record["origin"]
    return msgspec.json.encode(record)
