"""Who holds messages of a queue: AMQP does not tell, so those who run until it is empty tell each other.

Who may hold messages keeps a consumer on a small queue beside it, in which there is never a message; the broker counts
consumers, and forgets those of a killed process. The small queue goes by itself when nobody has used it for a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

from warren.connectors.rabbitmq.delays import LEVELS, delay_queue, delay_register
from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.topology import QueueDeclaration, topology_error

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel

__all__ = ["Presence", "marker"]

_UNUSED = 60_000
_ON_ITS_WAY = 1.0
"""Seconds that a message takes at most from a delay queue to its own, as a rule: no queue counts it meanwhile."""


def marker(queue: str) -> str:
    """The small queue beside a queue, on which its holders keep their consumers."""
    return f"{queue}.holders"


Rest = Literal["here", "elsewhere", "unsure", "none"]
"""Where the rest of a queue's messages is: ready, delayed or held by others, perhaps on its way, or nowhere."""


class _Found(NamedTuple):
    """How many messages are ready, how many wait in delay queues, and how many others may hold some."""

    ready: int
    delayed: int
    others: int


class Presence:
    """One connection's word on whether it may hold messages, and its look at the others."""

    def __init__(self, link: Link, queue: str) -> None:
        self.link = link
        self.queue = queue
        self._channel: AbstractChannel | None = None
        self._tag: str | None = None
        self._came: object = None
        self._looks = 0
        self._back = float("-inf")

    async def _declare(self, channel: AbstractChannel) -> int:
        declared = await channel.queue_declare(marker(self.queue), durable=True, arguments={"x-expires": _UNUSED})
        return declared.consumer_count or 0

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[AbstractChannel]:
        """The channel to ask on; what goes wrong because the connection is lost comes out as `ConnectionError`.

        Raises `TopologyError` where the broker refuses.
        """
        session = await self.link.session()
        try:
            if self._channel is None or self._channel.is_closed:
                self._tag = None
                self._channel = await session.channel()
            yield self._channel
        except Exception as error:
            if not session.alive:
                raise ConnectionError(str(error)) from error
            where = str(self.link.broker.servers[session.index])
            refused = topology_error(error, QueueDeclaration(self.queue, passive=True), where)
            if refused is None:
                raise
            raise refused from error

    async def enter(self) -> None:
        """Say that messages may be held from now on. Raises `ConnectionError` where the connection is lost meanwhile."""
        async with self._asking() as channel:
            if self._tag is None:
                await self._declare(channel)
                self._tag = (await channel.basic_consume(marker(self.queue), _nobody)).consumer_tag

    async def company(self, present: bool) -> int:
        """Enter or leave, and count who is there. Raises `ConnectionError` where the connection is lost meanwhile."""
        await (self.enter() if present else self.leave())
        async with self._asking() as channel:
            return await self._declare(channel)

    async def leave(self) -> None:
        """Say that none is held any more. Raises `ConnectionError` where the connection is lost meanwhile."""
        if self._tag is not None:
            async with self._asking() as channel:
                tag, self._tag = self._tag, None
                if tag is not None:
                    await channel.basic_cancel(tag)

    async def empty(self) -> bool:
        """Whether nothing is ready, for one who consumes: the queue itself then counts a consumer at least.

        For a quorum queue that takes longer than 0.25 s the broker answers in its place: no messages, no consumers. Raises
        `ConnectionError` where the connection is lost meanwhile.
        """
        async with self._asking() as channel:
            told = await channel.queue_declare(self.queue, passive=True)
            return bool(told.consumer_count) and not told.message_count

    async def rest(self, holds: bool, came: object, back: float) -> Rest:
        """Whether there is more to come for one who holds messages or not.

        ``came`` changes whenever one has come, and ``back`` is when the last one that it delayed itself comes back.

        Messages move while it looks, so one look proves nothing: it takes two that find nothing, and between them none may
        have come to a consumer. Raises `ConnectionError` where the connection is lost meanwhile.
        """
        if not holds:
            await self.leave()
        found = await self._look()
        now = asyncio.get_running_loop().time()
        if found.delayed:
            self._back = now
        if any(found) or came != self._came:
            self._came, self._looks = came, 0
        if found.ready:
            return "here"
        if any(found) or min(abs(now - self._back), abs(now - back)) < _ON_ITS_WAY:
            return "elsewhere"
        self._looks += 1
        return "none" if self._looks > 1 else "unsure"

    async def _look(self) -> _Found:
        async with self._asking() as channel:
            others = await self._declare(channel) - (self._tag is not None)
            # Where messages come from is looked at before where they go to.
            delayed = 0 if others else await self._delayed()
            ready = await channel.queue_declare(self.queue, passive=True)
            return _Found(ready.message_count or 0, delayed, others)

    async def _delayed(self) -> int:
        """How many messages wait in the delay queues; most queues have none, so one question comes first."""
        if await self._count(delay_register(self.queue).name) is None:
            return 0
        # One after the other: aiormq drops the answer to a refusal when many channels are refused at once.
        counts = [await self._count(delay_queue(self.queue, each).name) for each in LEVELS]
        return sum(count for count in counts if count)

    async def _count(self, queue: str) -> int | None:
        """How many messages wait in a queue; ``None`` where there is no such queue."""
        from aiormq.exceptions import ChannelNotFoundEntity

        try:
            async with self.link.channel() as channel:
                return (await channel.queue_declare(queue, passive=True)).message_count or 0
        except ChannelNotFoundEntity:
            return None

    async def close(self) -> None:
        """Leave, and close its channel."""
        if self._channel is not None and not self._channel.is_closed:
            await self._channel.close()


async def _nobody(message: object) -> None:
    """Nothing is ever sent to the marker."""
