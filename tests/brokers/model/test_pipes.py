"""The network in memory keeps what asyncio promises of a network."""

from __future__ import annotations

import asyncio

import pytest

from tests.brokers.model import ModelBroker, ModelLoop, Schedule, play


class Reader(asyncio.BufferedProtocol):
    """Takes what comes into a small buffer of its own."""

    def __init__(self) -> None:
        self.buffer = bytearray(16)
        self.got = b""
        self.ends: list[str] = []
        self.over = asyncio.Event()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.got += self.buffer[:nbytes]

    def eof_received(self) -> None:
        self.ends.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.ends.append(repr(exc))
        self.over.set()


def test_the_transport_serves_buffered_and_paused_readers() -> None:
    async def main(broker: ModelBroker) -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(Reader, broker.host, broker.port)
        transport.pause_reading()
        transport.writelines([b"GET ", b"/ HT"])
        await asyncio.sleep(10)
        assert protocol.got == b"" and not transport.is_reading()
        transport.resume_reading()
        await protocol.over.wait()
        assert protocol.got == b"AMQP\0\0\x09\x01"
        assert protocol.ends == ["eof", "None"] and transport.is_closing()

    play(main)
    play(main, Schedule(11, kinds=()))


def test_a_reset_reaches_the_protocol() -> None:
    async def main(broker: ModelBroker) -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(Reader, broker.host, broker.port)
        transport.write(b"AMQP\0\0\x09\x01")
        await asyncio.sleep(1)
        assert protocol.got == broker.greeting
        next(iter(broker.connections.values())).reset()
        await protocol.over.wait()
        assert protocol.ends == ["ConnectionResetError(104, 'Connection reset by peer')"]
        transport, protocol = await loop.create_connection(Reader, broker.host, broker.port)
        transport.abort()
        await protocol.over.wait()
        await asyncio.sleep(1)
        assert protocol.ends == ["None"] and not broker.connections

    play(main)


def test_a_write_waits_while_nothing_gets_through() -> None:
    async def main(broker: ModelBroker) -> None:
        reader, writer = await asyncio.open_connection(broker.host, broker.port)
        writer.write(b"AMQP\0\0\x09\x01")
        assert (await reader.readexactly(1)) == b"\x01"
        (connection,) = broker.connections.values()
        broker.stall(connection, 60)
        writer.write(bytes(400_000))
        began = asyncio.get_running_loop().time()
        await writer.drain()
        assert asyncio.get_running_loop().time() - began >= 60
        writer.close()

    play(main)


def test_without_a_broker_nothing_listens() -> None:
    loop = ModelLoop()
    with pytest.raises(ConnectionRefusedError):
        loop.run_until_complete(asyncio.open_connection("127.0.0.1", 5672))
    loop.close()
