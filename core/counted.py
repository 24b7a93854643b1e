"""Which messages a step has counted, by their ids."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from warren.core.receipt import Ledger, Token

__all__ = ["Counted"]


class _Group(NamedTuple):
    """Ids that were counted together, and the deliveries of their messages; ``None`` for what an earlier run counted."""

    ids: list[str]
    deliveries: frozenset[int] | None


class Counted:
    """The ids of the messages that were counted last, and of those that are not acknowledged yet, in lists by checkpoint.

    A message that is not acknowledged may come again after a crash however long ago it was counted.

    >>> counted = Counted(Ledger(lambda delivery, tokens, outcome: None), [["a"]])
    >>> "a" in counted.ids, counted.turn(keep=10)
    (True, ([], 0))
    """

    def __init__(self, ledger: Ledger, kept: Iterable[list[str]] = ()) -> None:
        self._ledger = ledger
        self._lists = deque([_Group(ids, None)] for ids in kept)
        self._newest: list[_Group] = []
        # Made when something comes again, which may be never.
        self._ids: set[str] | None = None

    @property
    def ids(self) -> set[str]:
        """All of them."""
        if self._ids is None:
            self._ids = set(chain.from_iterable(group.ids for group in chain(self._newest, *self._lists)))
        return self._ids

    def add(self, ids: Sequence[str], tokens: Sequence[Token]) -> None:
        """Note the ids of messages with these tokens; those that are empty say nothing."""
        found = list(filter(None, ids))
        self._newest.append(_Group(found, self._ledger.numbers(tokens)))
        if self._ids is not None:
            self._ids.update(found)

    def turn(self, keep: int, waiting: frozenset[int] = frozenset()) -> tuple[list[str], int]:
        """Begin another list; returns the ids of the newest, and how many of the oldest lists are needed no more.

        At least the last ``keep`` stay. Of an older list goes over to the newest what is unsettled, or of the deliveries
        ``waiting``, which are settled and not acknowledged.
        """
        forgotten = 0
        rest = _size(self._newest) + sum(map(_size, self._lists))
        while self._lists and rest - _size(self._lists[0]) >= keep:
            oldest = self._lists.popleft()
            open = [group for group in oldest if self._is_open(group, waiting)]
            self._newest += open
            rest -= _size(oldest) - _size(open)
            forgotten += 1
            self._ids = None
        newest, self._newest = self._newest, []
        ids = list(chain.from_iterable(group.ids for group in newest))
        if ids:
            self._lists.append(newest)
        return ids, forgotten

    def _is_open(self, group: _Group, waiting: frozenset[int]) -> bool:
        if group.deliveries is None:
            # One of them may have come again, and not have reached the step yet.
            return self._ledger.repeats
        return self._ledger.holds(group.deliveries) or not group.deliveries.isdisjoint(waiting)


def _size(groups: Iterable[_Group]) -> int:
    return sum(len(group.ids) for group in groups)
