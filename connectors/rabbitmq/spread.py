"""Spreading partitions over workers: who has more than a fair share hands over what it got last."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from warren.connectors.rabbitmq.queues import looked

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
    until somebody has room.
    """

    def __init__(self, source: PartitionSource) -> None:
        self.source = source

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(EVERY * random.uniform(0.8, 1.2))
            source = self.source
            if source.plan.latest > source.generation or any(each.leaving_since for each in source.members):
                # While the partitions are drained, or something is being handed over, nothing else is moved.
                continue
            held = sorted(
                (each for each in source.members if each.active_since is not None), key=lambda each: each.active_since or 0.0
            )
            workers = await self._workers()
            excess = len(held) - share(len(source.members), workers) if workers else 0
            if excess > 0:
                now = asyncio.get_running_loop().time()
                for member in held[-excess:]:
                    member.leaving_since = now
                log.info("partition %r: %d of %d are left to others", source.layout.name, excess, len(held))
                source.look_again()

    async def _workers(self) -> int:
        """How many workers there are; 0 where that cannot be told now."""
        source, most = self.source, 0
        try:
            async with source.link.channel() as channel:
                for member in source.members:
                    seen = await looked(channel, member.queue)
                    if seen is None:
                        return 0
                    most = max(most, seen.consumers)
        except Exception as error:
            log.debug("partition %r: the workers could not be counted: %s", source.layout.name, error)
            return 0
        return most


def share(partitions: int, workers: int) -> int:
    """How many partitions a worker may have.

    >>> share(5, 2), share(2, 3)
    (3, 1)
    """
    return -(-partitions // workers)
