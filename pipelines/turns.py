"""Whose turn it is to read, where the sources of a merge have priorities."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["Turn", "Turns"]

T = TypeVar("T")

# Seconds for which a source that gave all it was asked for counts as having more, as some take a while to read.
_MORE = 0.01


class Turns:
    """Shares reading among sources by weight, as long as they have messages; one that has none holds up no other.

    Start-time fair queueing (Goyal, Vin and Cheng, "Start-time Fair Queuing", SIGCOMM 1996): each source has a time of its
    own, which what is read moves on by its share of the weight, and the one that is furthest behind is next. Who comes back
    after a silence starts where the others are, so it catches up on nothing.
    """

    def __init__(self, notify: Callable[[], None]) -> None:
        self.notify = notify
        self.time = 0.0
        self.turns: list[Turn] = []

    def add(self, weight: float) -> Turn:
        """The turns of one more source."""
        turn = Turn(self, weight)
        self.turns.append(turn)
        return turn


class Turn:
    """The turns of one source."""

    def __init__(self, turns: Turns, weight: float) -> None:
        self.turns = turns
        self.weight = weight
        self.time = 0.0
        self.wants = False
        self.more = False

    @property
    def _place(self) -> tuple[float, float]:
        return self.time, -self.weight

    def come(self) -> bool:
        """Say that this source is to be read, and whether it may be."""
        if not self.wants:
            self.wants = True
            self.time = max(self.time, self.turns.time)
        return all(not other.wants or self._place <= other._place for other in self.turns.turns)

    async def read(self, receive: Awaitable[T]) -> T:
        """Wait for messages; the others may be read when there seem to be none."""
        waiting = asyncio.get_running_loop().call_later(_MORE if self.more else 0.0, self.rest)
        try:
            return await receive
        finally:
            waiting.cancel()

    def took(self, count: int, asked: int) -> None:
        """Say how many messages came, of those asked for."""
        if not self.wants:
            self.wants = True
            self.time = max(self.time, self.turns.time)
        self.turns.time = max(self.turns.time, self.time)
        self.time += count / self.weight
        self.more = count == asked
        self.turns.notify()

    def rest(self) -> None:
        """Say that this source has no messages for now, or has ended."""
        self.wants = False
        self.turns.notify()
