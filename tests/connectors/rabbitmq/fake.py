"""Servers that are no good RabbitMQ: what listens at an address by mistake, and a broker that sends what none should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

from pamqp import commands, frame

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CAPABILITIES = {"publisher_confirms": True, "basic.nack": True, "consumer_cancel_notify": True, "connection.blocked": True}


class Server:
    """Somebody who listens on loopback."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.port = 0
        self.connections = 0

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(talk: Talk, ssl: SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve each connection with ``talk``, then close it."""
    server = Server(talk)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=ssl)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()


def says(data: bytes) -> Talk:
    """Hear the greeting, answer with these bytes and close."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(data)
        await writer.drain()

    return talk


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hear everything and say nothing, until the other side goes."""
    while await reader.read(65536):
        pass


async def absent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close at once."""


def marshal(number: int, *methods: Any) -> bytes:
    return b"".join(frame.marshal(method, number) for method in methods)


class Broker:
    """A broker that grants everything. ``on_consume(channel, tag)`` gives the bytes that a new consumer gets."""

    def __init__(self, on_consume: Callable[[int, str], bytes] = lambda channel, tag: b"") -> None:
        self.on_consume = on_consume
        self.settled: list[Any] = []
        self.frame_max = 131072

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        properties = {"capabilities": CAPABILITIES, "version": "4.9.9", "product": "fake"}
        writer.write(marshal(0, commands.Connection.Start(0, 9, properties, "PLAIN", "en_US")))
        while True:
            start = await reader.readexactly(7)
            rest = await reader.readexactly(int.from_bytes(start[3:7], "big") + 1)
            _, channel, method = frame.unmarshal(start + rest)
            answer = self._answer(channel, method)
            writer.write(answer)
            if isinstance(method, commands.Connection.Close):
                return

    def _answer(self, channel: int, method: Any) -> bytes:
        match method:
            case commands.Connection.StartOk():
                return marshal(0, commands.Connection.Tune(2047, self.frame_max, 60))
            case commands.Queue.Declare():
                return marshal(channel, commands.Queue.DeclareOk(method.queue, 0, 0))
            case commands.Basic.Consume():
                granted = marshal(channel, commands.Basic.ConsumeOk(method.consumer_tag))
                return granted + self.on_consume(channel, method.consumer_tag)
            case commands.Basic.Cancel():
                return marshal(channel, commands.Basic.CancelOk(method.consumer_tag))
            case commands.Basic.Ack() | commands.Basic.Nack():
                self.settled.append(method)
        granted = _GRANTED.get(type(method))
        return marshal(channel, granted()) if granted is not None else b""


_GRANTED: dict[type, Callable[[], Any]] = {
    commands.Connection.Open: commands.Connection.OpenOk,
    commands.Connection.Close: commands.Connection.CloseOk,
    commands.Channel.Open: commands.Channel.OpenOk,
    commands.Channel.Close: commands.Channel.CloseOk,
    commands.Confirm.Select: commands.Confirm.SelectOk,
    commands.Basic.Qos: commands.Basic.QosOk,
    commands.Queue.Bind: commands.Queue.BindOk,
    commands.Exchange.Declare: commands.Exchange.DeclareOk,
}


def delivery(channel: int, consumer: str, tag: int, properties: bytes, body: bytes, *, end: bytes = b"\xce") -> bytes:
    """A message for a consumer, with its properties as they are given and any byte at the end of its header."""
    header = b"\x00\x3c\x00\x00" + len(body).to_bytes(8, "big") + properties
    return b"".join(
        (
            marshal(channel, commands.Basic.Deliver(consumer, tag, False, "", "q")),
            b"\x02" + channel.to_bytes(2, "big") + len(header).to_bytes(4, "big") + header + end,
            b"\x03" + channel.to_bytes(2, "big") + len(body).to_bytes(4, "big") + body + b"\xce" if body else b"",
        )
    )
