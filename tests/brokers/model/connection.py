"""A connection as the model broker sees it: the handshake, heartbeats, channels, and how it ends."""

from __future__ import annotations

import struct
from asyncio import TimerHandle
from typing import TYPE_CHECKING, Any

from pamqp import commands

from tests.brokers.model import wire
from tests.brokers.model.channel import ServerChannel
from tests.brokers.model.methods import METHODS
from tests.brokers.model.pipes import Pipe
from tests.brokers.model.queues import Queue
from tests.brokers.model.topology import ChannelError, HardError, VHost

if TYPE_CHECKING:
    from tests.brokers.model.broker import ModelBroker

__all__ = ["ServerConnection"]

Connection, Channel = commands.Connection, commands.Channel

INDEX = struct.Struct(">I")
TAG_AND_BITS = struct.Struct(">QB")
PUBLISH, ACK, REJECT, NACK = 0x3C0028, 0x3C0050, 0x3C005A, 0x3C0078
UNDECODABLE = (struct.error, ValueError, IndexError, KeyError, UnicodeDecodeError)
REFUSED = "ACCESS_REFUSED - Login was refused using authentication mechanism {}. For details see the broker logfile."
PROTOCOL = b"AMQP\0\0\x09\x01"
HEARTBEAT = b"\x08\0\0\0\0\0\0\xce"
# What it waits for next, in words.
HEADER, START_OK, TUNE_OK, OPEN = "header", "start-ok", "tune-ok", "open"
RUNNING, CLOSING, CLOSED = "running", "closing", "closed"


