"""The queues of a broker, looked at and put in order from outside of any pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from warren.connectors.rabbitmq import management
from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.checkup import checkup, queue_checkup
from warren.connectors.rabbitmq.ends import OFFSET, offset_of
from warren.connectors.rabbitmq.limits import caution, kind_of
from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.messages import Heads, batch
from warren.connectors.rabbitmq.plain import Plain
from warren.connectors.rabbitmq.queue import Queue
from warren.connectors.rabbitmq.queues import delete, linked, look, looked
from warren.connectors.rabbitmq.replay import replay
from warren.connectors.rabbitmq.topology import QueueDeclaration, declare
from warren.core.admin import Chosen, Replayed
from warren.core.checkup import Finding
from warren.core.errors import BrokerError, TopologyError
from warren.core.health import QueueHealth
from warren.core.message import Batch

__all__ = ["BrokerAdmin"]

_QUIET = 1.0
"""Seconds without a message after which no more are expected, as others take them as well."""
_MOST = 1000
_PARTS, _LARGEST = 30, 1 << 15
"""How many consumers look after each other, and how many messages each takes at most."""


class BrokerAdmin:
    """The queues of a vhost.

    To look at messages it takes them all and gives them back to their places; they are marked as redelivered then, and
    quorum queues count that, against a limit of deliveries as well. Streams are read as they are.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def queues(self) -> Sequence[QueueHealth]:
        """Every queue, by name. Raises `BrokerError` where no management API is named: AMQP cannot list queues."""
        if self.broker.management is None:
            raise BrokerError(
                f"AMQP cannot list the queues of {self.broker.servers[0]}; name one with ?queue=NAME, or the management API "
                f"with ?management=http://user:password@host:15672"
            )
        return [
            QueueHealth(
                name=each["name"],
                depth=each.get("messages_ready"),
                unacked=each.get("messages_unacknowledged"),
                consumers=each.get("consumers"),
            )
            for each in await management.queues(self.broker, self.broker.servers[0].vhost)
        ]

    async def queue(self, name: str) -> QueueHealth:
        """One queue."""
        found = await look(name, self.broker)
        if found is None:
            raise TopologyError(f"there is no queue {name!r} on {self.broker.servers[0]}; check its name and the vhost")
        health = QueueHealth(name=name, depth=found.ready, consumers=found.consumers)
        if self.broker.management is None:
            return health
        known = await management.numbers(self.broker, name, self.broker.servers[0].vhost)
        return health if known is None else msgspec.structs.replace(health, unacked=known.unacked, **known.rates)

    async def create(self, name: str) -> bool:
        """Make a quorum queue as pipelines do; ``False`` where a queue of that name was there already."""
        if await look(name, self.broker) is not None:
            return False
        async with linked(self.broker, "publish", name) as link:
            await declare(link, QueueDeclaration(name))
        return True

    async def delete(self, name: str) -> None:
        """Remove a queue with all that is in it, its delayed messages too."""
        await self.queue(name)
        await delete(name, broker=self.broker)

    async def purge(self, name: str) -> int:
        """Remove the messages that wait."""
        await self.queue(name)
        async with linked(self.broker, "consume", name) as link, link.channel() as channel:
            return (await channel.queue_purge(name)).message_count or 0

    async def caution(self, name: str) -> str:
        """Says where a quorum queue drops what was looked at too often."""
        await self.queue(name)
        async with linked(self.broker, "consume", name) as link:
            return await caution(link, name)

    async def peek(self, name: str, ahead: int = _MOST) -> AsyncGenerator[Batch, None]:
        """The messages that wait, in their order."""
        async with _browsing(self.broker, name, ahead) as browser:
            while (found := await browser.more()) is not None:
                yield found

    async def drop(self, name: str, chosen: Chosen) -> int:
        """Remove those of the waiting messages that are meant."""
        dropped = 0
        async with _browsing(self.broker, name, _MOST) as browser:
            while (found := await browser.more()) is not None:
                tags = [tag for i, tag in enumerate(found.handles) if isinstance(tag, int) and chosen(found.metadata(i))]
                await browser.remove(tags)
                dropped += len(tags)
        return dropped

    async def replay(
        self,
        name: str,
        chosen: Chosen,
        *,
        limit: int | None = None,
        rate: float | None = None,
        progress: Callable[[Replayed], None] | None = None,
    ) -> Replayed:
        """Send letters back; a letter goes when its message is confirmed in its queue."""
        return await replay(name, broker=self.broker, limit=limit, where=chosen, rate=rate, progress=progress)

    async def checkup(self, name: str = "") -> AsyncGenerator[Finding, None]:
        """The broker, its limits and what this user may do there, and the queue."""
        reached = False
        async for finding in checkup(self.broker):
            reached = reached or (finding.what, finding.state) == ("broker", "ok")
            yield finding
        if name and reached:
            async for finding in queue_checkup(self, name):
                yield finding

    def outlet(self, name: str) -> Queue[bytes]:
        """What writes to a queue that is there, of whatever kind it is."""
        return Queue(name, passive=True, broker=self.broker)


