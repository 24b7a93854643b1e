"""How far a reader of a stream is: what was handed out, what of it is settled, and what a restart has to know of that."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Hashable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from warren.core.handles import Handles

__all__ = ["Mark", "Progress", "Ranges", "Waiting"]


class Ranges:
    """A set of whole numbers as runs, small where they follow each other.

    >>> settled = Ranges(); settled.add(5, 6); settled.add(9); settled.add(7, 8); list(settled)
    [(5, 9)]
    >>> 4 in settled, 7 in settled, settled.cut(5), list(settled)
    (False, True, 9, [])
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, runs: Sequence[tuple[int, int]] = ()) -> None:
        self._firsts = [first for first, _ in runs]
        self._lasts = [last for _, last in runs]

    def add(self, first: int, last: int | None = None) -> None:
        """Put numbers in that are not in yet."""
        last = first if last is None else last
        firsts, lasts = self._firsts, self._lasts
        place = bisect_right(firsts, first)
        if place and lasts[place - 1] == first - 1:
            place -= 1
            lasts[place] = last
        else:
            firsts.insert(place, first)
            lasts.insert(place, last)
        if place + 1 < len(firsts) and firsts[place + 1] == last + 1:
            lasts[place] = lasts.pop(place + 1)
            firsts.pop(place + 1)

    def cut(self, first: int) -> int | None:
        """Take out the run that begins at ``first``, where it is the lowest one; returns where it ends."""
        if self._firsts and self._firsts[0] == first:
            self._firsts.pop(0)
            return self._lasts.pop(0)
        return None

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._firsts, number)
        return place > 0 and number <= self._lasts[place - 1]

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)


class Kept(NamedTuple):
    """What is known beyond the usual of one message: its counts, and when it is due (seconds since 1970)."""

    attempts: int
    deliveries: int
    due: float = 0.0


class Mark(msgspec.Struct, omit_defaults=True):
    """What a restart has to know: everything up to ``floor`` is settled.

    ``last`` is how far messages were handed out, ``seen`` the furthest that came, ``settled`` are runs above the floor,
    ``handed`` says how often what lies up to an offset was handed out, and ``kept`` has single messages with counts of
    their own.
    """

    floor: int
    last: int = -1
    seen: int = -1
    settled: list[tuple[int, int]] = []
    handed: list[tuple[int, int]] = []
    kept: dict[int, Kept] = {}


class Waiting(NamedTuple):
    """A message that was given back, and waits here for its next delivery."""

    offset: int
    body: bytes
    head: bytes
    known: Kept


class _Taken:
    """Messages that were handed out together, and how many of them are unsettled."""

    __slots__ = ("bodies", "heads", "left", "offsets")

    def __init__(self, offsets: Sequence[int], bodies: Sequence[bytes], heads: Sequence[bytes]) -> None:
        self.offsets = offsets
        self.bodies = bodies
        self.heads = heads
        self.left = len(offsets)