class ServerConnection:
    """The broker's end of one connection."""

    vhost: VHost

    def __init__(self, broker: ModelBroker, number: int, outgoing: Pipe) -> None:
        self.broker = broker
        self.number = number
        self.outgoing = outgoing
        self.incoming: Pipe
        self.state = HEADER
        self.stream = wire.Stream()
        self.largest = broker.frame_max - 8
        self.client: dict[str, Any] = {}
        self.channels: dict[int, ServerChannel] = {}
        self.own: list[Queue] = []
        self.blocked = self.vanished = False
        self.wrote = self.heard = 0.0
        self.beat: TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<connection {self.number}, {self.state}>"

    @property
    def running(self) -> bool:
        """Whether it has been opened and is not being closed."""
        return self.state == RUNNING

    def capable(self, capability: str) -> bool:
        """Whether the client said that it can do something."""
        return bool(self.client.get("capabilities", {}).get(capability))

    # Bytes

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        if self.state != CLOSED:
            self.wrote = self.broker.loop.time()
            self.outgoing.put(data)

    def send(self, method: commands.base.Frame) -> None:
        """Send a method on the connection itself."""
        self.write(wire.marshal(0, method))

    def receive(self, data: bytes) -> None:
        """Bytes have come from the client."""
        if self.state == CLOSED:
            # A machine that is gone answers nothing, until it is back and knows of no such connection.
            if self.broker.up or not self.vanished:
                self.outgoing.reset()
            return
        self.heard = self.broker.loop.time()
        if self.state == HEADER:
            data = self.stream.rest + data
            if len(data) < 8:
                self.stream.rest = data
                return
            self.stream.rest = b""
            if data[:8] != PROTOCOL:
                self.write(PROTOCOL)
                self.hang_up()
                return
            self.state = START_OK
            self.write(self.broker.greeting)
            data = data[8:]
        try:
            for kind, number, payload in self.stream.feed(data):
                if self.state == CLOSED:
                    return
                self._frame(kind, number, payload)
        except wire.FrameError as error:
            self.fail(HardError(501, str(error)))
        finally:
            self.broker.flush()

    def _frame(self, kind: int, number: int, payload: bytes) -> None:
        if self.state == CLOSING and (kind != wire.METHOD or number):
            return
        index = 0
        try:
            if kind == wire.METHOD:
                index = INDEX.unpack_from(payload)[0]
                if number:
                    self._on_channel(number, index, payload)
                else:
                    self._on_connection(index, payload)
            elif kind == wire.CONTENT or kind == wire.BODY:
                channel = self.channels.get(number)
                if channel is None:
                    raise HardError(504, "expected 'channel.open'")
                if not channel.closing:
                    index = PUBLISH if channel.method is not None else 0
                    (channel.take_header if kind == wire.CONTENT else channel.take_body)(payload)
            elif kind != wire.HEARTBEAT or payload:
                raise wire.unknown_frame(kind, payload)
        except ChannelError as error:
            self.close_channel(number, error, index)
        except HardError as error:
            self.fail(error, index)

    # Channels

    def _on_channel(self, number: int, index: int, payload: bytes) -> None:
        channel = self.channels.get(number)
        if channel is None:
            if index == Channel.Open.index:
                if number > self.broker.channel_max:
                    raise HardError(530, f"number of channels opened ({len(self.channels)}) has reached the maximum")
                self.channels[number] = ServerChannel(self, number)
                self.write(wire.opened(number))
            elif index != Channel.CloseOk.index:
                raise HardError(504, "expected 'channel.open'")
        elif channel.closing:
            if index == Channel.Close.index:
                self.write(wire.plain(number, Channel.CloseOk))
            elif index == Channel.CloseOk.index:
                del self.channels[number]
            elif index == Channel.Open.index:
                raise HardError(504, "second 'channel.open' seen")
        elif channel.method is not None:
            raise HardError(505, "expected content header for class 60, got non content header frame instead")
        elif index == PUBLISH:
            if self.broker.blocked and not self.blocked:
                self.block()
            channel.publish(payload)
        elif index == ACK:
            tag, bits = TAG_AND_BITS.unpack_from(payload, 4)
            channel.settle(tag, bool(bits & 1))
        elif index == NACK:
            tag, bits = TAG_AND_BITS.unpack_from(payload, 4)
            channel.refuse(tag, bool(bits & 1), bool(bits & 2))
        elif index == REJECT:
            tag, bits = TAG_AND_BITS.unpack_from(payload, 4)
            channel.refuse(tag, False, bool(bits & 1))
        elif index == Channel.Close.index:
            channel.end()
            self.broker.loop.call_later(self.broker.schedule.latency(), self._closed_channel, channel)
        elif index == Channel.Open.index:
            raise HardError(504, "second 'channel.open' seen")
        else:
            self._ask(index, channel, payload)

    def _ask(self, index: int, channel: ServerChannel, payload: bytes) -> None:
        if index not in METHODS:
            raise HardError(503, "unimplemented method")
        kind, handler = METHODS[index]
        handler(channel, self._decoded(kind, payload))

    def _decoded(self, kind: type[Any], payload: bytes) -> Any:
        asked = kind()
        try:
            asked.unmarshal(payload[4:])
        except UNDECODABLE:
            raise HardError(501, f"cannot decode {wire.erlang(payload[4:])}") from None
        return asked

    def close_channel(self, number: int, error: ChannelError, index: int = 0) -> None:
        """Close a channel from the broker's side."""
        channel = self.channels[number]
        if channel.confirms is not None:
            channel.confirms.flush()
        channel.send(Channel.Close(error.code, str(error)[:255], index >> 16, index & 0xFFFF))
        channel.end()

    def _closed_channel(self, channel: ServerChannel) -> None:
        if self.channels.get(channel.number) is channel:
            del self.channels[channel.number]
            self.write(wire.plain(channel.number, Channel.CloseOk))

    # The connection itself

    def _on_connection(self, index: int, payload: bytes) -> None:
        if self.state == CLOSING:
            if index == Connection.CloseOk.index:
                self.hang_up()
            return
        if index == Connection.Close.index:
            self._end_channels()
            self.write(wire.plain(0, Connection.CloseOk))
            self.state = CLOSING
            return
        match self.state, index:
            case "start-ok", Connection.StartOk.index:
                self._authenticate(self._decoded(Connection.StartOk, payload))
            case "tune-ok", Connection.TuneOk.index:
                tuned = self._decoded(Connection.TuneOk, payload)
                self.largest = self.stream.largest = min(tuned.frame_max or self.broker.frame_max, self.broker.frame_max) - 8
                self.state = OPEN
                if tuned.heartbeat:
                    self._beat(tuned.heartbeat / 2)
            case "open", Connection.Open.index:
                name = self._decoded(Connection.Open, payload).virtual_host
                if name not in self.broker.vhosts:
                    raise HardError(530, f"vhost {name} not found")
                self.vhost = self.broker.vhosts[name]
                self.state = RUNNING
                self.write(wire.plain(0, Connection.OpenOk))
            case "running", Connection.UpdateSecret.index:
                self.write(wire.plain(0, Connection.UpdateSecretOk))
            case _:
                raise HardError(504, f"unexpected method in connection state {self.state}")

    def _authenticate(self, answer: commands.Connection.StartOk) -> None:
        self.client = answer.client_properties or {}
        _, user, password, *_ = [*answer.response.split("\0"), "", ""]
        if answer.mechanism != "PLAIN" or self.broker.users.get(user) != password:
            if self.capable("authentication_failure_close"):
                self.send(Connection.Close(403, REFUSED.format(answer.mechanism), 0, 0))
            self.hang_up()
            return
        self.state = TUNE_OK
        self.send(Connection.Tune(self.broker.channel_max, self.broker.frame_max, self.broker.heartbeat))

    def _beat(self, pause: float) -> None:
        loop = self.broker.loop
        if self.state == CLOSED:
            return
        now = loop.time()
        if not self.blocked and now - self.heard > 4 * pause:
            self.reset()
            return
        if now - self.wrote >= pause:
            self.write(HEARTBEAT)
        self.beat = loop.call_later(pause, self._beat, pause)

    def block(self) -> None:
        """The broker is short of something: read no more from a client that publishes."""
        self.blocked = True
        self.incoming.pause()
        if self.capable("connection.blocked"):
            self.send(Connection.Blocked("low on memory"))

    def unblock(self) -> None:
        """The alarm is over."""
        if self.blocked:
            self.blocked = False
            self.heard = self.broker.loop.time()
            if self.capable("connection.blocked"):
                self.write(wire.plain(0, Connection.Unblocked))
            self.incoming.resume()

    # The end

    def fail(self, error: HardError, index: int = 0) -> None:
        """Close the connection with a reason; then wait for the client to agree."""
        self._end_channels()
        self.send(Connection.Close(error.code, str(error)[:255], index >> 16, index & 0xFFFF))
        self.state = CLOSING

    def hang_up(self) -> None:
        """Close the socket once all is sent."""
        self._gone()
        self.outgoing.end()

    def reset(self) -> None:
        """Close the socket at once; what was not sent is lost."""
        self._gone()
        self.outgoing.reset()

    def vanish(self) -> None:
        """The broker's machine is gone without a word."""
        self.vanished = True
        self.outgoing.silence()
        self._gone()

    def lost(self) -> None:
        """The client is gone, or the network between."""
        self._gone()

    def _gone(self) -> None:
        if self.state == CLOSED:
            return
        self._end_channels()
        self.state = CLOSED
        if self.beat is not None:
            self.beat.cancel()
        self.broker.connections.pop(self.number, None)
        for queue in self.own:
            if not queue.deleted:
                queue.vhost.delete_queue(queue, "its connection ended")

    def _end_channels(self) -> None:
        channels = self.stop_consumers()
        self.channels.clear()
        for channel in channels:
            channel.end()

    def stop_consumers(self) -> list[ServerChannel]:
        """End all consumers, so that nothing that comes back from one goes to another; returns their channels."""
        channels = [channel for channel in self.channels.values() if not channel.closing or channel.unsettled]
        for channel in channels:
            channel.stop()
        return channels