@asynccontextmanager
async def _browsing(broker: Broker, queue: str, ahead: int) -> AsyncIterator[_Browser]:
    async with linked(broker, "consume", queue) as link, link.channel() as channel:
        found = await looked(channel, queue)
        if found is None:
            raise TopologyError(f"there is no queue {queue!r} on {broker.servers[0]}; check its name and the vhost")
        port = Plain(channel)
        browser = _Browser(port, queue, found.ready, ahead, await kind_of(link, queue) == "stream")
        try:
            yield browser
        finally:
            await browser.give_back()
            if not browser.stream:
                await _settled(link, queue, found.ready - browser.removed)


async def _settled(link: Link, queue: str, ready: int) -> None:
    """Wait until what was given back is there, as whoever comes before gets later messages first; nobody confirms it."""
    end = asyncio.get_running_loop().time() + _QUIET
    async with link.channel() as channel:
        while asyncio.get_running_loop().time() < end:
            found = await looked(channel, queue)
            if found is None or found.ready >= ready:
                return
            await asyncio.sleep(0.01)


class _Browser:
    """Takes the messages of a queue in their order, and gives back those that were not removed.

    One consumer after the other takes a part and is cancelled with the part in its hands, so that nothing comes twice.
    """

    def __init__(self, port: Plain, queue: str, ready: int, ahead: int, stream: bool) -> None:
        self.port = port
        self.queue = queue
        self.ready = ready
        self.ahead = ahead
        self.stream = stream
        self._parts = 0
        self.removed = 0
        self._offset: int | str = "first"
        self._again = False
        self._changed = asyncio.Event()
        port.on_change = self._changed.set

    async def more(self) -> Batch | None:
        """The next messages; ``None`` where no more wait of those that did at first."""
        if self.ready <= 0:
            return None
        if self._parts == _PARTS:
            raise BrokerError(f"queue {self.queue!r} has more messages than can be looked at; remove some of the first")
        # A quorum queue gets back the parts in their order as long as they are few, so they grow.
        wanted = min(self.ahead << self._parts, _LARGEST, self.ready)
        self._parts += 1
        tag = f"warren-look-{self._parts:02}"
        await self.port.consume(self.queue, tag, wanted, {OFFSET: self._offset} if self.stream else {})
        try:
            await self._come(wanted)
        finally:
            came = self.port.arrivals
            if self.port.lost is None:
                await self.port.cancel(tag)
            self._again = bool(came.tags) and came.tags[-1] in came.again
            bodies, heads = came.bodies[:], came.heads[:]
            tags = came.clear()
        if self.port.lost is not None:
            raise BrokerError(f"queue {self.queue!r}: {self.port.lost}; what was looked at is back in it")
        if not tags:
            return None
        self.ready -= len(tags)
        if self.stream:
            self._offset = offset_of(heads[-1]) + 1
        read = Heads(heads)
        return batch(bodies, tags, read, [read.attempts(i) for i in range(len(tags))])

    async def _come(self, wanted: int) -> None:
        """Wait until so many are there, or no more come."""
        while len(self.port.arrivals.tags) < wanted and self.port.lost is None:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), _QUIET)
            except TimeoutError:
                return

    async def remove(self, tags: Sequence[int]) -> None:
        """Have messages leave the queue."""
        await self.port.settle([(tag, False) for tag in tags])
        self.removed += len(tags)

    async def give_back(self) -> None:
        """Put the rest back to its places, by closing the channel: a message that is rejected may go to the end instead.

        A quorum queue keeps what came back in a row of its own and appends to that: the order stays where all of that row
        were taken, which the first message that never was handed out shows.
        """
        while not self.stream and self._again and self.port.lost is None and await self.more() is not None:
            pass
        await self.port.close()
