"""AMQP 0-9-1 on a blocking socket, as fast as Python goes: it fills the queues, checks them, and is the limit.

It knows what the benchmarks need and no more: one channel, no reconnect, no TLS, and any surprise ends it. A whole delivery
is read with one ``unpack``, publishes leave in one ``sendall``, and what surrounds a body is made once for each body size.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

__all__ = ["ARROW", "JSON", "Bodies", "Wire"]

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"

BUFFER = 8 << 20
FRAME_MAX = 131_072
BODY_MAX = FRAME_MAX - 8
HEAD = struct.Struct(">BHI")
LONG = struct.Struct(">Q")
END = b"\xce"
METHOD, HEADER, BODY = 1, 2, 3

Bodies = list[memoryview | bytes]


def code(class_id: int, method_id: int) -> int:
    return class_id << 16 | method_id


DELIVER, RETURN, ACK, NACK = code(60, 60), code(60, 50), code(60, 80), code(60, 120)
CHANNEL_CLOSE, CONNECTION_CLOSE, CONNECTION_CLOSE_OK = code(20, 40), code(10, 50), code(10, 51)


def short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def long(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def table(values: dict[str, str | bool]) -> bytes:
    found = b""
    for key, value in values.items():
        found += short(key) + (b"S" + long(value.encode()) if isinstance(value, str) else b"t" + bytes([value]))
    return long(found)


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return HEAD.pack(kind, channel, len(payload)) + payload + END


def method(channel: int, number: int, arguments: bytes = b"") -> bytes:
    return frame(METHOD, channel, struct.pack(">I", number) + arguments)


class Wire:
    """One connection with one channel, closed at the end of a ``with``.

    `publish` does not wait. `receive` waits for whatever comes and returns the bodies among it, while ``confirmed`` says
    up to which publish the broker has confirmed all of them, and ``delivered`` is the tag of the last delivery.
    """

    def __init__(self, url: str) -> None:
        self.delivered = self.published = self.confirmed = 0
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._replies: list[bytes] = []
        self._pending: Bodies = []
        self._early: set[int] = set()
        self._content: list[bytes] = []
        self._wanted = 0
        self._layout: struct.Struct | None = None
        self._sizes = self._method_at = (0, 0)
        self._tag_length = 0
        self._around: dict[int, bytes] = {}
        self._command = self._properties = b""
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname or "localhost", parts.port or 5672))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(60)
        try:
            self._log_in(
                unquote(parts.username or "guest"), unquote(parts.password or "guest"), unquote(parts.path[1:]) or "/"
            )
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.socket.close()

    def _log_in(self, user: str, password: str, vhost: str) -> None:
        self.socket.sendall(b"AMQP\0\0\x09\x01")
        self._reply(code(10, 10))
        login = table({}) + short("PLAIN") + long(f"\0{user}\0{password}".encode()) + short("en_US")
        self._call(0, code(10, 11), login, code(10, 30))
        self.socket.sendall(method(0, code(10, 31), struct.pack(">HIH", 1, FRAME_MAX, 0)))
        self._call(0, code(10, 40), short(vhost) + b"\0\0", code(10, 41))
        self._call(1, code(20, 10), b"\0", code(20, 11))

    def declare(self, queue: str, kind: str, **arguments: str | bool) -> None:
        """A durable queue."""
        given = table({"x-queue-type": kind, **{key.replace("_", "-"): value for key, value in arguments.items()}})
        self._call(1, code(50, 10), b"\0\0" + short(queue) + b"\x02" + given, code(50, 11))

    def counts(self, queue: str) -> tuple[int, int]:
        """How many messages wait in a queue, and how many consumers it has; a busy quorum queue may say 0 to both."""
        reply = self._call(1, code(50, 10), b"\0\0" + short(queue) + b"\x01" + table({}), code(50, 11))
        messages, consumers = struct.unpack(">II", reply[-8:])
        return messages, consumers

    def delete(self, queue: str) -> None:
        self._call(1, code(50, 40), b"\0\0" + short(queue) + b"\0", code(50, 41))

    def confirm(self) -> None:
        """Ask for publisher confirms."""
        self._call(1, code(85, 10), b"\0", code(85, 11))

    def consume(self, queue: str, prefetch: int, *, no_ack: bool = False) -> None:
        self._call(1, code(60, 10), struct.pack(">IHB", 0, prefetch, 0), code(60, 11))
        flags = b"\x02" if no_ack else b"\0"
        self._call(1, code(60, 20), b"\0\0" + short(queue) + short(queue) + flags + table({}), code(60, 21))

    def target(self, queue: str, *, persistent: bool, content_type: str = JSON) -> None:
        """Where `publish` sends to; as ``mandatory``, so that what leads nowhere is returned."""
        self._command = method(1, code(60, 40), b"\0\0" + short("") + short(queue) + b"\x01")
        self._properties = b"\x90\0" + short(content_type) + (b"\x02" if persistent else b"\x01")
        self._around.clear()

    def publish(self, bodies: Sequence[bytes]) -> None:
        around, parts = self._around, []
        for body in bodies:
            size = len(body)
            if size > BODY_MAX:
                parts.append(self._in_frames(body))
            else:
                parts += (around.get(size) or self._surround(size), body, END)
        self.socket.sendall(b"".join(parts))
        self.published += len(bodies)

    def acknowledge(self, tag: int) -> None:
        """Acknowledge all deliveries up to this one."""
        self.socket.sendall(method(1, ACK, LONG.pack(tag) + b"\x01"))

    def receive(self) -> Bodies:
        """Wait for more and return the bodies in it, as views that hold until the next call."""
        if self._pending:
            found, self._pending = self._pending, []
            return found
        return self._read()

    @property
    def has_pending(self) -> bool:
        """Whether `receive` has something to return without the socket."""
        return bool(self._pending)

    def settle(self) -> None:
        """Wait until all that was published is confirmed."""
        while self.confirmed < self.published:
            self._pending += map(bytes, self._read())

    def close(self) -> None:
        """Say goodbye to the broker, and wait until it has heard that and all before."""
        self._call(0, CONNECTION_CLOSE, struct.pack(">H", 200) + short("") + bytes(4), CONNECTION_CLOSE_OK)

    def _read(self) -> Bodies:
        if self._start:  # what is left of the last read is part of a message at most
            left = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, len(left)
            self._view[: len(left)] = left
        read = self.socket.recv_into(self._view[self._end :])
        if not read:
            raise ConnectionError("the broker closed the connection")
        self._end += read
        return self._parse()

    def _call(self, channel: int, number: int, arguments: bytes, reply: int) -> bytes:
        self.socket.sendall(method(channel, number, arguments))
        return self._reply(reply)

    def _reply(self, number: int) -> bytes:
        while not (self._replies and int.from_bytes(self._replies[0][:4]) == number):
            if self._replies:
                self._replies.pop(0)
                continue
            # A consumer's first messages may come in the same breath as the answer.
            self._pending += map(bytes, self._read())
        return self._replies.pop(0)

    def _surround(self, size: int) -> bytes:
        header = struct.pack(">HHQ", 60, 0, size) + self._properties
        found = self._command + frame(HEADER, 1, header)
        if size:
            found += HEAD.pack(BODY, 1, size)
        self._around[size] = found
        return found

    def _in_frames(self, body: bytes) -> bytes:
        header = struct.pack(">HHQ", 60, 0, len(body)) + self._properties
        parts = [self._command, frame(HEADER, 1, header)]
        for start in range(0, len(body), BODY_MAX):
            part = body[start : start + BODY_MAX]
            parts += (HEAD.pack(BODY, 1, len(part)), part, END)
        return b"".join(parts)

    def _parse(self) -> Bodies:
        bodies: Bodies = []
        buffer, end = self._buffer, self._end
        while True:
            self._parse_alike(bodies)
            at = self._start
            if at + 8 > end:
                return bodies
            kind, _, size = HEAD.unpack_from(buffer, at)
            after = at + size + 8
            if after > end:
                return bodies
            if buffer[after - 1] != 0xCE:
                raise ConnectionError("a frame does not end where it should")
            whole = self._frame(kind, at, size)
            if whole is not None:
                bodies.append(whole)
            self._start = after

    def _parse_alike(self, bodies: Bodies) -> None:
        """Deliveries laid out as the last one that was read frame by frame."""
        if self._layout is None:
            return
        unpack, span, view, buffer = self._layout.unpack_from, self._layout.size, self._view, self._buffer
        first, second = self._sizes
        at, end, tag, add = self._start, self._end, self.delivered, bodies.append
        while at + span < end:
            size1, number, new, size2, size, size3 = unpack(buffer, at)
            body = at + span
            after = body + size + 1
            if number != DELIVER or size1 != first or size2 != second or size3 != size or after > end:
                break
            tag = new
            add(view[body : body + size])
            at = after
        self._start, self.delivered = at, tag

    def _frame(self, kind: int, at: int, size: int) -> bytes | None:
        payload = self._view[at + 7 : at + 7 + size]
        if kind == METHOD:
            self._method(int.from_bytes(payload[:4]), payload, at)
            return None
        if kind == HEADER:
            (self._wanted,) = struct.unpack_from(">Q", payload, 4)
            self._learn(at, size)
        elif kind == BODY:
            self._content.append(bytes(payload))
            self._wanted -= size
        else:
            return None
        if self._wanted:
            return None
        body = b"".join(self._content)
        self._content.clear()
        return body

    def _method(self, number: int, payload: memoryview, at: int) -> None:
        if number == DELIVER:
            self._method_at, self._tag_length = (at, len(payload)), payload[4]
            (self.delivered,) = LONG.unpack_from(payload, 5 + payload[4])
        elif number == ACK:
            self._confirm(LONG.unpack_from(payload, 4)[0], multiple=bool(payload[12]))
        elif number in (NACK, RETURN):
            raise ConnectionError("the broker refused or returned a message")
        elif number in (CHANNEL_CLOSE, CONNECTION_CLOSE):
            raise ConnectionError(f"the broker closed: {bytes(payload[7 : 7 + payload[6]]).decode()}")
        else:
            self._replies.append(bytes(payload))

    def _confirm(self, tag: int, *, multiple: bool) -> None:
        if multiple:
            self.confirmed = max(self.confirmed, tag)
            if self._early:
                self._early = {early for early in self._early if early > tag}
        else:
            self._early.add(tag)
        while self.confirmed + 1 in self._early:
            self.confirmed += 1
            self._early.remove(self.confirmed)

    def _learn(self, at: int, size: int) -> None:
        start, first = self._method_at
        if start + first + 8 == at:
            name = self._tag_length
            self._sizes = (first, size)
            self._layout = struct.Struct(f">3xII{1 + name}xQ{first - 12 - name}x3xI4xQ{size - 11}x3xI")
