"""The fast lane: deliveries, confirms and returns read straight from aio-pika's socket, publishes written straight to it.

`LaneProtocol` sits on the socket that aiormq is handed through its own extension point (`aiormq.TransportFactory`).
Handshake, authentication, topology and heartbeats stay the client's: every frame that no `Lane` owns goes to its reader
untouched.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq.faults import foreign, unroutable
from warren.connectors.rabbitmq.port import Parcel, Port
from warren.connectors.rabbitmq.shape import Shape

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel

__all__ = ["Lane", "LaneProtocol"]

_HEAD = struct.Struct(">BHI")
_METHOD = struct.Struct(">BHII")
_CONTENT = struct.Struct(">BHIIQ")
_TAG = struct.Struct(">QB")
_KINDS = frozenset((1, 2, 3, 8))

_LARGEST_FRAME = 16 << 20
"""Bytes that no broker's frame has; what announces more is none. RabbitMQ's have 128 KiB unless it is told otherwise."""
_MOST_AHEAD = 64 << 20
"""Bytes of unread messages above which the socket is read no further."""
_SLICE = 256 << 10
"""Bytes that are written before asking whether the socket keeps up."""


class LaneProtocol(asyncio.StreamReaderProtocol):
    """A socket's protocol that keeps the frames of the channels in ``lanes`` and feeds the rest to aiormq's reader.

    ``mend`` sees each content header before aiormq does, and may replace it.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        loop: asyncio.AbstractEventLoop,
        mend: Callable[[bytes], bytes] | None = None,
    ) -> None:
        super().__init__(reader, loop=loop)
        self.lanes: dict[int, Lane] = {}
        self.blocked: str | None = None
        """Why the broker takes no messages for now, where it said so."""
        self.fault: str | None = None
        """What was wrong with the bytes that came."""
        self.farewell: str | None = None
        """Why the broker closes the connection, where it said so."""
        self.heard = loop.time()
        self.transport: Any = None
        self._mend = mend
        self._time = loop.time
        self._fed = 0.0
        self._rest = b""
        self._shape: Shape | None = None
        self._full: set[Lane] = set()
        self._unblocked: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._rest and self._rest[0] not in _KINDS:
            self.fault = self.fault or f"it sent {foreign(self._rest)}"
        told = self.fault or self.farewell or (str(exc) if exc is not None else "")
        reason = ConnectionError(told or "the broker closed the connection")
        lanes, self.lanes = self.lanes, {}
        for lane in lanes.values():
            lane.lose(reason)
        self._unblock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.heard = self._time()
        if self._rest:
            data = self._rest + data
        position = self._scan(data)
        self._rest = data[position:]
        if self.lanes:
            if self.heard - self._fed > 1.0:
                # aiormq takes a connection for stuck when its own reader sees nothing for long.
                self._feed(frames.HEARTBEAT)
            for lane in tuple(self.lanes.values()):
                lane.deliver()

    def _feed(self, data: bytes) -> None:
        self._fed = self.heard
        super().data_received(data)

    def _scan(self, data: bytes) -> int:
        """Handle the whole frames in ``data``; returns where the first incomplete one begins."""
        head, lanes, length, position = _HEAD.unpack_from, self.lanes, len(data), 0
        while length - position >= 8:
            shape = self._shape
            if shape is not None:
                position = shape.take(data, position, length)
                if length - position < 8:
                    break
            kind, channel, size = head(data, position)
            end = position + 7 + size
            if kind not in _KINDS:
                return self._garbage(data, foreign(data[position:]))
            if end >= length:
                if size > _LARGEST_FRAME:
                    return self._garbage(data, f"the beginning of a frame of {size:,} bytes")
                break
            if data[end] != 0xCE:
                return self._garbage(data, f"a frame that ends in the byte {data[end]:#04x} instead of 0xce")
            lane = lanes.get(channel)
            if lane is None:
                frame = data[position : end + 1]
                self._feed(self._mend(frame) if kind == 2 and self._mend is not None else frame)
                if kind == 1 and not channel and size >= 4:
                    self._connection_method(data[position + 7 : end])
            elif kind != 1:
                lane.content_frame(kind, data[position + 7 : end])
            else:
                if data[position + 7 : position + 11] == frames.DELIVER:
                    shape = self._shape = Shape.seen(data, position, length, lane.arrivals)
                    if shape is not None:
                        position = shape.take(data, position, length)
                        continue
                if lane.method(data[position + 7 : end]):
                    self._feed(data[position : end + 1])
            position = end + 1
        return position

    def forget_shape(self) -> None:
        """Learn anew what messages look like."""
        self._shape = None

    def _connection_method(self, payload: bytes) -> None:
        if payload[:4] == frames.BLOCKED:
            self.blocked = payload[5 : 5 + payload[4]].decode(errors="replace") or "it gave no reason"
        elif payload[:4] == frames.UNBLOCKED:
            self._unblock()
        elif payload[:4] == frames.CONNECTION_CLOSE:
            text = payload[7 : 7 + payload[6]].decode(errors="replace")
            self.farewell = f"{int.from_bytes(payload[4:6], 'big')} {text}"

    def _unblock(self) -> None:
        self.blocked = None
        if self._unblocked is not None:
            self._unblocked.set_result(None)
            self._unblocked = None

    async def ready(self) -> None:
        """Wait until the socket and the broker take more; raises `ConnectionError` where they never will."""
        while self.blocked is not None:
            self._unblocked = self._unblocked or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._unblocked)
        await self._drain_helper()  # type: ignore[attr-defined]  # of asyncio's FlowControlMixin

    def _garbage(self, data: bytes, what: str) -> int:
        self.fault = f"it sent {what}"
        self.transport.abort()
        return len(data)

    def full(self, lane: Lane, is_full: bool) -> None:
        """Read no further while a lane holds more than it should."""
        was_full = bool(self._full)
        (self._full.add if is_full else self._full.discard)(lane)
        if bool(self._full) is not was_full and not self.transport.is_closing():
            self.heard = self._time()
            self.transport.pause_reading() if is_full else self.transport.resume_reading()

    @property
    def silence(self) -> float:
        """Seconds since anything came."""
        return self._time() - self.heard

    @property
    def paused(self) -> bool:
        """Whether nothing is read on purpose."""
        return not self.transport.is_reading() and not self.transport.is_closing()

    def reassure(self) -> None:
        """Have aiormq's reader see a heartbeat."""
        self._feed(frames.HEARTBEAT)


