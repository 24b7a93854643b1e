"""Looking at queues and removing them, from outside of any pipeline."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.delays import LEVELS, delay_queue, delay_register
from warren.connectors.rabbitmq.link import Link, Role
from warren.connectors.rabbitmq.presence import marker
from warren.connectors.rabbitmq.topology import QueueDeclaration, topology_error
from warren.core.errors import BrokerError, WarrenError

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel

__all__ = ["Look", "delete", "linked", "look", "looked"]


class Look(NamedTuple):
    """What every broker tells of a queue: messages that are ready to be delivered, and its consumers."""

    ready: int
    consumers: int


async def look(queue: str, broker: Broker) -> Look | None:
    """See how a queue stands; ``None`` where there is none.

    Raises `BrokerError` where the broker cannot be reached, and `TopologyError` where it does not let the queue be seen.
    """
    async with linked(broker, "consume", queue) as link, link.channel() as channel:
        return await looked(channel, queue)


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

    Removing one that is not there does nothing.

    Raises `BrokerError` where the broker cannot be reached, and `TopologyError` where a queue may not be removed.

    >>> import asyncio
    >>> asyncio.run(delete("orders", broker=Broker("amqp://me:secret@localhost:1", patience="1ms")))
    Traceback (most recent call last):
    ...
    warren.core.errors.BrokerError: the broker at amqp://me@localhost:1 cannot be reached: ...
    """
    broker = Broker.given(broker)
    for queue in queues:
        async with linked(broker, "publish", queue) as link:
            async with link.channel() as channel:
                delayed = await looked(channel, delay_register(queue).name) is not None
            names = [queue, marker(queue)]
            if delayed:
                # The register goes last, as it tells that there may be others.
                names += [delay_queue(queue, each).name for each in LEVELS] + [delay_register(queue).name]
            async with link.channel() as channel:
                for name in names:
                    await channel.queue_delete(name)


@asynccontextmanager
async def linked(broker: Broker, role: Role, queue: str) -> AsyncIterator[Link]:
    """A link for a few commands about one queue, whose errors are sentences."""
    link = Link.acquire(broker, role)
    try:
        yield link
    except WarrenError:
        raise
    except Exception as error:
        where = str(link.server or broker)
        refused = topology_error(error, QueueDeclaration(queue), where)
        raise refused or BrokerError(f"queue {queue!r} on {where}: {error}; try again") from error
    finally:
        await link.release()
