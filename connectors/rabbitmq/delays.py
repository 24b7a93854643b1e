"""Delays without a plugin: a queue for each length of delay, whose messages go back to where they belong when they expire.

All messages of one such queue wait equally long, so none stands behind a longer one. They are quorum queues that pass
expired messages on with confirmation, so a delayed message survives what a quorum queue survives. Why they are never
removed, and more: docs/decisions/0010-rabbitmq-delays.md.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left

from warren.connectors.rabbitmq.topology import QueueDeclaration
from warren.core.errors import GraphError

__all__ = ["LEVELS", "beside", "delay_queue", "delay_register", "level"]

_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_STEPS = (2, 3, 4, 6, 8, 10, 14, 20, 30, 40, 60, 90)
"""Halves of a second, or of a minute: 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 45."""

LEVELS: tuple[int, ...] = (
    *(50, 70, 100, 150, 200, 300, 400, 500, 700),
    *(n * _SECOND // 2 for n in _STEPS),
    *(n * _MINUTE // 2 for n in _STEPS),
    *(n * _HOUR // 2 for n in (2, 3, 4, 6, 8, 12, 16, 24, 36)),
    *(n * _DAY // 2 for n in (2, 3, 4, 6, 8, 10, 14, 20, 28, 42, 56)),
)
"""The lengths of delay in milliseconds. Each is at most half as long again as the one before, so that is the most by which
a message waits longer than it was asked to; the lengths people ask for are among them."""

_LONGEST_NAME = 255


def level(delay: float) -> int:
    """The shortest length in milliseconds that is not shorter than ``delay`` seconds.

    Raises `GraphError` for more than four weeks.

    >>> level(0.2), level(12), level(3600)
    (200, 15000, 3600000)
    """
    wanted = delay * 1000
    place = bisect_left(LEVELS, wanted - 1e-6)
    if place == len(LEVELS):
        raise GraphError(
            f"a message cannot be delayed by {delay:g} s on RabbitMQ: the longest delay is 28 days; let the retry policy "
            f"give a shorter one"
        )
    return LEVELS[place]


def delay_queue(queue: str, milliseconds: int) -> QueueDeclaration:
    """The queue in which messages of ``queue`` wait so long.

    >>> delay_queue("orders", 15000).name
    'orders.delay.15s'
    """
    return QueueDeclaration(
        beside(queue, f".delay.{_text(milliseconds)}"),
        arguments={
            "x-message-ttl": milliseconds,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": queue,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


def delay_register(queue: str) -> QueueDeclaration:
    """An empty queue that is there if any message of ``queue`` was ever delayed, so that one look tells."""
    return QueueDeclaration(beside(queue, ".delay"), "classic")


def beside(queue: str, suffix: str) -> str:
    """The name of a queue that belongs to another; where it would be too long, a checksum stands for the end of the other.

    >>> beside("orders", ".holders"), len(beside("o" * 255, ".holders"))
    ('orders.holders', 255)
    """
    name = queue.encode()
    room = _LONGEST_NAME - len(suffix.encode())
    if len(name) > room:
        sum = hashlib.blake2s(name, digest_size=8).hexdigest()
        queue = f"{name[: room - len(sum) - 1].decode(errors='ignore')}-{sum}"
    return queue + suffix


def _text(milliseconds: int) -> str:
    for unit, size in (("d", _DAY), ("h", _HOUR), ("m", _MINUTE), ("s", _SECOND)):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"
