"""Delays without a plugin: a queue for each length of delay, whose messages go back to where they belong when they expire.

All messages of one such queue wait equally long, so none stands behind a longer one. They are quorum queues that pass
expired messages on with confirmation, so a delayed message survives what a quorum queue survives. Why they are never
removed, and more: docs/decisions/0010-rabbitmq-delays.md.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from typing import Any, NamedTuple

from warren.connectors.rabbitmq.topology import DELAYED_RETRY, Binding, QueueDeclaration
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError

__all__ = ["LEVELS", "DelayedRetry", "beside", "delay_queue", "delay_register", "delayed_binding", "level"]

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
    return QueueDeclaration(beside(queue, ".delay"))


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


class DelayedRetry(NamedTuple):
    """The delays, in seconds, after which a quorum queue of RabbitMQ 4.3 hands a message out again by itself."""

    shortest: float
    longest: float

    @classmethod
    def of(cls, queue: str, shortest: Duration, longest: Duration) -> DelayedRetry:
        """Read the durations. Raises `GraphError` for a pair that makes no sense."""
        delays = cls(seconds(shortest), seconds(longest))
        if not 0.001 <= delays.shortest <= delays.longest:
            raise GraphError(
                f"rabbitmq.queue({queue!r}, delayed_retry=({shortest!r}, {longest!r})): give the delay after the first "
                f"failure, and the longest one, which is not shorter"
            )
        return delays

    @property
    def arguments(self) -> dict[str, Any]:
        """What the queue is declared with.

        >>> DelayedRetry(1.0, 60.0).arguments
        {'x-delayed-retry-type': 'failed', 'x-delayed-retry-min': 1000, 'x-delayed-retry-max': 60000}
        """
        shortest, longest = (round(each * 1000) for each in self)
        # Only what failed is delayed, and what a lost worker had; what is handed back untouched is not.
        return {DELAYED_RETRY: "failed", "x-delayed-retry-min": shortest, "x-delayed-retry-max": longest}

    def after(self, failures: int) -> float:
        """How long a message waits after so many failures.

        >>> [DelayedRetry(1.0, 3.0).after(n) for n in (1, 2, 9)]
        [1.0, 2.0, 3.0]
        """
        return min(self.longest, self.shortest * failures)


def delayed_binding(exchange: str, queue: str) -> Binding:
    """Leads from an exchange of the delayed-message plugin to a queue."""
    return Binding(exchange, queue, "x-delayed-message", arguments={"x-delayed-type": "direct"})


def _text(milliseconds: int) -> str:
    for unit, size in (("d", _DAY), ("h", _HOUR), ("m", _MINUTE), ("s", _SECOND)):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"