class Progress:
    """The messages of a stream above ``floor``, known by their offsets; all up to ``last`` were handed out, or are gone."""

    def __init__(self, mark: Mark, runs: int = 0, torn: bool = False, window: int = 0) -> None:
        """``runs`` earlier runs told nothing before they ended; one that did, and did not end well, may be ``torn``.

        With ``window``, a run has at most so many messages unsettled, so it got no further than that.
        """
        self.floor = mark.floor
        self.last = mark.floor
        self.seen = mark.seen
        """The furthest message that ever came; -1 for none."""
        self.kept = dict(mark.kept)
        self._settled = Ranges(mark.settled)
        self._handed = mark.handed
        self._runs = runs
        """How many earlier runs handed out what comes first, nobody knows how much of it."""
        if window:
            self._handed, self._runs = self._counts(runs, self.floor, self.floor + window), 0
            self._handed = self._counts(int(torn), max(self.floor, mark.last), self.floor + window)
        self._known = max([*(last for _, last in mark.settled), *(last for last, _ in self._handed), *mark.kept], default=-1)
        """Above it, nothing was known of any message when this run began."""
        self._taken: list[_Taken] = []
        self._firsts: list[int] = []
        self._again: dict[int, tuple[bytes, bytes]] = {}
        self._waiting: dict[int, Waiting] = {}
        self._ready: list[int] = []
        self.unsettled = 0
        """How many messages are handed out or wait here, and are not settled."""

    @property
    def out(self) -> int:
        """How many messages are handed out and not settled."""
        return self.unsettled - len(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether a message that was given back can be handed out again."""
        return bool(self._ready)

    @property
    def delayed(self) -> bool:
        """Whether a message waits for its time."""
        return len(self._waiting) > len(self._ready)

    def is_known(self, offset: int) -> bool:
        """Whether an earlier run may have left word of a message, or of one after it."""
        return offset <= self._known or self._runs > 0

    def is_done(self, offset: int) -> bool:
        """Whether a message that comes is settled, or was handed out in this run."""
        return offset <= self.last or offset in self._settled

    def deliveries(self, offset: int) -> int:
        """How often a message was handed out by earlier runs."""
        known = self.kept.get(offset)
        return known.deliveries if known is not None else self._runs + self._count(offset)

    def losses(self, offset: int) -> int:
        """How often a message that comes was handed out without coming to an end, this time included."""
        return 0 if self.is_done(offset) else self.deliveries(offset) + 2 - self.attempts(offset)

    def attempts(self, offset: int) -> int:
        """How often a message was tried, from 1."""
        return self.kept[offset].attempts if offset in self.kept else 1

    def take(self, offsets: Sequence[int], bodies: Sequence[bytes], heads: Sequence[bytes]) -> None:
        """Hand out messages, in the order of their offsets; what lies between them is not there any more."""
        self._skip(self.last + 1, offsets[0] - 1)
        if not isinstance(offsets, range):
            for before, after in pairwise(offsets):
                self._skip(before + 1, after - 1)
        for offset in self.kept.keys() & set(offsets) if self.kept and offsets[0] <= self._known else ():
            known = self.kept[offset]
            self.kept[offset] = Kept(known.attempts, known.deliveries + 1)
        self.last = offsets[-1]
        self.unsettled += len(offsets)
        self._taken.append(_Taken(offsets, bodies, heads))
        self._firsts.append(offsets[0])

    def hold(self, offset: int, body: bytes, head: bytes) -> None:
        """Keep a message that came before its time."""
        self.unsettled += 1
        self.wait(Waiting(offset, body, head, self.kept[offset]))

    def reach(self, offset: int) -> None:
        """Say that everything up to a message has come, whatever became of it."""
        self.seen = max(self.seen, offset)
        if offset > self.last:
            self._skip(self.last + 1, offset)
            self.last = offset

    def _skip(self, first: int, last: int) -> None:
        """Count what does not come as settled; what an earlier run has settled does not come either."""
        if first > last:
            return
        there = [run for run in self._settled if run[0] <= last and run[1] >= first]
        there += [(offset, offset) for offset in self._waiting if first <= offset <= last]
        for run, end in sorted(there):
            if run > first:
                self._drop(first, run - 1)
            first = end + 1
        if first <= last:
            self._drop(first, last)
        self._rise()

    def _drop(self, first: int, last: int) -> None:
        self._settled.add(first, last)
        self._forget(first, last)

    def settle(self, handles: Sequence[Hashable]) -> int:
        """Mark messages as settled; returns how many of them were outstanding."""
        before = self.unsettled
        for run in handles.runs() if isinstance(handles, Handles) else (handles,):
            if isinstance(run, range) and run and run.step == 1 and self._settle_whole(run):
                continue
            for offset in run:
                if isinstance(offset, int):
                    self._settle_one(offset)
        if self.unsettled < before:
            self._note_runs()
            self._rise()
        return before - self.unsettled

    def _settle_whole(self, run: range) -> bool:
        place = bisect_right(self._firsts, run[0]) - 1
        if place < 0:
            return False
        taken = self._taken[place]
        if taken.offsets != run or taken.left != len(run):
            return False
        del self._taken[place], self._firsts[place]
        self._forget(run[0], run[-1])
        self._settled.add(run[0], run[-1])
        self.unsettled -= len(run)
        return True

    def _settle_one(self, offset: int) -> None:
        if self._again.pop(offset, None) or self._remove(offset):
            self._forget(offset, offset)
            self._settled.add(offset)
            self.unsettled -= 1

    def _forget(self, first: int, last: int) -> None:
        for offset in [each for each in self.kept if first <= each <= last] if self.kept else ():
            del self.kept[offset]

    def _remove(self, offset: int) -> tuple[bytes, bytes] | None:
        """Body and properties of a message that is handed out for the first time, which it then is not any more."""
        place = bisect_right(self._firsts, offset) - 1
        if place < 0 or not self.floor < offset <= self.last or offset in self._settled or offset in self._waiting:
            return None
        taken = self._taken[place]
        if offset not in taken.offsets:
            return None
        index = taken.offsets.index(offset)
        taken.left -= 1
        if not taken.left:
            del self._taken[place], self._firsts[place]
        return taken.bodies[index], taken.heads[index]

    def _rise(self) -> None:
        while (end := self._settled.cut(self.floor + 1)) is not None:
            self.floor = end
        self.last = max(self.last, self.floor)

    def give_back(self, handles: Sequence[Hashable], due: float, attempts: int | None) -> list[int]:
        """Let messages wait here for their next delivery, at once or when they are due; returns their offsets."""
        given: list[int] = []
        for offset in handles:
            if not isinstance(offset, int):
                continue
            message = self._again.pop(offset, None) or self._remove(offset)
            if message is None:
                continue
            before = self.kept.get(offset) or Kept(1, self.deliveries(offset) + 1)
            known = Kept(before.attempts if attempts is None else attempts, before.deliveries, due)
            self.kept[offset] = known
            self.wait(Waiting(offset, *message, known))
            given.append(offset)
        return given

    def wait(self, message: Waiting) -> None:
        """Let a message wait here, at once or until it is due."""
        self._waiting[message.offset] = message
        if not message.known.due:
            insort(self._ready, message.offset)

    def due(self, offset: int) -> None:
        """The time of a message has come."""
        waiting = self._waiting[offset]
        self.kept[offset] = known = waiting.known._replace(due=0.0)
        self.wait(waiting._replace(known=known))

    def again(self, limit: int) -> list[Waiting]:
        """Hand out messages that were given back, the oldest first."""
        offsets, self._ready = self._ready[:limit], self._ready[limit:]
        given = [self._waiting.pop(offset) for offset in offsets]
        for message in given:
            known = message.known
            self.kept[message.offset] = known._replace(deliveries=known.deliveries + 1)
            self._again[message.offset] = message.body, message.head
        return given

    def mark(self) -> Mark:
        """What a restart has to know now."""
        self._note_runs()
        handed = self._counts(1, self.floor, self.last)
        return Mark(self.floor, self.last, self.seen, list(self._settled), handed, dict(self.kept))

    def _note_runs(self) -> None:
        """Count the earlier runs to what this one has handed out."""
        if self._runs:
            self._handed, self._runs = self._counts(self._runs, self.floor, self.last), 0

    def _counts(self, more: int, above: int, upto: int) -> list[tuple[int, int]]:
        """How often what is unsettled was handed out, and so many times more what lies above one offset, up to another."""
        steps = sorted({above, upto, *(last for last, _ in self._handed)})
        counts = ((last, self._count(last) + more * (above < last <= upto)) for last in steps if last > self.floor)
        return [(last, count) for last, count in counts if count]

    def _count(self, offset: int) -> int:
        return next((count for last, count in self._handed if offset <= last), 0)
