"""Which messages a step has counted, by their ids."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence, Set
from itertools import chain
from typing import NamedTuple

from warren.core.receipt import Ledger, Token

__all__ = ["Counted"]


class _Group(NamedTuple):
    """Ids that were counted together, the deliveries of their messages, and how many messages had been read by then.

    What an earlier run counted has neither.
    """

    ids: list[str]
    deliveries: frozenset[int] | None = None
    read: int | None = None


class Counted:
    """The ids of the messages that were counted last, and of those that are not acknowledged yet, in lists by checkpoint.

    A message that is not acknowledged may come again after a crash however long ago it was counted.

    >>> counted = Counted(Ledger(lambda delivery, tokens, outcome: None), [["a"]])
    >>> "a" in counted.ids, counted.turn(keep=10)
    (True, ([], 0))
    """

    def __init__(self, ledger: Ledger, kept: Iterable[list[str]] = ()) -> None:
        self._ledger = ledger
        self._lists = deque([_Group(ids)] for ids in kept)
        self._newest: list[_Group] = []
        # How often each is there. Made when something comes again, which may be never.
        self._times: Counter[str] | None = self._counter() if self._lists else None

    def _counter(self) -> Counter[str]:
        return Counter(chain.from_iterable(group.ids for group in chain(*self._lists, self._newest)))

    @property
    def ids(self) -> Set[str]:
        """All of them."""
        if self._times is None:
            self._times = self._counter()
        return self._times.keys()

    def add(self, ids: Sequence[str], tokens: Sequence[Token]) -> None:
        """Note the ids of messages with these tokens; those that are empty say nothing."""
        found = list(filter(None, ids))
        self._newest.append(_Group(found, self._ledger.numbers(tokens), self._ledger.read))
        if self._times is not None:
            self._times.update(found)

    def turn(self, keep: int, waiting: frozenset[int] = frozenset()) -> tuple[list[str], int]:
        """Begin another list; returns the ids of the newest, and how many of the oldest lists are needed no more.

        Those stay after which fewer than ``keep`` messages were read for the first time; of what an earlier run counted, at
        least so many ids. Of an older list goes over to the newest what is unsettled, or of the deliveries ``waiting``, which
        are settled and not acknowledged.
        """
        forgotten = 0
        rest = _size(self._newest) + sum(map(_size, self._lists))
        while self._lists:
            oldest = self._lists[0]
            # Of an earlier run is not known how many were read.
            fewer = rest - _size(oldest) < keep
            # Where most are there twice, each goes over once, or what comes again and again would fill the memory.
            crowded = self._times is not None and rest > 2 * len(self._times) + keep
            if not crowded and not self._is_old(oldest[-1], keep, fewer):
                break
            self._lists.popleft()
            still = [
                group if self._is_open(group, waiting) else self._still(group, self._is_old(group, keep, fewer))
                for group in oldest
            ]
            self._newest[:0] = still
            rest -= _size(oldest) - _size(still)
            forgotten += 1
        if self._times is not None and len(self._times) == rest:
            self._times = None
        newest, self._newest = [group for group in self._newest if group.ids], []
        ids = list(chain.from_iterable(group.ids for group in newest))
        if ids:
            self._lists.append(newest)
        return ids, forgotten

    def _is_old(self, group: _Group, keep: int, fewer: bool) -> bool:
        return not fewer if group.read is None else self._ledger.read - group.read >= keep

    def _still(self, group: _Group, old: bool) -> _Group:
        """What is needed of a group whose list goes."""
        times, ids = self._times, list[str]()
        if times is None:
            return group._replace(ids=ids) if old else group
        for id in group.ids:
            if times[id] > 1:
                times[id] -= 1
            elif old:
                del times[id]
            else:
                ids.append(id)
        return group._replace(ids=ids)

    def _is_open(self, group: _Group, waiting: frozenset[int]) -> bool:
        if group.deliveries is None:
            # One of them may have come again, and not have reached the step yet.
            return self._ledger.repeats
        return self._ledger.holds(group.deliveries) or not group.deliveries.isdisjoint(waiting)


def _size(groups: Iterable[_Group]) -> int:
    return sum(len(group.ids) for group in groups)
