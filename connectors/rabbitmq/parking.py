"""Putting messages back with a delay and a count of attempts: as copies, confirmed before the originals go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.delays import delay_queue, delay_register, level
from warren.connectors.rabbitmq.held import Entry
from warren.connectors.rabbitmq.messages import BROKEN, BROKERS, DELIVERIES, FIRST_FAILED
from warren.connectors.rabbitmq.port import Parcel
from warren.connectors.rabbitmq.queues import looked
from warren.connectors.rabbitmq.sink import Publisher
from warren.connectors.rabbitmq.topology import declare
from warren.core.message import ATTEMPTS

__all__ = ["Parking", "copied"]

_USER = "warren-user-id"
"""The header that keeps who published a message, which the broker lets nobody else say in the property."""
_FAILED = FIRST_FAILED.encode()
_DROPPED = BROKERS | {ATTEMPTS, DELIVERIES, "CC", "BCC"}


_SETTLING = 2.5
"""Seconds in which a node that is killed forgets a quorum queue that was just declared, with all that it has confirmed (seen
on single nodes of all versions; it writes the registration of a queue late)."""


class Parking:
    """The delay queues of one queue; connects when the first message is parked."""

    def __init__(self, broker: Broker, queue: str) -> None:
        self.broker = broker
        self.queue = queue
        self._publisher: Publisher | None = None
        self._declared: set[int] = set()
        self._settles_at: dict[int, float] = {}
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
            self._publisher = Publisher(self.broker)
        milliseconds = level(delay) if delay > 0 else 0
        failed = {FIRST_FAILED: f"{time.time():.6f}"}
        properties = [
            copied(
                head,
                {ATTEMPTS: attempts, DELIVERIES: deliveries} | (failed if attempts > 1 and _FAILED not in head else {}),
                expires=not milliseconds,
            )
            for _, head, attempts, deliveries in entries
        ]
        ids = [frames.read_properties(each).message_id for each in properties]
        bodies = [entry[0] for entry in entries]
        copies = Parcel("", await self._target(self._publisher, milliseconds), ids, properties, bodies)
        refused = await self._publisher.publish(copies)
        if refused and milliseconds:
            # Somebody removed the delay queue.
            self._declared.discard(milliseconds)
            await self._target(self._publisher, milliseconds)
            refused = await self._publisher.publish(copies.part(sorted(refused)))
        if refused:
            raise next(iter(refused.values()))
        now = asyncio.get_running_loop().time()
        self.back = max(self.back, now + milliseconds / 1000)
        return max(0.0, self._settles_at.get(milliseconds, 0.0) - now)

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
    except ConnectionError:
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
