"""Putting messages back with a delay and a count of attempts: as copies, confirmed before the originals go."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.delays import LEVELS, delay_queue, delay_register, level
from warren.connectors.rabbitmq.held import Entry
from warren.connectors.rabbitmq.messages import BROKEN, BROKERS, DELIVERIES, FIRST_FAILED
from warren.connectors.rabbitmq.port import Parcel
from warren.connectors.rabbitmq.queues import looked
from warren.connectors.rabbitmq.sink import Overdue, Publisher
from warren.connectors.rabbitmq.topology import declare
from warren.core.errors import UnroutableError
from warren.core.message import ATTEMPTS

__all__ = ["Parking", "copied"]

_USER = "warren-user-id"
"""The header that keeps who published a message, which the broker lets nobody else say in the property."""
_FAILED = FIRST_FAILED.encode()
_DELAY = "x-delay"
"""The header that tells the delayed-message plugin how many milliseconds to keep a message."""
_DROPPED = BROKERS | {ATTEMPTS, DELIVERIES, "CC", "BCC"}


_PATIENCE = 10.0
"""Seconds in which a delay queue has to confirm; after that a longer delay is taken."""
_SETTLING = 2.5
"""Seconds in which a node that is killed forgets a quorum queue that was just declared, with all that it has confirmed (seen
on single nodes of all versions; it writes the registration of a queue late)."""


class Parking:
    """The delay queues of one queue; connects when the first message is parked."""

    def __init__(self, broker: Broker, queue: str, exchange: str | None = None) -> None:
        self.broker = broker
        self.queue = queue
        self.exchange = exchange
        """One of the delayed-message plugin, which then has the messages instead of delay queues."""
        self._publisher: Publisher | None = None
        self._declared: set[int] = set()
        self._settles_at: dict[int, float] = {}
        self._silent: set[int] = set()
        self.back = float("-inf")
        """When, on the clock of the loop, the last of the copies is back."""

    async def park(self, entries: Sequence[Entry], delay: float) -> float:
        """Publish copies of messages (body, properties, attempts, deliveries) that come back after ``delay`` seconds.

        Returns for how many seconds the originals should outlive their copies, as the queue that has them is fresh.
        Raises `UnroutableError` where the queue itself is gone.
        """
        if not entries:
            return 0.0
        if self._publisher is None:
            self._publisher = Publisher(self.broker, patience=_PATIENCE)
        milliseconds = self._level(delay) if delay > 0 and self.exchange is None else math.ceil(delay * 1000 - 1e-6)
        delayed = {_DELAY: milliseconds} if milliseconds and self.exchange is not None else {}
        failed = {FIRST_FAILED: f"{time.time():.6f}"}
        properties = [
            copied(
                head,
                {ATTEMPTS: attempts, DELIVERIES: deliveries}
                | delayed
                | (failed if attempts > 1 and _FAILED not in head else {}),
                expires=not milliseconds,
            )
            for _, head, attempts, deliveries in entries
        ]
        ids = [frames.read_properties(each).message_id for each in properties]
        copies = Parcel(self.exchange or "", self.queue, ids, properties, [entry[0] for entry in entries])
        refused = await (self._later(copies) if delayed else self._publish(copies._replace(exchange=""), milliseconds))
        for reason in refused.values():
            if not isinstance(reason, Overdue):
                raise reason
        if refused:
            self._silent.add(milliseconds)
            return await self.park([entries[i] for i in sorted(refused)], delay)
        self.expect(milliseconds / 1000)
        return max(0.0, self._settles_at.get(milliseconds, 0.0) - asyncio.get_running_loop().time())

    def _level(self, delay: float) -> int:
        """The length of delay to use: a longer one where a queue has confirmed nothing, and there is one.

        A node that is killed just after it declared a quorum queue may come back with one that never gets a leader.
        """
        fit = level(delay)
        return next((each for each in LEVELS if each >= fit and each not in self._silent), fit)

    def expect(self, delay: float) -> None:
        """Note that a message comes back after ``delay`` seconds."""
        self.back = max(self.back, asyncio.get_running_loop().time() + delay)

    async def _publish(self, copies: Parcel, milliseconds: int) -> dict[int, Exception]:
        assert self._publisher is not None
        refused = await self._publisher.publish(copies._replace(keys=await self._target(self._publisher, milliseconds)))
        gone = sorted(i for i, reason in refused.items() if isinstance(reason, UnroutableError))
        if gone and milliseconds:
            # Somebody removed the delay queue.
            self._declared.discard(milliseconds)
            again = copies._replace(keys=await self._target(self._publisher, milliseconds))
            second = await self._publisher.publish(again.part(gone))
            refused = {i: reason for i, reason in refused.items() if i not in gone}
            refused |= {gone[i]: reason for i, reason in second.items()}
        return refused

    async def _later(self, copies: Parcel) -> dict[int, Exception]:
        assert self._publisher is not None
        refused = await self._publisher.publish(copies)
        # The exchange says of all that they lead nowhere, as they do not yet.
        return {i: reason for i, reason in refused.items() if not isinstance(reason, UnroutableError)}

    async def _target(self, publisher: Publisher, milliseconds: int) -> str:
        """The queue that takes messages for so long; it is there afterwards."""
        if not milliseconds:
            return self.queue
        waiting = delay_queue(self.queue, milliseconds)
        if milliseconds not in self._declared:
            fresh = not await _is_there(publisher, waiting.name)
            await declare(publisher.link, delay_register(self.queue), waiting)
            self._declared.add(milliseconds)
            if fresh:
                self._settles_at[milliseconds] = asyncio.get_running_loop().time() + _SETTLING
        return waiting.name

    async def close(self) -> None:
        """Close its connection."""
        if self._publisher is not None:
            await self._publisher.close()


async def _is_there(publisher: Publisher, queue: str) -> bool:
    try:
        async with publisher.link.channel() as channel:
            return await looked(channel, queue) is not None
    except Exception:
        # What is wrong, the declaration that follows says; until then it counts as fresh.
        return False


def copied(head: bytes, notes: Mapping[str, Any], *, expires: bool = True) -> bytes:
    """The properties of a message for a copy of it: with ``notes`` in its headers, and without what the broker noted there.

    A copy that waits does not expire, and none goes to the queues that CC and BCC name: the original has been there.
    """
    try:
        properties = frames.read_properties(head)
        kept = frames.without(properties.headers, _DROPPED | notes.keys())
    except ValueError as error:
        # What cannot be read cannot be kept beside the notes; the body can.
        properties, kept = frames.Properties(delivery_mode=2), frames.table({BROKEN: str(error)})
    if properties.user_id:
        kept += frames.table({_USER: properties.user_id})
    return frames.write_properties(
        properties._replace(
            headers=kept + frames.table(notes),
            user_id="",
            expiration=properties.expiration if expires else "",
        )
    )
