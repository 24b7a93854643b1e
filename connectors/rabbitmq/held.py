"""The messages of one channel that were handed out: which of them are settled, and what is known of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from warren.connectors.rabbitmq.messages import Heads, batch
from warren.core.handles import Handles
from warren.core.message import Batch

__all__ = ["Entry", "Held"]

_EPOCH = 44
"""A handle is the delivery tag, and above these bits the number of the channel it belongs to."""

Entry = tuple[bytes, bytes, int, int]
"""A message as it is written anew: body, properties, attempts, deliveries."""


class _Taken(NamedTuple):
    """Messages that were handed out together; their tags follow each other."""

    first: int
    bodies: Sequence[bytes]
    heads: Heads

    @property
    def last(self) -> int:
        return self.first + len(self.bodies) - 1


class Held:
    """Knows the tags of one channel after the other. Up to ``floor`` all are settled, and above it those in ``apart``."""

    def __init__(self) -> None:
        self.epoch = 0
        self.floor = self.last = 0
        self.apart: set[int] = set()
        self.returned: list[int] = []
        """Tags that are handed out once more, in their old place."""
        self.copied: set[Hashable] = set()
        """Handles of messages whose copies wait elsewhere, and that outlive them for a while."""
        self._taken: deque[_Taken] = deque()
        self._counts: dict[int, tuple[int, int]] = {}

    @property
    def unsettled(self) -> int:
        """How many messages are handed out and not settled."""
        return self.last - self.floor - len(self.apart)

    @property
    def mark(self) -> tuple[int, int]:
        """Something that changes whenever messages are handed out."""
        return self.epoch, self.last

    def forget(self) -> None:
        """The channel is gone, and its tags with it."""
        self.epoch += 1
        self.floor = self.last = 0
        self.apart.clear()
        self.returned.clear()
        self._taken.clear()
        self._counts.clear()

    def take(self, tags: Sequence[int], bodies: Sequence[bytes], heads: Heads) -> range:
        """Note what is handed out; returns the handles."""
        first, self.last = tags[0], tags[-1]
        self._taken.append(_Taken(first, bodies, heads))
        base = self.epoch << _EPOCH
        return range(base + first, base + self.last + 1)

    def take_again(self, limit: int) -> Batch:
        """Hand out what was returned."""
        tags, self.returned = self.returned[:limit], self.returned[limit:]
        found = [self._find(tag) for tag in tags]
        bodies = [taken.bodies[tag - taken.first] for tag, taken in zip(tags, found, strict=True)]
        heads = Heads([taken.heads.data[tag - taken.first] for tag, taken in zip(tags, found, strict=True)])
        counts = [self._counts[tag] for tag in tags]
        handles = [self.epoch << _EPOCH | tag for tag in tags]
        return batch(bodies, handles, heads, [each[0] for each in counts], [each[1] for each in counts])

    def skip(self, tags: Sequence[int]) -> None:
        """Note what went back and was never handed out."""
        self.last = tags[-1]
        self.apart.update(tags)
        self._advance()

    def settle(self, handles: Sequence[Hashable]) -> list[int]:
        """Mark messages as settled; returns the tags of those that were outstanding."""
        tags: list[int] = []
        base = self.epoch << _EPOCH
        for run in handles.runs() if isinstance(handles, Handles) else (handles,):
            if isinstance(run, range) and run and run[0] == base + self.floor + 1 and not self.apart and not self.returned:
                tags.extend(range(run[0] - base, run[-1] - base + 1))
                self.floor = run[-1] - base
                continue
            for handle in run:
                tag = handle - base if isinstance(handle, int) else 0
                if self.floor < tag <= self.last and tag not in self.apart and tag not in self.returned:
                    self.apart.add(tag)
                    tags.append(tag)
        self._advance()
        if self._counts:
            for tag in tags:
                self._counts.pop(tag, None)
        return tags

    def _advance(self) -> None:
        """Let go of what is settled with all before it."""
        apart = self.apart
        while apart and self.floor + 1 in apart:
            self.floor += 1
            apart.remove(self.floor)
        while self._taken and self._taken[0].last <= self.floor:
            self._taken.popleft()

    def open(self, handles: Sequence[Hashable]) -> list[int]:
        """The tags of those that are outstanding."""
        base = self.epoch << _EPOCH
        tags = [handle - base for handle in handles if isinstance(handle, int)]
        return [tag for tag in tags if self.floor < tag <= self.last and tag not in self.apart and tag not in self.returned]

    def entry(self, tag: int, attempts: int | None) -> Entry:
        """One message; with another count of attempts, where that is given."""
        taken = self._find(tag)
        i = tag - taken.first
        known = self._counts.get(tag)
        if known is None:
            known = taken.heads.attempts(i), taken.heads.deliveries(i, False)
        return taken.bodies[i], taken.heads.data[i], attempts if attempts is not None else known[0], known[1]

    def take_back(self, handles: Sequence[Hashable], attempts: int | None) -> None:
        """Keep messages here, in their old place: the broker cannot count attempts for one that stays where it is."""
        for tag in self.open(handles):
            _, _, tries, deliveries = self.entry(tag, attempts)
            self._counts[tag] = tries, deliveries + 1
            self.returned.append(tag)
        self.returned.sort()

    @property
    def changed(self) -> list[int]:
        """Tags of messages whose attempts are known here alone, and of all behind them."""
        first = min((tag for tag, (attempts, _) in self._counts.items() if attempts > 1), default=self.last + 1)
        return [tag for tag in range(max(first, self.floor + 1), self.last + 1) if tag not in self.apart]

    def _find(self, tag: int) -> _Taken:
        return next(taken for taken in self._taken if taken.first <= tag <= taken.last)
