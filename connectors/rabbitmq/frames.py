"""AMQP 0-9-1 on the wire: what the fast lane reads and writes without help. Method numbers are those of the specification.

Encoding makes whole frames for a message; decoding takes what stands in a content header after the body's size.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Mapping
from typing import Any, NamedTuple

__all__ = [
    "END",
    "HEARTBEAT",
    "Properties",
    "ack",
    "nack",
    "properties",
    "publish_method",
    "read_properties",
    "read_table",
    "table",
    "without",
    "write_properties",
]

METHOD = 1
END = b"\xce"
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"

BASIC = 60
DELIVER, RETURN, ACK, NACK, REJECT, CANCEL = (struct.pack(">HH", BASIC, method) for method in (60, 50, 80, 120, 90, 30))
CHANNEL_CLOSE = struct.pack(">HH", 20, 40)
CONNECTION_CLOSE, BLOCKED, UNBLOCKED = (struct.pack(">HH", 10, method) for method in (50, 60, 61))

_PERSISTENT, _TRANSIENT = b"\x02", b"\x01"
_ACK = struct.Struct(">BHI4sQBB")
_HEAD = struct.Struct(">BHI")
_LONG = struct.Struct(">I")
_LONGLONG = struct.Struct(">Q")
_DECIMAL = struct.Struct(">Bi")


class Properties(NamedTuple):
    """What a message says of itself; ``headers`` is a table, still encoded, for `read_table`."""

    content_type: str = ""
    content_encoding: str = ""
    headers: bytes = b""
    delivery_mode: int = 1
    priority: int = 0
    correlation_id: str = ""
    reply_to: str = ""
    expiration: str = ""
    message_id: str = ""
    timestamp: int = 0
    type: str = ""
    user_id: str = ""
    app_id: str = ""


def ack(channel: int, tag: int, multiple: bool) -> bytes:
    """A frame that acknowledges one message, or all up to it."""
    return _ACK.pack(METHOD, channel, 13, ACK, tag, multiple, 0xCE)


def nack(channel: int, tag: int, requeue: bool = True) -> bytes:
    """A frame that gives one message back."""
    return _ACK.pack(METHOD, channel, 13, NACK, tag, 2 if requeue else 0, 0xCE)


def reject(channel: int, tag: int) -> bytes:
    """A frame that gives one message back, as one that could not be handled."""
    return _ACK.pack(METHOD, channel, 13, REJECT, tag, 1, 0xCE)


def short(text: str) -> bytes:
    """A short string: its length in one byte, and at most 255 bytes."""
    data = text.encode()
    if len(data) > 255:
        raise ValueError(f"{text[:40]!r}… has {len(data)} bytes, and AMQP allows 255 for a name, key or id")
    return bytes((len(data),)) + data


def publish_method(channel: int, exchange: str, routing_key: str) -> bytes:
    """The frame that announces a message: mandatory, so that one nobody gets comes back."""
    payload = struct.pack(">HHH", BASIC, 40, 0) + short(exchange) + short(routing_key) + b"\x01"
    return _HEAD.pack(METHOD, channel, len(payload)) + payload + END


def properties(
    content_type: str, headers: bytes, persistent: bool, message_id: bytes, timestamp: int, expiration: str = ""
) -> bytes:
    """Property flags and values, as they stand in a content header. ``headers`` and ``message_id`` may be empty.

    >>> read_properties(properties("text/plain", b"", True, b"7", 1)).message_id
    '7'
    """
    flags, parts = 0x1000 | 0x0040, []
    if content_type:
        flags |= 0x8000
        parts.append(short(content_type))
    if headers:
        flags |= 0x2000
        parts += (_LONG.pack(len(headers)), headers)
    parts.append(_PERSISTENT if persistent else _TRANSIENT)
    if expiration:
        flags |= 0x0100
        parts.append(short(expiration))
    if message_id:
        flags |= 0x0080
        parts += (bytes((len(message_id),)), message_id)
    parts.append(_LONGLONG.pack(timestamp))
    return flags.to_bytes(2, "big") + b"".join(parts)


def table(values: Mapping[str, Any]) -> bytes:
    """A field table, without its length: text, bytes, numbers, truth values, nothing, and lists and tables of them.

    >>> read_table(table({"a": "b", "n": 3, "t": {"x": True}}))
    {'a': 'b', 'n': 3, 't': {'x': True}}
    """
    parts: list[bytes] = []
    for name, value in values.items():
        parts.append(short(name))
        _write_value(value, parts)
    return b"".join(parts)


def _write_value(value: Any, parts: list[bytes]) -> None:
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        parts += (b"S" if isinstance(value, str) else b"x", _LONG.pack(len(data)), data)
    elif isinstance(value, bool):
        parts += (b"t", b"\x01" if value else b"\x00")
    elif isinstance(value, int):
        parts += (b"l", value.to_bytes(8, "big", signed=True))
    elif isinstance(value, float):
        parts += (b"d", struct.pack(">d", value))
    elif value is None:
        parts.append(b"V")
    elif isinstance(value, Mapping):
        inner = table(value)
        parts += (b"F", _LONG.pack(len(inner)), inner)
    elif isinstance(value, list):
        items: list[bytes] = []
        for item in value:
            _write_value(item, items)
        inner = b"".join(items)
        parts += (b"A", _LONG.pack(len(inner)), inner)
    else:
        raise TypeError(f"a header of type {type(value).__name__} is not written; use text or a number")


def read_properties(data: bytes) -> Properties:
    """Take apart what `properties`, or any client, wrote. Raises `ValueError` where it is cut short or not text."""
    flags = int.from_bytes(data[:2], "big")
    position = 2
    values: list[Any] = list(_NOTHING)
    try:
        for index, bit, kind in _FIELDS:
            if not flags & bit:
                continue
            if kind == "s":
                end = position + 1 + data[position]
                text = data[position + 1 : end]
                if end > len(data):
                    raise IndexError
                values[index] = text.decode()
                position = end
            elif kind == "B":
                values[index] = data[position]
                position += 1
            elif kind == "Q":
                values[index] = _LONGLONG.unpack_from(data, position)[0]
                position += 8
            else:
                end = position + 4 + _LONG.unpack_from(data, position)[0]
                if end > len(data):
                    raise IndexError
                values[index] = data[position + 4 : end]
                position = end
    except (IndexError, struct.error) as error:
        raise ValueError(f"the properties end after {len(data)} bytes, in the middle of one") from error
    return Properties(*values)


_NOTHING = Properties()
_FIELDS = tuple(
    (index, 0x8000 >> index, "F" if index == 2 else "B" if index in (3, 4) else "Q" if index == 9 else "s")
    for index in range(13)
)

_NUMBERS: dict[int, struct.Struct] = {
    ord(sign): struct.Struct(f">{code}")
    for sign, code in {"b": "b", "B": "B", "s": "h", "U": "h", "u": "H", "I": "i", "i": "I", "l": "q", "L": "q"}.items()
} | {ord("f"): struct.Struct(">f"), ord("d"): struct.Struct(">d"), ord("T"): _LONGLONG}


def read_table(data: bytes) -> dict[str, Any]:
    """Decode a field table. Raises `ValueError` where it is malformed."""
    result: dict[str, Any] = {}
    position = 0
    try:
        while position < len(data):
            end = position + 1 + data[position]
            name = data[position + 1 : end].decode()
            result[name], position = _value(data, end)
    except (IndexError, struct.error, RecursionError) as error:
        raise ValueError(f"the headers are malformed near byte {position}") from error
    return result


def _value(data: bytes, position: int) -> tuple[Any, int]:
    sign = data[position]
    position += 1
    kind = _NUMBERS.get(sign)
    if kind is not None:
        return kind.unpack_from(data, position)[0], position + kind.size
    if sign == ord("t"):
        return data[position] != 0, position + 1
    if sign == ord("V"):
        return None, position
    if sign == ord("D"):
        scale, number = _DECIMAL.unpack_from(data, position)
        return number / 10**scale, position + 5
    start = position + 4
    end = start + _LONG.unpack_from(data, position)[0]
    if end > len(data):
        raise IndexError
    piece = data[start:end]
    if sign == ord("S"):
        return piece.decode(errors="replace"), end
    if sign == ord("x"):
        return piece, end
    if sign == ord("F"):
        return read_table(piece), end
    if sign == ord("A"):
        items: list[Any] = []
        inner = 0
        while inner < len(piece):
            item, inner = _value(piece, inner)
            items.append(item)
        return items, end
    raise ValueError(f"a header has the unknown type {chr(sign)!r}")


def without(data: bytes, names: Container[str]) -> bytes:
    """A field table without the entries of these names; what stays is byte for byte as it was.

    Raises `ValueError` where it is malformed.

    >>> read_table(without(table({"a": "b", "n": 3}), {"a"}))
    {'n': 3}
    """
    parts: list[bytes] = []
    position = 0
    try:
        while position < len(data):
            end = position + 1 + data[position]
            name = data[position + 1 : end].decode()
            _, stop = _value(data, end)
            if name not in names:
                parts.append(data[position:stop])
            position = stop
    except (IndexError, struct.error, RecursionError) as error:
        raise ValueError(f"the headers are malformed near byte {position}") from error
    return b"".join(parts)


def write_properties(given: Properties) -> bytes:
    """Put together what `read_properties` takes apart.

    >>> read_properties(write_properties(Properties(message_id="7"))).message_id
    '7'
    """
    flags, parts = 0, []
    for index, bit, kind in _FIELDS:
        value: Any = given[index]
        if value == _NOTHING[index] and index != 3:
            continue
        flags |= bit
        if kind == "s":
            parts.append(short(value))
        elif kind == "B":
            parts.append(bytes((value,)))
        elif kind == "Q":
            parts.append(_LONGLONG.pack(value))
        else:
            parts += (_LONG.pack(len(value)), value)
    return flags.to_bytes(2, "big") + b"".join(parts)
