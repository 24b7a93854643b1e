"""What a broker promised, and what became of it."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING

from tests.brokers.model.messages import GONE, HELD, MOVED, QUEUED, SETTLED, Copy

if TYPE_CHECKING:
    from tests.brokers.model.broker import ModelBroker
    from tests.brokers.model.schedule import Schedule

__all__ = ["Ledger"]


class Ledger:
    """Every copy that was confirmed to a publisher, and every one that a consumer acknowledged.

    A message is called by its message id, or by its body if it has none. A copy is one message in one queue.
    """

    def __init__(self, broker: ModelBroker) -> None:
        self.broker = broker
        self.promised: list[Copy] = []
        """The confirmed copies, in the order of their confirms."""
        self.done: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """How often each message of each queue was acknowledged, by the name of the queue."""
        self.fresh: deque[tuple[float, Copy]] = deque()

    # What the broker writes

    def confirm(self, copies: tuple[Copy, ...]) -> None:
        """The broker takes these upon itself."""
        for copy in copies:
            copy.confirmed = True
            # It may have moved on before its publisher heard of it.
            for end in _ends(copy):
                end.confirmed = True
        self.promised += copies

    def settled(self, copy: Copy) -> None:
        """A consumer has acknowledged one."""
        self.done[copy.queue.name][copy.message.identity] += 1
        if self.broker.schedule.memory:
            self.fresh.append((self.broker.loop.time(), copy))

    def moved(self, copy: Copy) -> None:
        """One has gone on to other queues, with what was promised of it."""
        for new in copy.next:
            new.confirmed = new.confirmed or copy.confirmed

    def remember(self, schedule: Schedule) -> None:
        """After a crash: some acknowledgements of the last moment were not written down."""
        since = self.broker.loop.time() - schedule.memory
        for at, copy in self.fresh:
            if at >= since and copy.state == SETTLED and copy.durable and not copy.queue.deleted and schedule.survives():
                copy.queue.restore(copy)
        self.fresh.clear()

    # What a test reads

    def confirmed(self, queue: str) -> Counter[str]:
        """How often each message was published to a queue and confirmed."""
        return Counter(copy.message.identity for copy in self.promised if copy.queue.name == queue)

    def acknowledged(self, queue: str) -> Counter[str]:
        """How often each message was acknowledged from a queue."""
        return Counter(self.done[queue])

    def where(self, identity: str) -> list[Copy]:
        """The confirmed copies of a message, and those that they were moved to."""
        found = [copy for copy in self.promised if copy.message.identity == identity]
        for copy in found:
            found += copy.next
        return found

    def lost(self) -> list[Copy]:
        """The copies that were confirmed and are neither acknowledged nor in any queue, each with why.

        Among them are those that a client gave up: rejected with nowhere to go, expired, purged, deleted with their queue.
        """
        return [copy for promised in self.promised for copy in _ends(promised) if copy.state == GONE]

    def check(self) -> None:
        """The model keeps its own promises: what was confirmed is acknowledged, queued, or gone for a good reason."""
        there = set(self.broker.copies())
        for promised in self.promised:
            for copy in _ends(promised):
                if copy.state in (QUEUED, HELD):
                    assert copy in there, f"{copy} is in no queue"
                else:
                    assert copy not in there, f"{copy} is in a queue all the same"
                    assert copy.state == SETTLED or (copy.state == GONE and copy.why), f"{copy} is gone for no reason"
                    assert copy.why != CRASH or not copy.durable, f"{copy} was promised, and lost in a crash"
        for copy in there:
            assert copy.state in (QUEUED, HELD), f"{copy} is in a queue"


CRASH = "a crash"


def _ends(copy: Copy) -> list[Copy]:
    if copy.state != MOVED:
        return [copy]
    return [end for new in copy.next for end in _ends(new)]
