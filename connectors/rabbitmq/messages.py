"""Between warren's metadata and AMQP's properties and headers. Properties are taken apart only when someone asks."""

from __future__ import annotations

import itertools
import json
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import methodcaller
from typing import Any, Generic, TypeVar

from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq.port import Parcel
from warren.connectors.records import Records
from warren.core.errors import EncodeError
from warren.core.message import ATTEMPTS, TRACE, Batch, Columns, Metadata

__all__ = [
    "BROKEN",
    "BROKERS",
    "COUNTED",
    "DELIVERIES",
    "ERROR",
    "FIRST_FAILED",
    "KEY",
    "PROPERTIES",
    "Heads",
    "Ids",
    "batch",
    "parcel",
    "sendable",
]

KEY = "warren-key"
DELIVERIES = "warren-deliveries"
"""How often a message was handed out before it was last parked."""
COUNTED = DELIVERIES.encode()

_LOST = "x-delivery-count"
_COUNTS = ("x-acquired-count", _LOST)
"""How often a queue handed a message out before: RabbitMQ 4.3 counts all in the first, and only losses in the second."""
FIRST_FAILED = "warren-first-failed"
"""When a message that waits for another attempt failed for the first time."""
PROPERTIES = "warren-properties"
"""In a dead letter: the properties that the message had, as they stood in its content header, in base64."""
ERROR = "warren-error"
"""In a dead letter: what kind of error it was. A message with this header is a letter."""
_LARGEST_ORIGIN = 16 << 10
_OURS = frozenset((KEY, DELIVERIES, ATTEMPTS, FIRST_FAILED))
_OURS_IN_LETTERS = frozenset((KEY, DELIVERIES))
BROKERS = frozenset(
    (
        *_COUNTS,
        "x-death",
        "x-delay",
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

_FOLLOWED = re.compile(
    b"\x0b" + TRACE.encode() + rb"S\x00\x00\x00\x37[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]"
).search
"""Whether encoded headers have a trace context that says that the message is followed."""
_SURELY_SHORT = 63
"""Characters that never have more than 255 bytes."""
_TYPE = 0x80
"""The bit of the first byte of the flags that says that a content type follows them."""
_HEADERS, _MODE, _PRIORITY, _ID = 0x2000, 0x1000, 0x0800, 0x0080
_BEFORE_ID = 0x4700
"""The bits of the properties of varying length that stand before the message id."""

T = TypeVar("T")


class Heads:
    """The encoded properties of a batch, each taken apart once, on request."""

    __slots__ = ("_read", "content_type", "data", "has_ids", "id_at", "plain")

    def __init__(self, data: Sequence[bytes]) -> None:
        self.data = data
        self._read: dict[int, tuple[frames.Properties, dict[str, Any]]] = {}
        start = _start(data[0])
        # Flags and content type come first: where they are the same in all, one look tells what there is to read.
        alike = all(map(methodcaller("startswith", start), data))
        flags = int.from_bytes(start[:2], "big")
        self.plain = alike and not flags & _HEADERS
        """Whether none has headers."""
        self.content_type = start[3:].decode(errors="replace") if alike else _content_types(data)
        self.has_ids = not alike or bool(flags & _ID)
        """Whether any may have a message id."""
        self.id_at = (
            len(start) + (flags & _MODE > 0) + (flags & _PRIORITY > 0) if self.plain and not flags & _BEFORE_ID else 0
        )
        """Where the message id stands in each; 0 where that differs."""

    def read(self, index: int) -> tuple[frames.Properties, dict[str, Any]]:
        """Properties and headers of one message; what cannot be read is left out, and the reason stands in a header."""
        known = self._read.get(index)
        if known is None:
            properties, headers = frames.Properties(), {}
            try:
                properties = frames.read_properties(self.data[index])
                headers = frames.read_table(properties.headers) if properties.headers else {}
            except ValueError as error:
                headers = {BROKEN: str(error)}
            known = self._read[index] = properties, headers
        return known

    def deliveries(self, index: int, again: bool) -> int:
        """How often a message was handed out, this time included, as far as its queue counts."""
        headers = self.read(index)[1]
        before = max(_number(headers, DELIVERIES), 0)
        count = next((_number(headers, name) for name in _COUNTS if name in headers), 1 if again else 0)
        return int(before + count) + 1

    def attempts(self, index: int) -> int:
        """How often a message was tried, from 1."""
        return max(int(_number(self.read(index)[1], ATTEMPTS)), 1)

    def failures(self, index: int) -> int:
        """How often its queue noted that a message failed, or was lost with a worker."""
        return max(int(_number(self.read(index)[1], _LOST)), 0)

    def losses(self, index: int) -> int:
        """How often a message that comes again was handed out without coming to an end, this time included."""
        return self.deliveries(index, True) - (self.attempts(index) - 1)

    def key(self, index: int) -> str | None:
        """The key of a message, where it has one."""
        key = self.read(index)[1].get(KEY)
        return key if key is None or isinstance(key, str) else _text(key)

    def metadata(self, index: int, attempt: int) -> Metadata:
        """What is known of one message."""
        properties, headers = self.read(index)
        return Metadata(
            properties.message_id,
            _texts(headers),
            _number(headers, "timestamp_in_ms") / 1000 or float(properties.timestamp),
            self.key(index),
            attempt,
            properties.content_type,
        )


def _number(headers: Mapping[str, Any], name: str) -> float:
    """A header that counts or measures; 0 where it is missing or says something else."""
    value = headers.get(name, 0)
    return value if isinstance(value, int | float) and -(2**63) <= value < 2**63 else 0


def _texts(headers: Mapping[str, Any]) -> dict[str, str]:
    if not headers:
        return {}
    # A letter tells of the attempts that came before it; they are not its own.
    hidden = _OURS if ERROR not in headers else _OURS_IN_LETTERS
    return {
        name: value if isinstance(value, str) else _text(value)
        for name, value in headers.items()
        if name not in hidden and name not in BROKERS
    }


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _start(head: bytes) -> bytes:
    """Flags and content type."""
    return head[: 3 + head[2]] if len(head) > 2 and head[0] & _TYPE else head[:2]


def _content_types(heads: Sequence[bytes]) -> Sequence[str]:
    names = {start: start[3:].decode(errors="replace") for start in set(map(_start, heads))}
    return [names[_start(head)] for head in heads]


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

    def columns(self, places: Sequence[int]) -> Columns:
        heads = self.heads
        assert heads is not None
        if heads.plain and not heads.has_ids:
            return Columns()
        if heads.plain:
            data, at = heads.data, heads.id_at
            if at:
                return Columns([data[i][at + 1 : at + 1 + data[i][at]].decode(errors="replace") for i in places])
            return Columns([heads.read(i)[0].message_id for i in places])
        return Columns.of([self.metadata(i) for i in places])

    def metadata(self, index: int) -> Metadata:
        assert self.heads is not None
        return self.heads.metadata(index, self.attempts[index] if self.attempts is not None else 1)

    def sampled(self) -> Sequence[int]:
        assert self.heads is not None
        return () if self.heads.plain else [i for i, head in enumerate(self.heads.data) if _FOLLOWED(head)]

    def origin(self, index: int) -> Mapping[str, str]:
        assert self.heads is not None
        head, first = self.heads.data[index], self.heads.read(index)[1].get(FIRST_FAILED)
        # A content header has to fit into one frame, the letter's other headers included.
        found = {PROPERTIES: b64encode(head).decode()} if len(head) <= _LARGEST_ORIGIN else {}
        return found if first is None else {**found, FIRST_FAILED: _text(first)}


def batch(
    bodies: Sequence[bytes],
    handles: Sequence[int],
    heads: Heads,
    attempts: Sequence[int] | None = None,
    deliveries: Sequence[int] | None = None,
) -> Batch:
    """What a source hands over, with columns that are computed where they are read."""
    count = len(bodies)
    return _Batch(
        bodies,
        handles,
        heads.content_type,
        _Column(count, lambda index: heads.read(index)[0].message_id),
        _Column(count, heads.key),
        _Column(count, lambda index: _texts(heads.read(index)[1])),
        _Column(count, lambda index: heads.metadata(index, 1).timestamp),
        attempts,
        deliveries,
        heads=heads,
    )


class Ids:
    """Ids for messages that have none: distinct among all writers, and stable once given."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def take(self, count: int) -> list[str]:
        """The next ids."""
        prefix, numbers = self._prefix, self._numbers
        return [f"{prefix}-{number:010x}" for number in itertools.islice(numbers, count)]


def sendable(rows: Records, keys: str | Sequence[str]) -> dict[int, Exception]:
    """The messages that AMQP has no place for, by position, and why: names, keys and ids have up to 255 bytes."""
    errors: dict[int, Exception] = {}
    for i in range(len(rows.bodies)):
        try:
            frames.short(keys if isinstance(keys, str) else keys[i])
            parcel(rows.part(slice(i, i + 1)), "", "", Ids(), True, 0.0)
        except (ValueError, TypeError) as error:
            errors[i] = EncodeError(f"a message cannot be sent over AMQP: {error}")
    return errors


def parcel(rows: Records, exchange: str, keys: str | Sequence[str], ids: Ids, persistent: bool, now: float) -> Parcel:
    """Encoded messages with their properties, ready to be published. Raises `ValueError` for what `sendable` finds."""
    if max(map(len, (keys,) if isinstance(keys, str) else keys), default=0) > _SURELY_SHORT:
        for key in {keys} if isinstance(keys, str) else set(keys):
            frames.short(key)
    names = rows.ids
    if names is None or not all(names):
        fresh = ids.take(len(rows.bodies))
        names = fresh if names is None else [given or new for given, new in zip(names, fresh, strict=True)]
    return Parcel(exchange, keys, names, _properties(rows, names, persistent, int(now)), rows.bodies)


def _properties(rows: Records, names: Sequence[str], persistent: bool, now: int) -> list[bytes]:
    kind, keys, headers = rows.content_type, rows.keys, rows.headers
    if keys is None and isinstance(kind, str):
        heads = _alike(kind, names, persistent, now)
        # Where only some have headers, as those that are followed, the others are none the slower for it.
        told = [] if headers is None else [i for i, each in enumerate(headers) if each]
    else:
        heads, told = [b""] * len(names), list(range(len(names)))
    for i in told:
        given: Mapping[str, Any] = headers[i] if headers is not None else {}
        if keys is not None and (key := keys[i]) is not None:
            given = {**given, KEY: key}
        table = frames.table(given) if given else b""
        heads[i] = frames.properties(kind if isinstance(kind, str) else kind[i], table, persistent, names[i].encode(), now)
    return heads


def _alike(content_type: str, names: Sequence[str], persistent: bool, now: int) -> list[bytes]:
    """Properties that differ in the id alone: what stands before and behind it is made once."""
    mark = b"\x00" * 8
    before, _, after = frames.properties(content_type, b"", persistent, mark, now).partition(b"\x08" + mark)
    encoded = list(map(str.encode, names))
    lengths = set(map(len, encoded))
    if max(lengths) > 255:
        raise ValueError("a message id has more than the 255 bytes that AMQP allows; give shorter ids")
    if len(lengths) == 1:
        before += bytes(lengths)
        return [before + name + after for name in encoded]
    return [before + bytes((len(name),)) + name + after for name in encoded]
