"""Putting messages back with a delay and a count of attempts: as copies, confirmed before the originals go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.delays import delay_queue, delay_register, level
from warren.connectors.rabbitmq.messages import BROKEN, BROKERS, DELIVERIES
from warren.connectors.rabbitmq.port import Parcel
from warren.connectors.rabbitmq.sink import Publisher
from warren.connectors.rabbitmq.topology import declare
from warren.core.message import ATTEMPTS

__all__ = ["Parking", "copied"]

Entry = tuple[bytes, bytes, int, int]

_USER = "warren-user-id"
"""The header that keeps who published a message, which the broker lets nobody else say in the property."""
_DROPPED = BROKERS | {ATTEMPTS, DELIVERIES, "CC", "BCC"}


_SETTLING = 1.0
"""Seconds in which a node that is killed forgets a quorum queue that was just declared, with all that it has confirmed (seen
on single nodes of 3.10 and 4.3; it writes the registration of a queue late). The originals are kept for so long."""


class Parking:
    """The delay queues of one queue; connects when the first message is parked."""

    def __init__(self, broker: Broker, queue: str) -> None:
        self.broker = broker
        self.queue = queue
        self._publisher: Publisher | None = None
        self._declared: set[int] = set()
        self._settles_at = 0.0

    async def park(self, entries: Sequence[Entry], delay: float) -> None:
        """Publish copies of messages (body, properties, attempts, deliveries) that come back after ``delay`` seconds.

        Raises `UnroutableError` where the queue itself is gone.
        """
        if not entries:
            return
        if self._publisher is None:
            self._publisher = Publisher(self.broker)
        milliseconds = level(delay) if delay > 0 else 0
        properties = [
            copied(head, {ATTEMPTS: attempts, DELIVERIES: deliveries}, expires=not milliseconds)
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
        fresh = self._settles_at - asyncio.get_running_loop().time()
        if fresh > 0:
            await asyncio.sleep(fresh)

    async def _target(self, publisher: Publisher, milliseconds: int) -> str:
        """The queue that takes messages for so long; it is there afterwards."""
        if not milliseconds:
            return self.queue
        waiting = delay_queue(self.queue, milliseconds)
        if milliseconds not in self._declared:
            await declare(publisher.link, delay_register(self.queue), waiting)
            self._declared.add(milliseconds)
            self._settles_at = asyncio.get_running_loop().time() + _SETTLING
        return waiting.name

    async def close(self) -> None:
        """Close its connection."""
        if self._publisher is not None:
            await self._publisher.close()


def copied(head: bytes, notes: Mapping[str, Any], *, expires: bool = True) -> bytes:
    """The properties of a message for a copy of it: with ``notes`` in its headers, and without what the broker noted there.

    A copy that waits does not expire, and none goes to the queues that CC and BCC name: the original has been there.
    """
    try:
        properties = frames.read_properties(head)
        kept = frames.without(properties.headers, _DROPPED)
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
