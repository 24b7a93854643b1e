"""What is in flight at one target, as a sender sees it who is told of each end, or only how deep a queue is."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import NamedTuple

from warren.core.policies import Decision

__all__ = ["Drained", "Flight", "Line", "QueueLine"]

_EPOCH = 500
_MOST = 256
_SLACK = 1.2


class Flight(NamedTuple):
    """What was decided and is not over: where it went, its kind and size, and when."""

    decision: Decision
    place: int
    kind: str
    size: float
    at: float


class Line:
    """A picture of one target that serves first come, first served: each message is begun when a worker is free.

    How many workers there are is learned from how many earlier messages one has overtaken, and forgotten when that happens
    no more. Beside other senders' messages one seems to be served for longer, which is what it is to this sender.
    """

    __slots__ = ("_before", "_begun", "_ends", "_most", "_running", "_starts", "_waiting", "_work", "workers")

    def __init__(self) -> None:
        # By number the work and when it was begun; of those that wait the work.
        self._running: dict[int, tuple[float, float]] = {}
        self._waiting: dict[int, float] = {}
        # Sums: the work that waits, that which is begun, and when it was.
        self._work = self._begun = self._starts = 0.0
        self._most = self._before = 1
        self._ends = 0
        self.workers = 1
        """How many messages are served at once."""

    def __len__(self) -> int:
        return len(self._running) + len(self._waiting)

    def send(self, number: int, work: float, each: float, now: float, messages: int = 1) -> None:
        """A message is on its way, or several as one; ``each`` is how many seconds a unit of work is thought to take."""
        self._waiting[number] = work
        self._work += work
        self._fill(now)

    def more(self, number: int, work: float, messages: int, now: float) -> None:
        """Messages have joined one that is on its way."""
        if number in self._running:
            begun, start = self._running[number]
            self._running[number] = (begun + work, start)
            self._begun += work
        elif number in self._waiting:
            self._waiting[number] += work
            self._work += work

    def end(self, number: int, now: float) -> float | None:
        """A message has ended: how long it was served, where that can be told."""
        took = None
        if number in self._running:
            work, start = self._running.pop(number)
            self._begun -= work
            self._starts -= start
            took = now - start
        elif number in self._waiting:
            self._work -= self._waiting.pop(number)
            self._most = min(_MOST, max(self._most, len(self._running) + 1))
            self.workers = max(self._most, self._before)
        self._ends += 1
        if self._ends >= _EPOCH:
            self._before, self._most, self._ends = self._most, 1, 0
            self.workers = self._before
        self._fill(now)
        return took

    def _fill(self, now: float) -> None:
        waiting, running = self._waiting, self._running
        while waiting and len(running) < self.workers:
            number = next(iter(waiting))
            work = waiting.pop(number)
            self._work -= work
            running[number] = (work, now)
            self._begun += work
            self._starts += now
        # Sums of floats come back to nothing only nearly.
        if not waiting:
            self._work = 0.0
        if not running:
            self._begun = self._starts = 0.0

    def wait(self, each: float, now: float) -> tuple[float, float]:
        """Seconds until a worker is free, and how many times as slow the target seems as ``each`` says.

        A message that is served for longer than it should be tells that its target has become slow, before it ends.
        """
        running = self._running
        if not running:
            return 0.0, 1.0
        work, start = next(iter(running.values()))
        passed, expected = now - start, work * each
        slow = passed / expected if passed > expected > 0 else 1.0
        busy = len(running)
        if busy < self.workers:
            return 0.0, slow
        each *= slow
        left = self._begun * each - (busy * now - self._starts)
        return (self._work * each + (left if left > 0 else 0.0)) / busy, slow


class Drained(NamedTuple):
    """What a queue has worked off: so much work, of so many messages, in so many seconds."""

    work: float
    messages: int
    seconds: float


class QueueLine:
    """A picture of a queue of which only the depth is read, late: of what was sent before, the newest are still there.

    Where the queue was never seen empty meanwhile, what has gone tells how fast it is worked off. What is deeper than all
    that was sent is somebody else's. The workers of a queue count as one fast one.
    """

    __slots__ = ("_ready", "_sent", "_since", "_slow", "_stalled", "_work")

    def __init__(self) -> None:
        # Number, when it was sent, its work, and how many messages it is.
        self._sent: deque[tuple[int, float, float, int]] = deque()
        self._work = 0.0
        self._ready = -inf
        # Since when there was always something, as far as anybody can say.
        self._since: float | None = None
        self._slow = 1.0
        self._stalled = False

    def __len__(self) -> int:
        return len(self._sent)

    def send(self, number: int, work: float, each: float, now: float, messages: int = 1) -> None:
        """A message was put in, or several that count as one."""
        if self._since is None:
            self._since = now
        self._sent.append((number, now, work, messages))
        self._work += work
        self._ready = max(self._ready, now) + work * each * self._slow

    def end(self, number: int, now: float) -> float | None:
        """A message never came there."""
        for sent in self._sent:
            if sent[0] == number:
                self._sent.remove(sent)
                self._work -= sent[2]
                break
        return None

    def hear(self, depth: float, at: float, each: float) -> tuple[list[int], Drained | None]:
        """So many were in the queue at a time: which have gone, and what that tells."""
        old = sum(sent[3] for sent in self._sent if sent[1] <= at)
        gone, left = [], old - int(depth)
        while self._sent and self._sent[0][3] <= left:
            left -= self._sent[0][3]
            gone.append(self._sent.popleft())
        worked = sum(sent[2] for sent in gone)
        self._work -= worked
        told = None
        since = self._since
        if gone and since is not None and at > since:
            took = at - since
            # An empty queue may have been idle for a part of the time: then it is at least so fast.
            if depth > 0 or took < worked * each:
                told = Drained(worked, sum(sent[3] for sent in gone), took)
        if gone or depth == 0:
            self._since = at if depth > 0 else self._sent[0][1] if self._sent else None
            # Where less was done than expected it has most likely become slow only just now, and is slower than it seems.
            self._slow = max(1.0, told.seconds / (_SLACK * told.work * each)) if told and told.work * each > 0 else 1.0
        elif since is not None and self._sent and at - since > self._sent[0][2] * each:
            self._slow = (at - since) / (self._sent[0][2] * each) if each > 0 else 1.0
        mean = (self._work / sum(sent[3] for sent in self._sent)) if self._sent else 0.0
        each *= self._slow
        rest = sum(sent[2] for sent in self._sent if sent[1] <= at) + mean * max(0.0, depth - old)
        self._ready = at + rest * each
        for _, time, work, _ in self._sent:
            if time > at:
                self._ready = max(self._ready, time) + work * each
        return [sent[0] for sent in gone], told

    def wait(self, each: float, now: float) -> tuple[float, float]:
        """Seconds until the queue is worked off, and how many times as slow it seems as it should be."""
        return max(0.0, self._ready - now), self._slow
