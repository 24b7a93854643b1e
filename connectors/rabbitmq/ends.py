"""Where a stream ends, and whether it is the same one as before: AMQP does not tell, but a reader of its own sees it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq.gauge import Gauge
from warren.connectors.rabbitmq.port import Port
from warren.connectors.rabbitmq.queues import Look as Depth
from warren.connectors.rabbitmq.session import Session

if TYPE_CHECKING:
    from warren.connectors.rabbitmq.streaming import StreamSource

__all__ = ["OFFSET", "Backlog", "Look", "offset_of"]

OFFSET = "x-stream-offset"
_MARK = b"\x0f" + OFFSET.encode() + b"l"
_MANY = 65_535
"""More messages than the broker ever writes together."""
_PROBABLY, _SURELY, _AT_MOST = 0.1, 1.0, 3.0
"""Seconds for messages to come: where there may be none, where there should be some, where the broker counts some."""
_PAUSE = 0.005


def offset_of(head: bytes) -> int:
    """Where in its stream a message stands, from its encoded properties.

    >>> offset_of(frames.properties("", frames.table({"x-stream-offset": 7}), True, b"1", 0))
    7
    """
    at = head.find(_MARK)
    if at < 0 or head.find(_MARK, at + 1) >= 0:
        # Not written as usual, or a value of a header looks like it.
        return int(frames.read_table(frames.read_properties(head).headers)[OFFSET])
    at += len(_MARK)
    return int.from_bytes(head[at : at + 8], "big")


class Look:
    """A look at a stream over a port of its own. Its own count of messages is up to five seconds old, so it is read."""

    def __init__(self, port: Port, stream: str) -> None:
        self.port = port
        self.stream = stream
        self.count = 0
        """How many messages the broker counted lately."""
        self._consumers = 0

    async def read(self, where: str | int | datetime, most: int, patience: float | None = None) -> tuple[int, int] | None:
        """The offsets of the first and the last of the messages that come at once from some point on; ``None`` for none.

        Without ``patience``, what comes is waited for longer where the broker counts some messages.
        """
        port = self.port
        self._consumers += 1
        tag = f"look{self._consumers}"
        await port.consume(self.stream, tag, most, {OFFSET: where})
        clock = asyncio.get_running_loop().time
        begun = clock()
        while True:
            # What is there comes before the answer to a question on the same channel; on RabbitMQ 4 rarely to a later one.
            self.count = (await port.channel.queue_declare(self.stream, passive=True)).message_count or 0
            within = patience if patience is not None else _AT_MOST if self.count else _PROBABLY
            if port.arrivals.heads or clock() - begun > within:
                break
            await asyncio.sleep(_PAUSE)
        await port.cancel(tag)
        heads = port.arrivals.heads
        found = (offset_of(heads[0]), offset_of(heads[-1])) if heads else None
        port.arrivals.clear()
        port.taken()
        return found

    async def last(self) -> int:
        """The offset of the last message; -1 where there is none."""
        found = await self.read("last", _MANY)
        if found is not None:
            return found[1]
        first = await self.read("first", 1)
        if first is None:
            return -1
        # The broker has begun a file and has nothing in it yet: from near the end, read on.
        guess = first[0] + max(self.count - 1, 0)
        while (found := await self.read(guess, _MANY)) is None and guess > first[0]:
            guess = (first[0] + guess) // 2
        last = -1
        while found is not None and found[1] > last:
            last = found[1]
            found = await self.read(last, _MANY, _SURELY)
        return last

    async def has_more(self, seen: int, reached: int, start: int | datetime) -> bool:
        """Whether there are messages behind what a reader has reached, which saw ``seen`` at most; from ``start`` for -1."""
        if seen < 0:
            return await self.read(start, 1) is not None
        if reached < seen:
            return await self.read(reached + 1, 1, _SURELY) is not None
        # The one that is known comes first, and what is behind it comes with it.
        found = await self.read(seen, 2, _SURELY)
        return found is not None and found[1] > seen

    async def identify(self, seen: int) -> Literal["same", "empty", "other"]:
        """Whether this is the stream whose message at ``seen`` was read: one that was made anew is shorter for a while."""
        for _ in range(2):
            if await self.read(seen, 1, _SURELY) is not None:
                return "same"
            if await self.read("first", 1, _AT_MOST) is None:
                return "empty"
        return "other"


class Backlog(Gauge):
    """What a reader of a stream has still to fetch."""

    def __init__(self, source: StreamSource) -> None:
        super().__init__(source.link, source.queue)
        self.source = source

    async def _looked(self, session: Session) -> Depth | None:
        look = await super()._looked(session)
        if look is None:
            return None
        port = await session.port()
        try:
            end = await Look(port, self.queue).last()
        finally:
            await port.close()
        # Whoever else reads a stream takes nothing from it, so only the own consumers matter.
        return Depth(max(0, end - self.source.reached - self.source.unread), self.source.consumers)
