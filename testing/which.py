"""Saying which of many things a fault befalls: the nth, every nth, or a share of them by lot."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import NamedTuple

from warren.core.errors import GraphError

__all__ = ["Which", "which"]


class Which(NamedTuple):
    """A choice that can be made again and again; the same seed gives the same choice."""

    nth: frozenset[int] = frozenset()
    every: int = 0
    share: float = 0.0

    def chooser(self, seed: str) -> Callable[[], bool]:
        """Says, each time it is called, whether this one is chosen.

        >>> choose = Which(every=3).chooser("")
        >>> [choose() for _ in range(6)]
        [False, False, True, False, False, True]
        """
        lot = random.Random(seed)
        count = 0

        def choose() -> bool:
            nonlocal count
            count += 1
            if self.share:
                return lot.random() < self.share
            return count in self.nth or (self.every > 0 and count % self.every == 0)

        return choose

    def __str__(self) -> str:
        if self.share:
            return f"share={self.share:g}"
        if self.every:
            return f"every={self.every}"
        return f"nth={min(self.nth)}" if len(self.nth) == 1 else f"nth={sorted(self.nth)}"


def which(step: str, nth: int | Iterable[int] | None = None, every: int | None = None, share: float | None = None) -> Which:
    """The choice that a fault's parameters make; `GraphError` where they make none, or more than one."""
    if sum(each is not None for each in (nth, every, share)) != 1:
        raise GraphError(f"{step}: say which ones, by one of nth=3, nth=[1, 4], every=10 or share=0.1")
    if nth is not None:
        chosen = frozenset([nth] if isinstance(nth, int) else nth)
        if not chosen or not all(isinstance(each, int) and not isinstance(each, bool) and each > 0 for each in chosen):
            raise GraphError(f"{step}: nth={nth!r} must be a whole number from 1, or several of them")
        return Which(nth=chosen)
    if every is not None:
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise GraphError(f"{step}: every={every!r} must be a whole number from 1")
        return Which(every=every)
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1:
        raise GraphError(f"{step}: share={share!r} must be above 0 and at most 1")
    return Which(share=float(share))
