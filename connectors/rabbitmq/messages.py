"""Between warren's metadata and AMQP's properties and headers. Properties are taken apart only when someone asks."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq.port import Parcel
from warren.connectors.records import Records
from warren.core.message import ATTEMPTS, Batch, Metadata

__all__ = ["COUNTED", "DELIVERIES", "Heads", "Ids", "batch", "parcel"]

KEY = "warren-key"
DELIVERIES = "warren-deliveries"
"""How often a message was handed out before it was last parked."""
COUNTED = DELIVERIES.encode()

_COUNTS = ("x-delivery-count", "x-acquired-count")
_OURS = frozenset((KEY, DELIVERIES, ATTEMPTS))
_BROKERS = frozenset(
    (
        *_COUNTS,
        "x-death",
        "x-first-death-exchange",
        "x-first-death-queue",
        "x-first-death-reason",
        "x-last-death-exchange",
        "x-last-death-queue",
        "x-last-death-reason",
        "x-stream-offset",
        "x-opt-deaths",
    )
)
BROKEN = "warren-headers-error"

T = TypeVar("T")


class Heads:
    """The encoded properties of a batch, each taken apart once, on request."""

    __slots__ = ("_read", "data", "tags")

    def __init__(self, data: Sequence[bytes], tags: Sequence[int]) -> None:
        self.data = data
        self.tags = tags
        self._read: dict[int, tuple[frames.Properties, dict[str, Any]]] = {}

    def read(self, index: int) -> tuple[frames.Properties, dict[str, Any]]:
        """Properties and headers of one message; what cannot be read is left out, and the reason stands in a header."""
        known = self._read.get(index)
        if known is None:
            try:
                properties = frames.read_properties(self.data[index])
                headers = frames.read_table(properties.headers) if properties.headers else {}
            except ValueError as error:
                properties, headers = frames.Properties(), {BROKEN: str(error)}
            known = self._read[index] = properties, headers
        return known

    def deliveries(self, index: int, again: bool) -> int:
        """How often a message was handed out, this time included, as far as its queue counts."""
        headers = self.read(index)[1]
        before = headers.get(DELIVERIES, 0)
        count = next((headers[name] for name in _COUNTS if name in headers), 1 if again else 0)
        return int(before) + int(count) + 1

    def attempts(self, index: int) -> int:
        """How often a message was tried, from 1."""
        count = self.read(index)[1].get(ATTEMPTS, 1)
        return count if isinstance(count, int) else 1

    def metadata(self, index: int, attempt: int) -> Metadata:
        """What is known of one message."""
        properties, headers = self.read(index)
        return Metadata(
            properties.message_id,
            _texts(headers),
            float(headers["timestamp_in_ms"]) / 1000 if "timestamp_in_ms" in headers else float(properties.timestamp),
            headers.get(KEY),
            attempt,
            properties.content_type,
        )


def _texts(headers: Mapping[str, Any]) -> dict[str, str]:
    if not headers:
        return {}
    return {
        name: value if isinstance(value, str) else _text(value)
        for name, value in headers.items()
        if name not in _OURS and name not in _BROKERS
    }


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


class _Column(Sequence[T], Generic[T]):
    """One column of a batch, computed where it is read."""

    __slots__ = ("_get", "_length")

    def __init__(self, length: int, get: Callable[[int], T]) -> None:
        self._length = length
        self._get = get

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._get(i) for i in range(*index.indices(self._length))]
        return self._get(range(self._length)[index])

    def __iter__(self) -> Iterator[T]:
        return map(self._get, range(self._length))


class _Batch(Batch):
    """A batch whose metadata is read straight from the properties."""

    heads: Heads | None = None

    def metadata(self, index: int) -> Metadata:
        assert self.heads is not None
        return self.heads.metadata(index, self.attempts[index] if self.attempts is not None else 1)


def batch(
    bodies: Sequence[bytes],
    handles: Sequence[int],
    heads: Heads,
    attempts: Sequence[int] | None,
    deliveries: Sequence[int] | None,
) -> Batch:
    """What a source hands over, with columns that are computed where they are read."""
    count = len(bodies)

    def properties(index: int) -> frames.Properties:
        return heads.read(index)[0]

    def enqueued(index: int) -> float:
        return heads.metadata(index, 1).timestamp

    def texts(index: int) -> Mapping[str, str]:
        return _texts(heads.read(index)[1])

    return _Batch(
        bodies,
        handles,
        content_type(heads.data),
        _Column(count, lambda index: properties(index).message_id),
        _Column(count, lambda index: heads.read(index)[1].get(KEY)),
        _Column(count, texts),
        _Column(count, enqueued),
        attempts,
        deliveries,
        heads=heads,
    )


def content_type(heads: Sequence[bytes]) -> str | Sequence[str]:
    """The content type of all, or of each.

    It is the first property, so equal beginnings are found without taking anything apart.
    """
    kinds: dict[bytes, str] = {}
    found = {_start(head) for head in heads}
    for start in found:
        kinds[start] = start[1:].decode(errors="replace")
    if len(found) <= 1:
        return next(iter(kinds.values()), "")
    return [kinds[_start(head)] for head in heads]


def _start(head: bytes) -> bytes:
    return head[2 : 3 + head[2]] if len(head) > 2 and head[0] & 0x80 else b""


class Ids:
    """Ids for messages that have none: distinct among all writers, and stable once given."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def take(self, count: int) -> list[str]:
        """The next ids."""
        prefix, numbers = self._prefix, self._numbers
        return [f"{prefix}-{number:010x}" for number in itertools.islice(numbers, count)]


def parcel(rows: Records, exchange: str, keys: str | Sequence[str], ids: Ids, persistent: bool, now: float) -> Parcel:
    """Encoded messages with their properties, ready to be published."""
    count = len(rows.bodies)
    fresh = ids.take(count)
    names = fresh if rows.ids is None else [given or new for given, new in zip(rows.ids, fresh, strict=True)]
    return Parcel(exchange, keys, names, list(_properties(rows, names, persistent, int(now))), rows.bodies)


def _properties(rows: Records, names: Sequence[str], persistent: bool, now: int) -> Iterator[bytes]:
    if rows.keys is None and rows.headers is None and isinstance(rows.content_type, str):
        # All alike but for the id: what stands before and behind it is made once.
        mark = b"\x00" * 8
        around = frames.properties(rows.content_type, b"", persistent, mark, now)
        before, _, after = around.partition(b"\x08" + mark)
        for name in names:
            data = name.encode()
            yield before + bytes((len(data),)) + data + after
        return
    types = rows.content_type
    for i, name in enumerate(names):
        headers: Mapping[str, Any] = rows.headers[i] if rows.headers is not None else {}
        key = rows.keys[i] if rows.keys is not None else None
        if key is not None:
            headers = {**headers, KEY: key}
        yield frames.properties(
            types if isinstance(types, str) else types[i],
            frames.table(headers) if headers else b"",
            persistent,
            name.encode(),
            now,
        )
