"""Which messages a step has counted, by their ids."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from warren.core.receipt import Ledger, Token

__all__ = ["Counted"]

_ROWS = 16
"""Of what earlier runs counted, as many ids stay as messages of so many rows have."""


class _Group(NamedTuple):
    """Ids that were counted together, the deliveries of their messages, and how many their sources had given by then.

    What an earlier run counted has neither.
    """

    ids: list[str]
    deliveries: frozenset[int] | None = None
    read: Mapping[object, int] = MappingProxyType({})


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
        # How many there were when all were last looked through.
        self._size = sum(map(_size, self._lists))
        # Made when something comes again, which may be never.
        self._ids: set[str] | None = None

    @property
    def ids(self) -> set[str]:
        """All of them."""
        if self._ids is None:
            self._ids = set(chain.from_iterable(group.ids for group in chain(*self._lists, self._newest)))
        return self._ids

    def add(self, ids: Sequence[str], tokens: Sequence[Token]) -> None:
        """Note the ids of messages with these tokens; those that are empty say nothing."""
        found = list(filter(None, ids))
        deliveries = self._ledger.numbers(tokens)
        self._newest.append(_Group(found, deliveries, self._ledger.read_of(deliveries)))
        if self._ids is not None:
            self._ids.update(found)

    def turn(self, keep: int, waiting: frozenset[int] = frozenset()) -> tuple[list[str], int]:
        """Begin another list; returns the ids of the newest, and how many of the oldest lists are needed no more.

        Those stay after which their source gave fewer than ``keep`` messages for the first time in this run, those that are
        unsettled, and those of the deliveries ``waiting``, which are settled and not acknowledged.
        """
        count, over = len(self._lists), list[_Group]()
        rest = _size(self._newest) + sum(map(_size, self._lists))
        is_open = partial(self._is_open, waiting=waiting, repeating=self._ledger.repeating)
        while self._lists:
            oldest = self._lists[0]
            # Many short runs must not fill the file.
            full = rest - _size(oldest) >= _ROWS * keep
            if not self._is_old(oldest[-1], keep, full):
                break
            self._lists.popleft()
            still = [group for group in oldest if is_open(group) or not self._is_old(group, keep, full)]
            over += still
            rest -= _size(oldest) - _size(still)
            self._ids = None
        if rest > 2 * self._size + keep:
            # What comes again and again, and what is behind a source that gives little, must not fill the memory.
            every = [*over, *chain.from_iterable(self._lists), *self._newest]
            self._newest = _once([each for each in every if is_open(each) or not self._is_old(each, keep, False)], is_open)
            over, self._ids = [], None
            self._lists.clear()
            self._size = _size(self._newest)
        newest, self._newest = [*over, *self._newest], []
        ids = list(chain.from_iterable(group.ids for group in newest))
        forgotten = count - len(self._lists)
        if ids:
            self._lists.append(newest)
        return ids, forgotten

    def _is_old(self, group: _Group, keep: int, full: bool) -> bool:
        read = self._ledger.read
        if group.deliveries is None:
            return full or (len(read) > len(self._ledger.scopes) and min(read.values()) >= keep)
        return all(read[source] - before >= keep for source, before in group.read.items())

    def _is_open(self, group: _Group, waiting: frozenset[int], repeating: int) -> bool:
        # One of them may have come again, and not have reached the step yet.
        if group.deliveries is None:
            return repeating >= 0
        return (
            max(group.deliveries) < repeating
            or self._ledger.holds(group.deliveries)
            or not group.deliveries.isdisjoint(waiting)
        )


def _size(groups: Iterable[_Group]) -> int:
    return sum(len(group.ids) for group in groups)


def _once(groups: list[_Group], is_open: Callable[[_Group], bool]) -> list[_Group]:
    """Groups where each id is in the last of those that had it, or in one that is open."""
    seen: set[str] = set()
    once = []
    for group in reversed(groups):
        ids = group.ids if is_open(group) else [id for id in group.ids if id not in seen]
        seen.update(ids)
        once.append(group._replace(ids=ids))
    return once[::-1]
