"""Bytes of AMQP 0-9-1: frames cut from a stream, and those frames written that a broker sends most."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from pamqp import encode, frame
from pamqp.base import Frame
from pamqp.header import ContentHeader

__all__ = [
    "FrameError",
    "Stream",
    "ack",
    "content",
    "deliver",
    "marshal",
    "nack",
    "scan_header",
    "short",
    "write_table",
]

HEADER = struct.Struct(">BHI")
SETTLE = struct.Struct(">BHIHHQBB")
DELIVERY = struct.Struct(">QB")
SIZE = struct.Struct(">Q")
LONG = struct.Struct(">I")
LONG_LONG = struct.Struct(">q")
END = b"\xce"
METHOD, CONTENT, BODY, HEARTBEAT = 1, 2, 3, 8
KNOWN = (METHOD, CONTENT, BODY, HEARTBEAT)


class FrameError(Exception):
    """What came is no frame; the text is the broker's."""


class Stream:
    """Cuts a stream of bytes into frames, however the bytes come."""

    def __init__(self) -> None:
        self.rest = b""
        self.largest = 131072 - 8

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """The frames that are complete now: type, channel, payload."""
        if self.rest:
            data = self.rest + data
            self.rest = b""
        at, length = 0, len(data)
        try:
            while length - at >= 7:
                kind, channel, size = HEADER.unpack_from(data, at)
                if size > self.largest:
                    raise FrameError(f"type {kind}, all octets = <<>>: {{frame_too_large,{size},{self.largest}}}")
                end = at + 7 + size
                if end >= length:
                    break
                payload = data[at + 7 : end]
                if data[end] != 0xCE:
                    raise FrameError(
                        f"type {kind}, all octets = {erlang(payload)}: {{invalid_frame_end_marker,{data[end]}}}"
                    )
                at = end + 1
                yield kind, channel, payload
        finally:
            self.rest = data[at:]


def erlang(payload: bytes) -> str:
    """Bytes as RabbitMQ's sentences show them."""
    return f'<<"{payload.decode("latin-1")}">>' if payload.isascii() else f"<<{','.join(map(str, payload))}>>"


def unknown_frame(kind: int, payload: bytes) -> FrameError:
    """A whole frame of a type that there is not."""
    return FrameError(f"type {kind}, all octets = {erlang(payload)}: unknown_frame")


def short(text: str) -> bytes:
    """A short string."""
    data = text.encode()
    return bytes((len(data),)) + data


def marshal(channel: int, method: Frame) -> bytes:
    """Any method's frame."""
    return frame.marshal(method, channel)


@lru_cache(maxsize=512)
def plain(channel: int, method: type[Frame]) -> bytes:
    """The frame of a method that says nothing but its name."""
    return frame.marshal(method(), channel)


def opened(channel: int) -> bytes:
    """The frame of channel.open-ok as RabbitMQ writes it."""
    return HEADER.pack(METHOD, channel, 8) + b"\0\x14\0\x0b\0\0\0\0" + END


def ack(channel: int, tag: int, multiple: bool) -> bytes:
    """A broker's confirmation."""
    return SETTLE.pack(METHOD, channel, 13, 60, 80, tag, multiple, 0xCE)


def nack(channel: int, tag: int, multiple: bool) -> bytes:
    """A broker's refusal. Its requeue bit means nothing; RabbitMQ sets it."""
    return SETTLE.pack(METHOD, channel, 13, 60, 120, tag, multiple | 2, 0xCE)


def content(channel: int, method: bytes, header: bytes, body: bytes, largest: int) -> bytes:
    """A method's payload with its content, as frames of at most ``largest`` bytes of payload."""
    size = len(body)
    parts = [HEADER.pack(METHOD, channel, len(method)), method, END, HEADER.pack(CONTENT, channel, len(header)), header, END]
    if 0 < size <= largest:
        parts += (HEADER.pack(BODY, channel, size), body, END)
    else:
        for at in range(0, size, largest):
            piece = body[at : at + largest]
            parts += (HEADER.pack(BODY, channel, len(piece)), piece, END)
    return b"".join(parts)


def deliver(consumer: bytes, tag: int, redelivered: bool, exchange: str, key: str) -> bytes:
    """The payload of basic.deliver; the consumer's tag comes encoded."""
    return b"".join((b"\0\x3c\0\x3c", consumer, DELIVERY.pack(tag, redelivered), short(exchange), short(key)))


def scan_header(header: bytes) -> tuple[int, bytes, int | None, str | None, str | None]:
    """Of a content header: where its headers begin (or would), the headers' bytes, delivery mode, expiration, message id."""
    flags = header[12] << 8 | header[13]
    at = 14
    if flags & 0xC000:
        for bit in (0x8000, 0x4000):
            if flags & bit:
                at += 1 + header[at]
    start, table = at, b""
    if flags & 0x2000:
        at += 4 + LONG.unpack_from(header, at)[0]
        table = header[start + 4 : at]
    mode = expiration = identity = None
    if flags & 0x1000:
        mode = header[at]
        at += 1
    if flags & 0x0F80:
        if flags & 0x0800:
            at += 1
        for bit in (0x0400, 0x0200):
            if flags & bit:
                at += 1 + header[at]
        if flags & 0x0100:
            end = at + 1 + header[at]
            expiration = header[at + 1 : end].decode()
            at = end
        if flags & 0x0080:
            identity = header[at + 1 : at + 1 + header[at]].decode()
    return start, table, mode, expiration, identity


def read_headers(header: bytes) -> dict[str, Any]:
    """The headers of a content header."""
    parsed = ContentHeader()
    parsed.unmarshal(header)
    return dict(parsed.properties.headers or {})


def with_headers(header: bytes, headers: bytes, *, keep_expiration: bool = True) -> bytes:
    """A content header with other headers (an encoded table, without its length)."""
    start, old, _, expiration, _ = scan_header(header)
    flags = header[12] << 8 | header[13]
    rest = header[start + (4 + len(old) if flags & 0x2000 else 0) :]
    if expiration is not None and not keep_expiration:
        at = (1 if flags & 0x1000 else 0) + (1 if flags & 0x0800 else 0)
        for bit in (0x0400, 0x0200):
            if flags & bit:
                at += 1 + rest[at]
        rest = rest[:at] + rest[at + 1 + rest[at] :]
        flags &= ~0x0100
    flags |= 0x2000
    return b"".join((header[:12], flags.to_bytes(2), header[14:start], LONG.pack(len(headers)), headers, rest))


def write_table(table: dict[str, Any]) -> bytes:
    """A table without its length, with RabbitMQ's types: every whole number is a long."""
    return b"".join(short(name) + write_value(value) for name, value in table.items())


def write_value(value: Any) -> bytes:
    """A table's value with its type."""
    match value:
        case None:
            return b"V"
        case bool():
            return b"t\1" if value else b"t\0"
        case int():
            return b"l" + LONG_LONG.pack(value)
        case float():
            return b"d" + struct.pack(">d", value)
        case str() | bytes():
            data = value.encode() if isinstance(value, str) else value
            return b"S" + LONG.pack(len(data)) + data
        case dict():
            data = write_table(value)
            return b"F" + LONG.pack(len(data)) + data
        case list():
            data = b"".join(map(write_value, value))
            return b"A" + LONG.pack(len(data)) + data
        case datetime() | Decimal() | bytearray():
            return encode.encode_table_value(value)
    raise TypeError(f"A table holds no {type(value).__name__}.")
