"""Changing how many partitions there are, while messages flow: the old ones are read to their end before the new ones."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.member import END
from warren.connectors.rabbitmq.messages import Ids
from warren.connectors.rabbitmq.plan import Layout, Plan
from warren.connectors.rabbitmq.port import Parcel
from warren.connectors.rabbitmq.queues import delete, looked
from warren.connectors.rabbitmq.sink import Publisher
from warren.core.clock import Duration, seconds
from warren.core.errors import BrokerError, GraphError

__all__ = ["repartition"]

log = logging.getLogger("warren.rabbitmq")

_LOOK = 0.25
"""Seconds between two looks at how far it is."""
_STRAGGLERS = 1.0
"""Seconds in which a broker brings to the old partitions what it routed before they were unbound."""


async def repartition(
    name: str,
    *,
    to: int,
    broker: Broker | None = None,
    deadline: Duration = "10m",
    progress: Callable[[str], None] = log.info,
) -> None:
    """Change how many partitions a queue has, while writers write and workers read.

    New partitions are made, and messages are led there. Workers read the old ones to their end, delayed messages included,
    and only when all of them are settled do they begin with the new ones, so each key keeps its order. What comes in the
    moment of the change goes to both, so some messages come twice; nothing is lost. Then the old ones are removed.

    Workers have to run, as they do the draining. When ``deadline`` has passed, it raises `BrokerError`; nothing is lost
    then either: the workers go on, and calling it again with the same number takes up what is left to do. ``progress`` is
    told in words how far it is.

    Raises `GraphError` where another change is not finished, `BrokerError` where there is no such queue or the broker
    cannot be reached, and `TopologyError` where it refuses.

    >>> asyncio.run(repartition("orders", to=8, broker=Broker("amqp://me:secret@localhost:1", patience="1ms")))
    Traceback (most recent call last):
    ...
    warren.core.errors.BrokerError: the broker at amqp://me@localhost:1 cannot be reached: ...
    """
    if to < 1:
        raise GraphError(f"partition {name!r}: {to} partitions cannot be; give 1 or more")
    broker = Broker.given(broker)
    change = _Change(Layout(name, to, broker), time.monotonic() + seconds(deadline), progress)
    try:
        await change.run()
    finally:
        await change.link.release()


class _Change:
    def __init__(self, layout: Layout, end: float, progress: Callable[[str], None]) -> None:
        self.layout = layout
        self.name = layout.name
        self.end = end
        self.tell = progress
        self.link = Link.acquire(layout.broker, "publish")

    async def run(self) -> None:
        await self.link.session()
        async with self.link.channel() as channel:
            if await looked(channel, f"{self.name}.plan") is None:
                raise BrokerError(
                    f"partition {self.name!r} is not on {self.layout.broker}: start what writes to it or reads it first"
                )
        plan = await self.layout.plan()
        old, new = self._generations(plan)
        if not new:
            self.tell(f"{self.name} has {self.layout.partitions} partitions already")
            return
        partitions = plan.sizes[old]
        if new not in plan.sizes:
            await self.layout.build(self.link, new, self.layout.partitions, plan.hash)
            await self.layout.note({"generation": new, "partitions": self.layout.partitions})
            plan = await self.layout.plan()
            if plan.sizes[new] != self.layout.partitions:
                raise GraphError(self._underway(plan, new))
        if not plan.finished(old):
            await self._lead(plan, old, new)
            await self._drained(old, partitions)
        await self._remove(old, partitions)
        self.tell(f"{self.name} has {self.layout.partitions} partitions now")

    def _generations(self, plan: Plan) -> tuple[int, int]:
        """The generation to be read to its end, and the one after it; 0 where there is nothing to do."""
        if not plan.ready:
            raise BrokerError(
                f"partition {self.name!r} on {self.layout.broker} is not complete: start what writes to it or reads it first"
            )
        current, latest = plan.current, plan.latest
        if current < latest:
            if plan.sizes[latest] != self.layout.partitions:
                raise GraphError(self._underway(plan, latest))
            return current, latest
        if plan.sizes[latest] != self.layout.partitions:
            return latest, latest + 1
        # What an interrupted change left is removed.
        return (latest - 1, latest) if latest > 1 else (latest, 0)

    def _underway(self, plan: Plan, generation: int) -> str:
        size = plan.sizes[generation]
        return f"partition {self.name!r} is being changed to {size} partitions: finish that first, with {size} once more"

    async def _lead(self, plan: Plan, old: int, new: int) -> None:
        """Lead messages to the new generation, and mark the end of each old partition."""
        partitions = plan.sizes[old]
        await self.layout.lead(self.link, new, plan.hash)
        async with self.link.channel() as channel:
            await channel.exchange_unbind(self.layout.exchange(old), self.name, "")
        await self.layout.note({"ready": new})
        self.tell(f"messages go to the new {self.layout.partitions} partitions; the old {partitions} are read to their end")
        await asyncio.sleep(_STRAGGLERS)
        publisher = Publisher(self.layout.broker)
        try:
            head = frames.table({END: str(old)})
            ids = Ids().take(partitions)
            heads = [frames.properties("", head, True, each.encode(), int(time.time())) for each in ids]
            queues = [self.layout.queue(old, each).name for each in range(partitions)]
            refused = await publisher.publish(Parcel("", queues, ids, heads, [b""] * partitions))
        finally:
            await publisher.close()
        for error in refused.values():
            raise error

    async def _drained(self, old: int, partitions: int) -> None:
        known = -1
        connection = await self.layout.log.open_ahead(256)
        plan = Plan()
        try:
            while not plan.finished(old):
                try:
                    async with asyncio.timeout(max(self.end - time.monotonic(), 0.0)):
                        batch = await connection.receive(256)
                except TimeoutError:
                    raise self._late(f"{max(known, 0)} of {partitions} old partitions are drained") from None
                if batch is not None:
                    plan.read(batch)
                    await connection.acknowledge(batch.handles)
                if (drained := len(plan.done.get(old, ()))) != known:
                    known = drained
                    self.tell(f"{drained} of {partitions} old partitions are drained")
        finally:
            await connection.close()

    def _late(self, state: str) -> BrokerError:
        return BrokerError(
            f"partition {self.name!r}: {state}, and the time is up; see that its workers run, and do it again with "
            f"{self.layout.partitions}"
        )

    async def _remove(self, old: int, partitions: int) -> None:
        """Remove the old partitions once their readers have left them; one that is not empty stays."""
        async with self.link.channel() as channel:
            await channel.exchange_delete(self.layout.exchange(old))
        for partition in range(partitions):
            queue = self.layout.queue(old, partition).name
            while not await self._left(queue):
                if time.monotonic() > self.end:
                    raise self._late(f"the old queue {queue!r} is still read")
                await asyncio.sleep(_LOOK)
            await delete(queue, broker=self.layout.broker)

    async def _left(self, queue: str) -> bool:
        """Whether nobody reads a queue any more; a broker does not remove a quorum queue on that condition."""
        async with self.link.channel() as channel:
            found = await looked(channel, queue)
        if found is not None and found.ready and not found.consumers:
            raise BrokerError(
                f"the old queue {queue!r} got {found.ready:,} message(s) after its end; move them to the exchange "
                f"{self.name!r}, then do it again"
            )
        return found is None or not found.consumers
