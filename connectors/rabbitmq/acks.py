"""Acknowledgements that wait a little for their neighbours, so that one takes many along.

AMQP acknowledges one message, or all up to one. A broker looks for a single one among all that are open, from the oldest on:
measured with 60,000 open, each costs it 2 ms, and one for all of them next to nothing. So where many are open, those that
stand apart wait until the ones before them are settled too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

__all__ = ["LINGER", "Acks"]

LINGER = 1.0
"""Seconds that an acknowledgement waits, and at most twice so long; if its worker dies, the message comes again."""
_FEW = 1024
"""Among so few, none needs to wait."""


class Acks:
    """The tags of one channel that are settled and not yet acknowledged.

    >>> acks = Acks()
    >>> acks.due([3, 4], floor=0, still_open=5000, most=4000), len(acks)
    ([], 2)
    >>> acks.due([1, 2, 6], floor=4, still_open=5000, most=4000), len(acks)
    ([(4, True)], 1)
    >>> acks.due([8], floor=4, still_open=10, most=4000), len(acks)
    ([(6, False), (8, False)], 0)
    """

    def __init__(self) -> None:
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._first = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._young) + len(self._old)

    def due(self, tags: Sequence[int], floor: int, still_open: int, most: int) -> list[tuple[int, bool]]:
        """What to acknowledge now that ``tags`` are settled too, each alone or together with all before it.

        All up to ``floor`` are settled, ``still_open`` are from there on, and at most so many of them may wait.
        """
        # The highest one below which nothing is open takes all before it along; it must itself be outstanding.
        together = max((tag for tag in tags if tag <= floor), default=0)
        apart = [tag for tag in tags if tag > floor]
        if apart:
            self._first = min(chain(apart, (self._first,))) if len(self) else min(apart)
            self._young.update(apart)
        if len(self) and self._first <= floor:
            for waiting in (self._young, self._old):
                passed = {tag for tag in waiting if tag <= floor}
                waiting -= passed
                together = max(chain(passed, (together,)))
            self._first = min(chain(self._young, self._old), default=0)
        acks = [(together, True)] if together else []
        if len(self) and (still_open <= _FEW or len(self) > most):
            acks += self.rest()
        return acks

    def ripe(self) -> list[tuple[int, bool]]:
        """Those that waited since the last call, each alone."""
        ripe, self._old, self._young = sorted(self._old), self._young, set()
        return [(tag, False) for tag in ripe]

    def rest(self) -> list[tuple[int, bool]]:
        """All that wait, each alone; they wait no longer."""
        return sorted(self.ripe() + self.ripe())
