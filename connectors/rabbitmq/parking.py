"""Putting messages back with a delay and a count of attempts: as copies, confirmed before the originals go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.delays import delay_queue, delay_register, level
from warren.connectors.rabbitmq.messages import DELIVERIES
from warren.connectors.rabbitmq.port import Parcel
from warren.connectors.rabbitmq.sink import Publisher
from warren.connectors.rabbitmq.topology import declare
from warren.core.message import ATTEMPTS

__all__ = ["Parking"]

Entry = tuple[bytes, bytes, int, int]


class Parking:
    """The delay queues of one queue; connects when the first message is parked."""

    def __init__(self, broker: Broker, queue: str) -> None:
        self.broker = broker
        self.queue = queue
        self._publisher: Publisher | None = None
        self._declared: set[int] = set()

    async def park(self, entries: Sequence[Entry], delay: float) -> None:
        """Publish copies of messages (body, properties, attempts, deliveries) that come back after ``delay`` seconds."""
        if not entries:
            return
        if self._publisher is None:
            self._publisher = Publisher(self.broker)
        target = self.queue
        if delay > 0:
            milliseconds = level(delay)
            target = delay_queue(self.queue, milliseconds).name
            await self._declare(milliseconds)
        properties = [_counted(head, attempts, deliveries) for _, head, attempts, deliveries in entries]
        ids = [frames.read_properties(each).message_id for each in properties]
        parcel = Parcel("", target, ids, properties, [entry[0] for entry in entries])
        refused = await self._publisher.publish(parcel)
        if refused and delay > 0:
            # Somebody deleted the queue, or the broker is another one by now.
            self._declared.clear()
            await self._declare(level(delay))
            refused = await self._publisher.publish(parcel.part(sorted(refused)))
        if refused:
            raise next(iter(refused.values()))

    async def _declare(self, milliseconds: int) -> None:
        """Declare the queue for a length of delay, once."""
        if milliseconds not in self._declared:
            assert self._publisher is not None
            await declare(self._publisher.link, delay_register(self.queue), delay_queue(self.queue, milliseconds))
            self._declared.add(milliseconds)

    async def close(self) -> None:
        """Close its connection."""
        if self._publisher is not None:
            await self._publisher.close()


def _counted(head: bytes, attempts: int, deliveries: int) -> bytes:
    """The properties of a message, with its counts in the headers and without what the broker noted in them."""
    properties = frames.read_properties(head)
    headers: dict[str, Any] = frames.read_table(properties.headers) if properties.headers else {}
    kept = {
        name: value for name, value in headers.items() if not name.startswith(("x-delivery-count", "x-death", "x-acquired"))
    }
    return frames.with_headers(properties, kept | {ATTEMPTS: attempts, DELIVERIES: deliveries})
