"""What other senders have in flight at targets, by late readings of how much is there in all."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from warren.analytics.routing.lines import Line

__all__ = ["Crowd", "SharedLine"]

# Below so many times what one has sent oneself, one's own messages tell more than readings.
_CROWDED = 1.5
_FOLLOW, _MEAN = 0.1, 0.02
_STALE = 10.0  # seconds
_CHANGES = 4_096


class _Sent(NamedTuple):
    work: float
    at: float
    ahead: float | None
    messages: int


class SharedLine(Line):
    """A `Line` at a target that others send to as well.

    Where these are many, the work ahead of a message is what is read at the target, brought up to date: what others do there
    is thought to change as one's own does, as many times as all is of one's own. How fast the target is shows in how long
    messages take for the work that was ahead of them.
    """

    __slots__ = ("_changes", "_crowd", "_own", "_read", "_sent")

    def __init__(self, line: Line, crowd: Crowd) -> None:
        for name in Line.__slots__:
            setattr(self, name, getattr(line, name))
        self._crowd = crowd
        # Of what was sent before it is not known how much was ahead.
        self._sent = {number: _Sent(0.0, 0.0, None, 1) for number in (*self._running, *self._waiting)}
        self._own = len(self._sent)
        # When that has changed, and by how much.
        self._changes: deque[tuple[float, int]] = deque(maxlen=_CHANGES)
        # When it was read, how many messages were there, and how many of them were one's own.
        self._read: tuple[float, float, int] | None = None

    def read(self, depth: float, at: float) -> int:
        """So many messages of all senders were there at a time; says how many of them were this sender's."""
        own = self._own - sum(change for time, change in self._changes if time > at)
        while self._changes and self._changes[0][0] <= at:
            self._changes.popleft()
        self._read = at, depth, own
        return own

    def send(self, number: int, work: float, each: float, now: float, messages: int = 1) -> None:
        """A message is on its way."""
        crowd = self._crowd
        crowd.work = work / messages if crowd.work is None else crowd.work + _MEAN * (work / messages - crowd.work)
        self._sent[number] = _Sent(work, now, self._ahead(now), messages)
        self._change(messages, now)
        super().send(number, work, each, now)

    def more(self, number: int, work: float, messages: int, now: float) -> None:
        """Messages have joined one that is on its way."""
        if (sent := self._sent.get(number)) is not None:
            self._sent[number] = sent._replace(messages=sent.messages + messages)
            self._change(messages, now)
        super().more(number, work, messages, now)

    def end(self, number: int, now: float) -> float | None:
        """A message has ended: how long it would have been served with nothing ahead of it."""
        took, sent = super().end(number, now), self._sent.pop(number, None)
        if sent is None:
            return took
        self._change(-sent.messages, now)
        return took if sent.ahead is None else (now - sent.at) * sent.work / (sent.work + sent.ahead)

    def wait(self, each: float, now: float) -> tuple[float, float]:
        """Seconds until a worker is free, and how many times as slow the target seems as ``each`` says."""
        ahead = self._ahead(now)
        if ahead is None:
            return super().wait(each, now)
        first, slow = next(iter(self._sent.values()), None), 1.0
        if first is not None and first.ahead is not None:
            passed, expected = now - first.at, (first.work + first.ahead) * each
            slow = passed / expected if passed > expected > 0 else 1.0
        return ahead * each * slow, slow

    def _change(self, messages: int, now: float) -> None:
        self._own += messages
        self._changes.append((now, messages))

    def _ahead(self, now: float) -> float | None:
        """The work that each worker has still to do before it is free, if others do more here than oneself."""
        crowd, read = self._crowd, self._read
        if read is None or crowd.work is None or crowd.times < _CROWDED or now - read[0] > _STALE:
            return None
        count = max(self._own, read[1] + crowd.times * (self._own - read[2]))
        if count < self.workers:
            return 0.0
        work = self._work + self._begun + (count - self._own) * crowd.work
        return max(0.0, work - (self.workers - 1) * crowd.work) / self.workers


class Crowd:
    """All lines of a sender that has company: how many times as much as its own is in flight, and a message's usual work."""

    def __init__(self, lines: list[Line]) -> None:
        self.times = 1.0
        self.work: float | None = None
        self._lines = lines
        self._round: dict[int, tuple[float, int]] = {}
        self._sums: tuple[float, float] | None = None

    def hear(self, place: int, depth: float, at: float) -> None:
        """So many messages of all senders were at a target at a time."""
        if place in self._round:
            self._count()
        line = self._lines[place]
        if isinstance(line, SharedLine):
            self._round[place] = depth, line.read(depth, at)
        else:
            # How much of its own was there at that time is not known.
            self._lines[place] = SharedLine(line, self)

    def _count(self) -> None:
        depth, own = (float(sum(each)) for each in zip(*self._round.values(), strict=True))
        self._round.clear()
        if own > 0 or self._sums is not None:
            was = self._sums or (depth, own)
            self._sums = was[0] + _FOLLOW * (depth - was[0]), was[1] + _FOLLOW * (own - was[1])
            self.times = max(1.0, self._sums[0] / self._sums[1])
