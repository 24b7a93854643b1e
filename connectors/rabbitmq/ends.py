"""Where a stream ends: AMQP does not tell, but a reader that begins with what was written last sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq.gauge import Gauge
from warren.connectors.rabbitmq.port import Port
from warren.connectors.rabbitmq.queues import Look
from warren.connectors.rabbitmq.session import Session

if TYPE_CHECKING:
    from warren.connectors.rabbitmq.streaming import StreamSource

__all__ = ["MOST_AHEAD", "OFFSET", "Backlog", "last_offset", "offset_of"]

OFFSET = "x-stream-offset"
_MARK = b"\x0f" + OFFSET.encode() + b"l"
MOST_AHEAD = 65_535
"""More messages than the broker ever writes together."""
_PROBABLY, _SURELY, _AT_MOST = 0.1, 5.0, 10.0
"""Seconds for the last message to come: where there may be none, where one was read before, where the broker counts some."""
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


async def last_offset(port: Port, stream: str, expected: int = -1) -> int:
    """The offset of a stream's last message, on a port of its own; -1 where there is none.

    ``expected`` was read before, so less is believed only after a while. A stream's own count of messages will not do: it
    is up to five seconds old.
    """
    await port.consume(stream, "end", MOST_AHEAD, {OFFSET: "last"})
    clock = asyncio.get_running_loop().time
    end = clock() + (_SURELY if expected >= 0 else _PROBABLY)
    while True:
        # What is there comes before the answer to a question on the same channel; on RabbitMQ 4 rarely to a later one.
        declared = await port.channel.queue_declare(stream, passive=True)
        found = offset_of(port.arrivals.heads[-1]) if port.arrivals.heads else -1
        late = clock() > end and (found >= 0 or not declared.message_count or clock() > end + _AT_MOST)
        if (found >= 0 and found >= expected) or late:
            return found
        await asyncio.sleep(_PAUSE)


class Backlog(Gauge):
    """What a reader of a stream has still to fetch."""

    def __init__(self, source: StreamSource) -> None:
        super().__init__(source.link, source.queue)
        self.source = source

    async def _looked(self, session: Session) -> Look | None:
        look = await super()._looked(session)
        if look is None:
            return None
        port = await session.port()
        try:
            end = await last_offset(port, self.queue)
        finally:
            await port.close()
        # Whoever else reads a stream takes nothing from it, so only the own consumers matter.
        return Look(max(0, end - self.source.reached - self.source.unread), self.source.consumers)
