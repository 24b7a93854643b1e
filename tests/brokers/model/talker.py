"""A client that speaks single AMQP frames and notes every frame that comes back, to compare a model with a real broker."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from pamqp import commands, frame, header
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.heartbeat import Heartbeat

__all__ = ["Talker"]

CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}
CONTENT = ("Basic.Deliver", "Basic.GetOk", "Basic.Return")
CLOSED = "closed"

Seen = dict[str, Any]


class Talker:
    """One connection. ``seen[channel]`` holds what came and was not taken yet, content together with its method."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, notes: list[Seen] | None = None) -> None:
        self.reader = reader
        self.writer = writer
        self.patience = 20.0
        self.notes: list[Seen] = [] if notes is None else notes
        self.seen: defaultdict[int, list[Seen]] = defaultdict(list)
        self.arrived = asyncio.Event()
        self.unfinished: dict[int, tuple[Seen, int]] = {}
        self.task = asyncio.ensure_future(self._read())

    @classmethod
    async def connect(cls, host: str, port: int, notes: list[Seen] | None = None) -> Talker:
        """A connection on which nothing was said yet; all that is taken from it is put into ``notes`` too."""
        return cls(*await asyncio.open_connection(host, port), notes)

    async def shake_hands(self, vhost: str = "/", user: str = "guest", password: str = "guest", heartbeat: int = 0) -> None:
        """Introduce ourselves, as far as the other side goes along."""
        self.raw(header.ProtocolHeader().marshal())
        await self.take(0)
        secret = f"\0{user}\0{password}"
        (answer,) = await self.ask(0, commands.Connection.StartOk({"capabilities": CAPABILITIES}, "PLAIN", secret, "en_US"))
        if answer["name"] == "Connection.Tune":
            await self.ask(0, commands.Connection.TuneOk(2047, 131072, heartbeat), commands.Connection.Open(vhost))

    def raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(data)

    def send(self, channel: int, *frames: Any) -> None:
        """Write frames at once."""
        self.writer.write(b"".join(frame.marshal(each, channel) for each in frames))

    def publish(self, channel: int, body: bytes, key: str, exchange: str = "", **options: Any) -> None:
        """Write one message."""
        mandatory = options.pop("mandatory", False)
        properties = commands.Basic.Properties(**options)
        method = commands.Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory)
        bodies = [ContentBody(body[i : i + 100_000]) for i in range(0, len(body), 100_000)]
        self.send(channel, method, header.ContentHeader(body_size=len(body), properties=properties), *bodies)

    async def take(self, channel: int, count: int = 1) -> list[Seen]:
        """Wait for so many frames on a channel, or for the end of the connection, and take them."""
        seen = self.seen[channel]
        async with asyncio.timeout(self.patience):
            while len(seen) < count and not self.task.done():
                self.arrived.clear()
                await self.arrived.wait()
        taken, seen[:] = seen[:count], seen[count:]
        if len(taken) < count:
            taken.append({"name": CLOSED})
        self.notes += taken
        return taken

    async def confirmed(self, channel: int, *tags: int) -> None:
        """Wait until these publishes are confirmed, in however many acknowledgements; noted once."""
        left, seen = set(tags), self.seen[channel]
        async with asyncio.timeout(self.patience):
            while left and not self.task.done():
                for ack in [each for each in seen if each["name"] == "Basic.Ack"]:
                    seen.remove(ack)
                    last, multiple = ack["delivery_tag"], ack["multiple"]
                    left -= {tag for tag in left if tag == last or (multiple and tag < last)}
                if left:
                    self.arrived.clear()
                    await self.arrived.wait()
        self.notes.append({"name": "confirmed", "tags": sorted(set(tags) - left)})

    async def ask(self, channel: int, *frames: Frame, answers: int = 1) -> list[Seen]:
        """Send frames and take the answers."""
        self.send(channel, *frames)
        return await self.take(channel, answers)

    async def open(self, channel: int, confirm: bool = False) -> None:
        """Open a channel."""
        await self.ask(channel, commands.Channel.Open())
        if confirm:
            await self.ask(channel, commands.Confirm.Select())

    async def declare(self, channel: int, queue: str, **arguments: Any) -> None:
        """Declare a durable queue; the underscores of the arguments' names stand for dashes."""
        table = {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}
        await self.ask(channel, commands.Queue.Declare(queue=queue, durable=True, arguments=table))

    async def consume(self, channel: int, queue: str, prefetch: int = 0, tag: str = "c", **options: Any) -> None:
        """Start a consumer."""
        if prefetch:
            await self.ask(channel, commands.Basic.Qos(prefetch_count=prefetch))
        await self.ask(channel, commands.Basic.Consume(queue=queue, consumer_tag=tag, **options))

    async def close(self) -> None:
        """Leave as if the process had died: no word of goodbye."""
        self.task.cancel()
        self.writer.transport.abort()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while True:
                start = await self.reader.readexactly(7)
                if start.startswith(b"AMQP"):
                    self._note(0, {"name": "ProtocolHeader", "bytes": start + await self.reader.readexactly(1)})
                    continue
                rest = await self.reader.readexactly(int.from_bytes(start[3:]) + 1)
                _, channel, got = frame.unmarshal(start + rest)
                self._frame(channel, got)
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            self.arrived.set()

    def _frame(self, channel: int, got: Any) -> None:
        if isinstance(got, Heartbeat):
            return
        if isinstance(got, header.ContentHeader):
            seen, _ = self.unfinished[channel]
            seen["properties"] = {name: value for name, value in got.properties if value not in (None, "")}
            self.unfinished[channel] = (seen, got.body_size)
        elif isinstance(got, ContentBody):
            self.unfinished[channel][0]["body"] += got.value
        else:
            seen = {"name": got.name, **dict(got)}
            if got.name not in CONTENT:
                self._note(channel, seen)
                return
            self.unfinished[channel] = (seen | {"body": b""}, -1)
        seen, size = self.unfinished[channel]
        if len(seen["body"]) == size:
            del self.unfinished[channel]
            self._note(channel, seen)

    def _note(self, channel: int, seen: Seen) -> None:
        self.seen[channel].append(seen)
        self.arrived.set()
