"""What a look at a queue costs its messages: a quorum queue counts it, and drops what it handed out too often."""

from __future__ import annotations

import re

from warren.connectors.rabbitmq import management
from warren.connectors.rabbitmq.ends import OFFSET
from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.plain import Plain
from warren.connectors.rabbitmq.topology import LIMIT, UNLIMITED, QueueDeclaration, QueueKind

__all__ = ["caution", "kind_of"]

_USUAL, _LIMITS = 20, (4, 0)
"""How often a quorum queue hands a message out again where nothing is said, and since which version there is that limit."""
_ARGUMENT = re.compile(rf"inequivalent arg '{LIMIT}' .* current is [^\d-]*?(?P<value>-?\d+|none)")


async def kind_of(link: Link, queue: str) -> QueueKind:
    """Which kind a queue is of: only streams let a consumer say where to begin, the others say what they are."""
    try:
        async with link.channel() as channel:
            await Plain(channel).consume(queue, "warren-look", 1, {OFFSET: "first"})
            return "stream"
    except Exception as error:
        if OFFSET in str(error):
            return "quorum" if "quorum" in str(error).rpartition("queue type")[2] else "classic"
        raise


async def caution(link: Link, queue: str) -> str:
    """What a look does to the messages of a queue that is there, as a sentence; empty where it does no harm."""
    if await kind_of(link, queue) != "quorum":
        return ""
    broker = link.broker
    if broker.management is not None:
        given: list[int] | None = await management.delivery_limits(broker, queue, broker.servers[0].vhost)
    else:
        given = await _argument(link, queue)
    if given is None:
        times = "too often; how often that is, the management API tells (?management=http://host:15672)"
    else:
        limit = _limit(given, link.server_version)
        if limit is None:
            return ""
        times = f"more than {limit} times ({LIMIT})"
    return f"queue {queue!r} counts each look as a delivery, and drops or dead-letters what came back {times}"


def _limit(given: list[int], version: tuple[int, ...]) -> int | None:
    """The limit that follows from argument and policy; ``None`` where there is none.

    >>> _limit([], (3, 13)), _limit([], (4, 0)), _limit([9, 5], (4, 0)), _limit([-1], (4, 0)), _limit([-1], (3, 13))
    (None, 20, 5, None, 0)
    """
    newer = version >= _LIMITS
    if not given:
        return _USUAL if newer else None
    # To newer ones a negative number means no limit, and the other one holds.
    limit = max(given) if newer and min(given) < 0 else min(given)
    return None if limit >= UNLIMITED or (newer and limit < 0) else max(limit, 0)


async def _argument(link: Link, queue: str) -> list[int] | None:
    """The limit a queue was declared with, if any; ``None`` where AMQP does not tell.

    To declare it again changes nothing: where that differs, the broker says in what.
    """
    try:
        async with link.channel() as channel:
            await channel.queue_declare(queue, durable=True, arguments=QueueDeclaration(queue).table)
        return [UNLIMITED]
    except Exception as error:
        if not link.connected:
            raise
        found = _ARGUMENT.search(str(error))
    if found is None:
        return None
    return [] if found["value"] == "none" else [int(found["value"])]
