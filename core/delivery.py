"""What a source handed over in one go, and which of it is still unsettled."""

from __future__ import annotations

from collections.abc import Sequence

from warren.core.message import Batch
from warren.core.shares import Share
from warren.core.tokens import Token

__all__ = ["Delivery"]


class Delivery:
    """Messages that a source handed over in one go. Their tokens follow each other from ``base``."""

    __slots__ = ("_shares", "base", "batch", "dead", "open", "received", "retries", "source")

    def __init__(self, source: object, batch: Batch, base: int, received: float) -> None:
        self.source = source
        self.batch = batch
        self.base = base
        self.received = received
        self.open: set[int] | None = None
        self._shares: list[Share] = []
        self.retries: dict[int, int] = {}
        self.dead: set[int | tuple[int, int]] = set()

    @property
    def tokens(self) -> range:
        """The tokens of all its messages, settled or not."""
        return range(self.base, self.base + len(self.batch))

    @property
    def done(self) -> bool:
        """Whether every one of its messages is settled."""
        return self.open is not None and not self.open

    @property
    def unsettled(self) -> Sequence[int]:
        """The tokens that are still unsettled."""
        if self.open is None:
            return sorted(set(self.tokens).difference(*self._shares)) if self._shares else self.tokens
        return sorted(self.open)

    def durable_attempt(self, token: int) -> int:
        """How often a message was tried before it was last parked, plus one."""
        return self.batch.attempts[token - self.base] if self.batch.attempts is not None else 1

    def attempt(self, token: int) -> int:
        """How often a message was tried so far, from 1: earlier deliveries that parked it and retries in this one."""
        return self.durable_attempt(token) + self.retries.get(token, 0)

    @property
    def repeats(self) -> bool:
        """Whether any of its messages was handed out or tried before."""
        batch = self.batch
        return any(
            counts is not None and len(counts) > 0 and max(counts) > 1 for counts in (batch.deliveries, batch.attempts)
        )

    def was_tried(self, token: int) -> bool:
        """Whether a message was handed out or tried before."""
        counts = self.batch.deliveries
        return self.attempt(token) > 1 or (counts is not None and counts[token - self.base] > 1)

    def take(self, tokens: Sequence[Token]) -> bool:
        """Mark tokens settled if every one of them is an unsettled token of this delivery; otherwise change nothing."""
        if self.open is None:
            whole, shares = self.tokens, self._shares
            if not shares and (tokens == whole or (type(tokens) is Share and tokens.size == len(whole))):
                self.open = set()
                return True
            if type(tokens) is Share and tokens.run == whole and all(map(tokens.beside, shares)):
                # The usual way of a filter or a route: one share is settled after the other. No need to list them.
                shares.append(tokens)
                if sum(map(len, shares)) == len(whole):
                    self.open = set()
                return True
            self.open = set(whole).difference(*shares)
        taken = set(tokens)
        if len(taken) < len(tokens) or not self.open.issuperset(taken):
            return False
        self.open.difference_update(taken)
        return True
