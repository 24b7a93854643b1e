"""Spreading partitions over workers: who has more than a fair share hands over what it got last."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from warren.connectors.rabbitmq.presence import Presence

if TYPE_CHECKING:
    from warren.connectors.rabbitmq.partitioned import PartitionSource

__all__ = ["PATIENCE", "Spread"]

log = logging.getLogger("warren.rabbitmq")

EVERY = 1.0
"""Seconds between two looks at how many workers there are."""
PATIENCE = 30.0
"""Seconds in which what was handed out of a partition must be settled, or it is kept for now."""


class Spread:
    """Looks now and then at how many workers share the partitions.

    Every worker has a consumer on every partition, and the broker makes the next in line the active one when one leaves. A
    worker with too many leaves those it got last and goes to the end of their lines, so what is too much for one moves on
    until somebody has room. Workers are counted by a consumer each on a small queue, as a quorum queue counts none of those
    that stand by; on another one, those who have enough.
    """

    def __init__(self, source: PartitionSource) -> None:
        self.source = source
        self._workers = Presence(source.link, source.layout.name)
        self._content = Presence(source.link, f"{source.layout.name}.content")
        self._least = 0

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                try:
                    await self._look()
                except Exception as error:
                    # Without it, partitions stay with whom they are; on a broker that lets nobody declare, always.
                    log.debug("partition %r: its workers cannot be counted: %s", self.source.layout.name, error)
                await asyncio.sleep(EVERY * random.uniform(0.8, 1.2))
        finally:
            await self._workers.close()
            await self._content.close()

    async def _look(self) -> None:
        source = self.source
        held = [(each.active_since, each) for each in source.members if each.active_since is not None]
        held.sort(key=lambda each: each[0])
        workers = await self._workers.company(True)
        content = await self._content.company(len(held) >= self._least)
        self._least, most = shares(len(source.members), workers)
        if source.plan.latest > source.generation or any(each.leaving_since for each in source.members):
            # While the partitions are drained, or something is being handed over, nothing else is moved.
            return
        excess = max(len(held) - most, 0)
        if not excess and content < workers and len(held) > self._least and random.random() < 0.5:
            # Somebody has less than the least; those who have more need not all give.
            excess = 1
        now = asyncio.get_running_loop().time()
        for _, member in held[len(held) - excess :]:
            member.leaving_since = now
        if excess:
            log.info("partition %r: %d of %d are left to others", source.layout.name, excess, len(held))
            source.look_again()


def shares(partitions: int, workers: int) -> tuple[int, int]:
    """How many partitions each worker shall have at least, and at most.

    >>> shares(5, 2), shares(2, 3)
    ((2, 3), (0, 1))
    """
    workers = max(workers, 1)
    return partitions // workers, -(-partitions // workers)
