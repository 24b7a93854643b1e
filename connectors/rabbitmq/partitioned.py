"""An open partitioned queue to read from: a source for each partition, which workers share, and the change of the plan."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any

from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.member import Member
from warren.connectors.rabbitmq.plan import Layout, Plan
from warren.connectors.rabbitmq.receiver import Waiting
from warren.connectors.rabbitmq.spread import PATIENCE as LEAVING_PATIENCE
from warren.connectors.rabbitmq.spread import Spread
from warren.core.handles import Handles
from warren.core.health import PATIENCE, Health
from warren.core.message import Batch

__all__ = ["PartitionSource"]

log = logging.getLogger("warren.rabbitmq")

_SERIAL = 80
"""A handle is that of a member, and above these bits the member's number."""
_AGAIN = 0.2
"""Seconds after which a partition that is not quite drained is looked at again."""


class PartitionSource(Waiting):
    """A source connection to all partitions at once. The broker decides which of them this worker gets messages of."""

    def __init__(self, layout: Layout, *, until_empty: bool, credit: int | None) -> None:
        super().__init__()
        self.layout = layout
        self.until_empty = until_empty
        self.credit = credit
        self.link = Link.acquire(layout.broker, "consume")
        self.plan = Plan()
        self.generation = 0
        self._members: dict[int, Member] = {}
        self._made = 0
        self._turn = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def members(self) -> Sequence[Member]:
        """The sources of the partitions that are read now."""
        return tuple(self._members.values())

    async def open(self) -> None:
        """Read the plan, and declare what it says; with a credit, begin to consume."""
        await self._work(self._open())

    async def _open(self) -> None:
        self.plan = await self.layout.ensure(self.link)
        await self._enter(self.plan.current)
        self._start(self._follow())
        if self.credit is not None and not self.until_empty:
            self._start(Spread(self).run())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def _enter(self, generation: int) -> None:
        """Read the partitions of a generation from now on, instead of those that were read."""
        for member in self.members:
            await member.close()
        self._members.clear()
        self.generation = generation
        for partition in range(self.plan.sizes[generation]):
            declaration = self.layout.queue(generation, partition)
            member = Member(self.layout.broker, declaration, partition, until_empty=self.until_empty, credit=self.credit)
            member.on_settled = self.look_again
            self._members[self._made] = member
            self._made += 1
            await member.open()

    async def _follow(self) -> None:
        """Follow the plan as it grows."""
        connection = await self.layout.log.open_ahead(256)
        try:
            while (batch := await connection.receive(256)) is not None:
                self.plan.read(batch)
                await connection.acknowledge(batch.handles)
                self._wake()
        finally:
            await connection.close()

    async def receive(self, limit: int) -> Batch | None:
        while self._closing is None:
            if self._working is not None:
                await self._settled_down()
            elif not self._members:
                await self.open()
            elif failed := next((task for task in self._tasks if task.done()), None):
                failed.result()
                self._tasks.remove(failed)
            elif self.plan.finished(self.generation):
                log.info("partition %r: generation %d is finished", self.layout.name, self.generation)
                await self._work(self._enter(self.plan.current))
            elif leaving := self._leaving():
                await self._work(leaving.leave())
            elif (batch := await self._take(limit)) is not None:
                return batch
            elif (draining := self._draining()) and await self._finish(draining):
                continue
            elif not await self._arrivals(limit, _AGAIN if draining else None) and self.generation == self.plan.latest:
                return None
        return None

    def _leaving(self) -> Member | None:
        """A partition that another worker can take over now; one that takes too long is kept."""
        for member in self.members:
            if member.leaving_since is not None:
                if member.settled_all and member.end is None:
                    return member
                if asyncio.get_running_loop().time() - member.leaving_since > LEAVING_PATIENCE:
                    member.leaving_since = None
        return None

    def _draining(self) -> Member | None:
        """A partition whose end marker has come, and everything before it is settled."""
        done = self.plan.done.get(self.generation, ())
        return next(
            (each for each in self.members if each.end is not None and each.settled_all and each.partition not in done), None
        )

    async def _finish(self, member: Member) -> bool:
        """Write down that a partition is drained, where it is."""
        await self._work(self._finish_drained(member))
        return member.partition in self.plan.done.get(self.generation, ())

    async def _finish_drained(self, member: Member) -> None:
        if await member.drained() and member.end is not None:
            entry = {"done": [self.generation, member.partition]}
            await self.layout.note(entry)
            self.plan.take(entry)
            # Whoever gets the marker after a crash that comes here writes it down once more.
            await member.acknowledge((member.end,))
            member.end = None

    async def _take(self, limit: int) -> Batch | None:
        """What one partition has at hand; each in its turn."""
        order = list(self._members.items())
        for i in range(len(order)):
            serial, member = order[(self._turn + i) % len(order)]
            if not member.ready:
                continue
            self._turn = (self._turn + i + 1) % len(order)
            batch = await member.take(limit)
            if batch is None or (member.end is not None and member.end in batch.handles):
                continue
            base = serial << _SERIAL
            handles: Any = batch.handles
            batch.handles = (
                range(handles.start + base, handles.stop + base)
                if isinstance(handles, range)
                else [handle + base for handle in handles]
            )
            return batch
        return None

    async def _arrivals(self, limit: int, patience: float | None) -> bool:
        """Wait until a partition has something, or there is another reason to look; false where nothing is left in any."""
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        watched = {asyncio.ensure_future(member.arrival(limit)) for member in self.members if member.leaving_since is None}
        waiting: set[asyncio.Future[Any]] = {waiter, *self._tasks, *watched}
        # A member may have got something while the tasks were made, which they find at once.
        try:
            while True:
                done, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                left = done.isdisjoint(watched) or done - watched or any(task.result() for task in done)
                if left or patience is not None:
                    return True
                if waiting.isdisjoint(watched):
                    return False
        finally:
            self._waiter = None
            for task in watched:
                task.cancel()
            await asyncio.gather(*watched, return_exceptions=True)

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        await self._settle(handles, lambda member, own: member.acknowledge(own))

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        await self._settle(handles, lambda member, own: member.release(own, delay, attempts))

    async def _settle(
        self, handles: Sequence[Hashable], settle: Callable[[Member, Sequence[int]], Coroutine[Any, Any, None]]
    ) -> None:
        for run in handles.runs() if isinstance(handles, Handles) else (handles,):
            for serial, own in _parted(run):
                # What is left of a member that is closed came back to its partition, and was settled by another worker.
                if (member := self._members.get(serial)) is not None:
                    await settle(member, own)
        if any(member.settled_all and (member.leaving_since or member.end is not None) for member in self.members):
            self._wake()

    def look_again(self) -> None:
        """Have a waiting `receive` see that something has changed."""
        self._wake()

    async def health(self, patience: float = PATIENCE) -> Health:
        """How it fares: all its partitions together."""
        return Health.joined(f"rabbitmq:{self.layout.name}", [await member.health(patience) for member in self.members])

    async def _close(self) -> None:
        try:
            await self._interrupt()
            for member in self.members:
                await member.close()
        finally:
            await self.link.release()

    async def _interrupt(self) -> None:
        tasks = [*self._tasks, *([self._working] if self._working is not None else [])]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


def _parted(run: Sequence[Hashable]) -> list[tuple[int, Sequence[int]]]:
    """Handles by the member they are of, as the member knows them; what is no handle is left out.

    >>> _parted(range((1 << 80) + 5, (1 << 80) + 7)), _parted([3, 1 << 80, "no handle", 4])
    ([(1, range(5, 7))], [(0, [3, 4]), (1, [0])])
    """
    if isinstance(run, range) and run:
        serial = run[0] >> _SERIAL
        base = serial << _SERIAL
        return [(serial, range(run[0] - base, run[-1] + 1 - base))]
    parts: dict[int, list[int]] = {}
    for handle in run:
        if isinstance(handle, int):
            serial = handle >> _SERIAL
            parts.setdefault(serial, []).append(handle - (serial << _SERIAL))
    return list(parts.items())
