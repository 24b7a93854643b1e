"""Looking at queues and removing them, from outside of any pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.delays import LEVELS, delay_queue, delay_register
from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.presence import marker
from warren.core.errors import BrokerError

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel

__all__ = ["Look", "delete", "look"]


class Look(NamedTuple):
    """What every broker tells of a queue: messages that are ready to be delivered, and its consumers."""

    ready: int
    consumers: int


async def look(queue: str, broker: Broker) -> Look | None:
    """See how a queue stands; ``None`` where there is none.

    Raises `BrokerError` where the broker cannot be reached, or does not let it be looked at.
    """
    link = Link.acquire(broker, "consume")
    try:
        async with link.channel() as channel:
            return await looked(channel, queue)
    except ConnectionError as error:
        raise BrokerError(f"queue {queue!r} on {broker.servers[0]} could not be looked at: {error}; try again") from error
    finally:
        await link.release()


async def looked(channel: AbstractChannel, queue: str) -> Look | None:
    """See how a queue stands, on a channel that is closed by it where there is no such queue."""
    from aiormq.exceptions import ChannelNotFoundEntity

    try:
        found = await channel.queue_declare(queue, passive=True)
    except ChannelNotFoundEntity:
        return None
    return Look(found.message_count or 0, found.consumer_count or 0)


async def delete(*queues: str, broker: Broker | None = None) -> None:
    """Remove queues with all that is in them, and what the connector keeps beside each: delayed messages and the like.

    Removing one that is not there does nothing. Raises `BrokerError` where the broker cannot be reached.
    """
    broker = broker if broker is not None else Broker()
    link = Link.acquire(broker, "publish")
    try:
        for queue in queues:
            async with link.channel() as channel:
                delayed = await looked(channel, delay_register(queue).name) is not None
            async with link.channel() as channel:
                for name in (queue, marker(queue)):
                    await channel.queue_delete(name)
                if delayed:
                    for milliseconds in LEVELS:
                        await channel.queue_delete(delay_queue(queue, milliseconds).name)
                    # Last, as it tells that there may be others.
                    await channel.queue_delete(delay_register(queue).name)
    except ConnectionError as error:
        raise BrokerError(f"queues on {broker.servers[0]} could not be removed: {error}; try again") from error
    finally:
        await link.release()