class _Content:
    """A message whose frames did not all come at once."""

    __slots__ = ("left", "method", "parts", "properties")

    def __init__(self, method: bytes) -> None:
        self.method = method
        self.properties = b""
        self.left = -1
        self.parts: list[bytes] = []


class Lane(Port):
    """A channel whose frames `LaneProtocol` keeps."""

    def __init__(self, channel: AbstractChannel, protocol: LaneProtocol, frame_max: int) -> None:
        super().__init__(channel)
        self.number: int = channel.number
        self.protocol = protocol
        self.frame_max = frame_max or 1 << 20
        self._content: _Content | None = None
        self._confirms = False
        self._sending = asyncio.Lock()
        self._methods: dict[tuple[str, str], bytes] = {}
        protocol.lanes[self.number] = self
        # A channel that had this number before had arrivals of its own.
        protocol.forget_shape()

    def deliver(self) -> None:
        """Tell what the last bytes brought."""
        if self._confirms:
            self._confirms = False
            self.settle_writes()
        if self.arrivals.tags:
            if self.arrivals.size > _MOST_AHEAD and self.lost is None:
                self.protocol.full(self, True)
            self.on_change()

    def taken(self) -> None:
        if self.protocol._full and self.arrivals.size <= _MOST_AHEAD:
            self.protocol.full(self, False)

    def method(self, payload: bytes) -> bool:
        """Take a method; returns whether aiormq has to see it too."""
        number = payload[:4]
        if number in (frames.ACK, frames.NACK):
            tag, flag = _TAG.unpack_from(payload, 4)
            self.confirm(tag, bool(flag & 1), number == frames.ACK)
            self._confirms = True
            return False
        if number in (frames.DELIVER, frames.RETURN):
            self._content = _Content(payload)
            return False
        if number == frames.CHANNEL_CLOSE:
            self.protocol.lanes.pop(self.number, None)
            text = payload[7 : 7 + payload[6]].decode(errors="replace")
            self.lose(ConnectionError(f"the broker closed the channel: {int.from_bytes(payload[4:6], 'big')} {text}"))
        elif number == frames.CANCEL:
            self.cancelled.add(payload[5 : 5 + payload[4]].decode(errors="replace"))
            self.on_change()
        return True

    def content_frame(self, kind: int, payload: bytes) -> None:
        """Take a frame of a message that comes in pieces."""
        content = self._content
        if content is None:
            return
        if kind == 2:
            content.left = int.from_bytes(payload[4:12], "big")
            content.properties = payload[12:]
        else:
            content.left -= len(payload)
            content.parts.append(payload)
        if content.left > 0:
            return
        self._content = None
        body = b"".join(content.parts)
        method = content.method
        if method[:4] == frames.RETURN:
            self._returned(method, content.properties)
            return
        tag, again = _TAG.unpack_from(method, 5 + method[4])
        came = self.arrivals
        came.bodies.append(body)
        came.heads.append(content.properties)
        came.tags.append(tag)
        came.size += len(body)
        if again:
            came.again.add(tag)

    def _returned(self, method: bytes, properties: bytes) -> None:
        texts, position = [], 6
        for _ in range(3):
            end = position + 1 + method[position]
            texts.append(method[position + 1 : end].decode(errors="replace"))
            position = end
        message_id = frames.read_properties(properties).message_id
        self.refuse(message_id, texts[2], unroutable(texts[0], texts[1], texts[2]))

    async def _consume(self, queue: str, tag: str, arguments: dict[str, Any]) -> None:
        await self.channel.basic_consume(queue, _nobody, consumer_tag=tag, arguments=arguments)

    async def settle(self, acks: Sequence[tuple[int, bool]]) -> None:
        if self.lost is None:
            self.protocol.transport.write(b"".join([frames.ack(self.number, tag, multiple) for tag, multiple in acks]))

    async def give_back(self, tags: Sequence[int]) -> None:
        if self.lost is None:
            self.protocol.transport.write(b"".join([frames.nack(self.number, tag) for tag in tags]))

    async def fail(self, tags: Sequence[int]) -> None:
        if self.lost is None:
            self.protocol.transport.write(b"".join([frames.reject(self.number, tag) for tag in tags]))

    async def publish(self, parcel: Parcel) -> tuple[Sequence[int], dict[int, Exception]]:
        # Sequence numbers follow the order on the wire, so parcels are sent one after the other, and confirmed side by side.
        async with self._sending:
            write = self.begin(parcel)
            try:
                for piece in self._encoded(parcel):
                    await self.protocol.ready()
                    if self.lost is not None:
                        break
                    self.protocol.transport.write(piece)
            except ConnectionError as error:
                self.lose(error)
        if self.lost is None:
            await write.done
        return self.outcome(write)

    def _encoded(self, parcel: Parcel) -> Iterator[bytes]:
        """The frames of a parcel, in pieces of bounded size that each hold whole messages."""
        number, room = self.number, self.frame_max - 8
        exchange, keys = parcel.exchange, parcel.keys
        content, head, end, one = _CONTENT.pack, _HEAD.pack, frames.END, isinstance(keys, str)
        method = self._method(exchange, keys) if isinstance(keys, str) else b""
        parts: list[bytes] = []
        pending = 0
        for i, (properties, body) in enumerate(zip(parcel.properties, parcel.bodies, strict=True)):
            if not one:
                method = self._method(exchange, keys[i])
            size = len(body)
            opening = (method, content(2, number, 12 + len(properties), 60 << 16, size), properties, end)
            if size <= room:
                # A message without a body has no body frame.
                parts += (*opening, head(3, number, size), body, end) if size else opening
            else:
                parts += opening
                for start in range(0, size, room):
                    piece = body[start : start + room]
                    parts += (head(3, number, len(piece)), piece, end)
            pending += size + 200
            if pending >= _SLICE:
                yield b"".join(parts)
                parts, pending = [], 0
        if parts:
            yield b"".join(parts)

    def _method(self, exchange: str, key: str) -> bytes:
        method = self._methods.get((exchange, key))
        if method is None:
            if len(self._methods) > 1024:
                self._methods.clear()
            method = self._methods[exchange, key] = frames.publish_method(self.number, exchange, key)
        return method

    async def close(self, why: str = "the channel was closed here") -> None:
        # The answer to the close has to be read.
        self.protocol.full(self, False)
        await super().close(why)
        self.protocol.lanes.pop(self.number, None)


async def _nobody(message: object) -> None:
    """What aiormq would call with a delivery; the lane takes them all."""
