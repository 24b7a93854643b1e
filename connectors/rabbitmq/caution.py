"""Messages that may be poison are handed out one at a time, so that a worker that dies takes no others along.

A broker counts a delivery for all that a dead worker held, though one message killed it. So a source begins with a look at
one message. While what comes was handed out suspiciously often, nothing else is fetched beside it; then it reads ahead.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["ALONE", "Caution"]

ALONE = 1.0
"""Seconds after which a message that is not settled, but has not killed anybody either, keeps no others waiting."""


class Caution:
    """How many messages are still handed out one at a time; ``limit`` is the number of deliveries that makes one poison.

    >>> caution = Caution(limit=3)
    >>> caution.left, caution.first_suspect([1, 2, 4]), caution.first_suspect([1, 4])
    (1, 1, None)
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.least = max(2, limit // 2 + 1)
        self.left = 1

    def first_suspect(self, losses: Iterable[int]) -> int | None:
        """Where the first message stands that was lost often, and not yet so often that nobody handles it any more."""
        return next((i for i, count in enumerate(losses) if self.least <= count <= self.limit), None)

    def start(self, count: int = 1) -> None:
        """Hand out so many messages one at a time."""
        self.left = max(self.left, count)

    def passed(self) -> None:
        """One that is above suspicion was handed out."""
        self.left -= 1
