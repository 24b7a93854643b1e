"""Acknowledgements that wait a little for their neighbours, so that one takes many along.

AMQP acknowledges one message, or all up to one. A broker looks for a single one among all that are open, from the oldest on:
measured with 60,000 open, each costs it 2 ms, and one for all of them next to nothing. So where many are open, those that
stand apart wait until the ones before them are settled too.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["LINGER", "Acks"]

LINGER = 1.0
"""Seconds for which an acknowledgement waits at most. A message whose worker dies meanwhile is delivered once more."""
_FEW = 1024
"""Among so few, none needs to wait."""


class Acks:
    """The tags of one channel that are settled and not yet acknowledged.

    >>> acks = Acks()
    >>> acks.due([3, 4], floor=0, still_open=5000, most=4000), acks.waiting
    ([], {3, 4})
    >>> acks.due([1, 2, 6], floor=4, still_open=5000, most=4000), acks.waiting
    ([(4, True)], {6})
    >>> acks.due([8], floor=4, still_open=10, most=4000), acks.waiting
    ([(6, False), (8, False)], set())
    """

    def __init__(self) -> None:
        self.waiting: set[int] = set()
        self._first = 0

    def due(self, tags: Sequence[int], floor: int, still_open: int, most: int) -> list[tuple[int, bool]]:
        """What to acknowledge now that ``tags`` are settled too, each alone or together with all before it.

        All up to ``floor`` are settled, ``still_open`` are from there on, and at most so many of them may wait.
        """
        # The highest one below which nothing is open takes all before it along; it must itself be outstanding.
        together = max((tag for tag in tags if tag <= floor), default=0)
        apart = [tag for tag in tags if tag > floor]
        if apart:
            self._first = min(*apart, self._first) if self.waiting else min(apart)
            self.waiting.update(apart)
        if self.waiting and self._first <= floor:
            together = max(together, *(tag for tag in self.waiting if tag <= floor))
            self.waiting = {tag for tag in self.waiting if tag > floor}
            self._first = min(self.waiting, default=0)
        acks = [(together, True)] if together else []
        if self.waiting and (still_open <= _FEW or len(self.waiting) > most):
            acks += self.rest()
        return acks

    def rest(self) -> list[tuple[int, bool]]:
        """All that wait, each alone; they wait no longer."""
        waiting, self.waiting = sorted(self.waiting), set()
        return [(tag, False) for tag in waiting]
