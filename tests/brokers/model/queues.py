"""A queue of the model: order, turns, time limits, lengths, and what comes back."""

from __future__ import annotations

from asyncio import TimerHandle
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from tests.brokers.model.messages import GONE, HELD, MOVED, QUEUED, SETTLED, Copy, Message, in_a_circle

if TYPE_CHECKING:
    from tests.brokers.model.channel import ServerChannel
    from tests.brokers.model.connection import ServerConnection
    from tests.brokers.model.topology import VHost

__all__ = ["Consumer", "Queue"]

POSITION = attrgetter("position")


class Consumer:
    """One consumer of a queue."""

    __slots__ = ("channel", "encoded", "exclusive", "forgotten", "held", "limit", "no_ack", "queue", "tag")

    def __init__(self, channel: ServerChannel, tag: str, queue: Queue, no_ack: bool, limit: int, exclusive: bool) -> None:
        self.channel = channel
        self.tag = tag
        self.encoded = bytes((len(tag.encode()),)) + tag.encode()
        self.queue = queue
        self.no_ack = no_ack
        self.limit = 0 if no_ack else limit
        self.exclusive = exclusive
        self.held = 0
        self.forgotten = False
        """Whether the broker has forgotten to serve it."""

    @property
    def free(self) -> bool:
        """Whether it may be given one more."""
        return not self.forgotten and (not self.limit or self.held < self.limit)


class Queue:
    """A classic or a quorum queue."""

    def __init__(
        self,
        vhost: VHost,
        name: str,
        durable: bool,
        auto_delete: bool,
        owner: ServerConnection | None,
        arguments: dict[str, Any],
    ) -> None:
        self.vhost = vhost
        self.broker = vhost.broker
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.owner = owner
        self.arguments = arguments
        self.quorum = arguments.get("x-queue-type") == "quorum"
        self.time_limit: int | None = arguments.get("x-message-ttl")
        self.dead_letter_exchange: str | None = arguments.get("x-dead-letter-exchange")
        self.dead_letter_key: str | None = arguments.get("x-dead-letter-routing-key")
        self.length_limit: int | None = arguments.get("x-max-length")
        self.overflow: str = arguments.get("x-overflow", "drop-head")
        self.delivery_limit: int | None = arguments.get("x-delivery-limit")
        self.single = bool(arguments.get("x-single-active-consumer"))
        self.leaderless = False
        """Whether it takes messages without a word, as a quorum queue of RabbitMQ does that has no leader."""
        self.ready: deque[Copy] = deque()
        # What came back to a quorum queue and goes first.
        self.returned: deque[Copy] = deque()
        # Those that are with a client, in the order in which they went there.
        self.held: dict[Copy, None] = {}
        self.consumers: list[Consumer] = []
        # Those that may be given a message, in whose turn it is.
        self.turns: deque[Consumer] = deque()
        self.last = 0
        self.alarm: TimerHandle | None = None
        self.deleted = False

    def __len__(self) -> int:
        return len(self.ready) + len(self.returned)

    # Coming in

    def push(self, message: Message) -> Copy | None:
        """Take a message, or refuse it because the queue is full."""
        if self.length_limit is not None and self.overflow != "drop-head" and len(self) >= self.length_limit:
            if self.overflow == "reject-publish-dlx":
                self.bury(Copy(message, self, None), "maxlen")
            return None
        now = self.broker.loop.time()
        limit = self.time_limit
        if message.expiration is not None:
            own = int(message.expiration)
            limit = own if limit is None else min(own, limit)
        copy = Copy(message, self, None if limit is None else now + limit / 1000)
        self._append(copy)
        if limit == 0 and len(self) == 1 and self.turns:
            # It expires at once, unless somebody can take it.
            copy.expires = None
            self.pump()
            copy.expires = now
        else:
            self.pump()
        if self.length_limit is not None and len(self) > self.length_limit:
            self.bury(self._pop(), "maxlen")
            self.pump()
        return copy

    def _append(self, copy: Copy) -> None:
        self.last += 1
        copy.position = self.last
        copy.state = QUEUED
        self.ready.append(copy)

    # Going out

    def pump(self) -> None:
        """Deliver what can be delivered and drop what has expired at the head."""
        turns = self.turns
        while self.ready or self.returned:
            head = self.returned[0] if self.returned else self.ready[0]
            if head.expires is not None:
                if head.expires <= self.broker.loop.time():
                    self.bury(self._pop(), "expired")
                    continue
                self._wake_at(head.expires)
            consumer = self._next()
            if consumer is None:
                return
            self._pop()
            if not consumer.no_ack:
                consumer.held += 1
            if not self.single and (not consumer.limit or consumer.held < consumer.limit):
                turns.append(consumer)
            self._hand_out(head, consumer.no_ack)
            consumer.channel.deliver(consumer, head)

    def _next(self) -> Consumer | None:
        if not self.single:
            return self.turns.popleft() if self.turns else None
        active = self.consumers[0] if self.consumers else None
        return active if active is not None and active.free else None

    def take(self, no_ack: bool) -> Copy | None:
        """What basic.get gets."""
        self.pump()
        if not len(self):
            return None
        copy = self._pop()
        self._hand_out(copy, no_ack)
        self.pump()
        return copy

    def _hand_out(self, copy: Copy, no_ack: bool) -> None:
        if no_ack:
            copy.state = SETTLED
            self.broker.ledger.settled(copy)
        else:
            copy.state = HELD
            copy.handed += 1
            self.held[copy] = None

    def _pop(self) -> Copy:
        return self.returned.popleft() if self.returned else self.ready.popleft()

    def _wake_at(self, when: float) -> None:
        if self.alarm is None or self.alarm.cancelled() or self.alarm.when() != when:
            if self.alarm is not None:
                self.alarm.cancel()
            self.alarm = self.broker.loop.call_at(when, self._wake)

    def _wake(self) -> None:
        self.alarm = None
        if not self.deleted:
            self.pump()

    # Coming back

    def _released(self, copy: Copy, handed: int) -> bool:
        # It may have been taken back and be with somebody else by now; then this client has no say in it.
        if copy.state != HELD or copy.handed != handed:
            return False
        del self.held[copy]
        return True

    def settle(self, copy: Copy, handed: int) -> None:
        """It was acknowledged by the one to whom it was handed as the so-manyeth."""
        if self._released(copy, handed):
            copy.state = SETTLED
            self.broker.ledger.settled(copy)

    def refuse(self, copy: Copy, handed: int) -> None:
        """It was rejected, not to come back."""
        if self._released(copy, handed):
            self.bury(copy, "rejected")

    def take_back(self, copies: Iterable[tuple[Copy, int]], *, asked: bool) -> None:
        """Copies come back: the client asked for it, or it is gone."""
        for copy, handed in copies:
            if not self._released(copy, handed):
                continue
            copy.redelivered = True
            if not self.quorum:
                self._insert(copy)
                continue
            copy.returns += 1
            if self.delivery_limit is not None and copy.returns > self.delivery_limit:
                self.bury(copy, "delivery_limit")
            elif asked and self.delivery_limit is None:
                # Without a limit 3.10 puts it behind all others, so that its log can be cut.
                self._append(copy)
            else:
                copy.state = QUEUED
                self.returned.append(copy)
        self.pump()

    def _insert(self, copy: Copy) -> None:
        copy.state = QUEUED
        if not self.ready or copy.position < self.ready[0].position:
            self.ready.appendleft(copy)
        else:
            insort(self.ready, copy, key=POSITION)

    def restore(self, copy: Copy) -> None:
        """It was acknowledged, and the broker does not know it any more."""
        copy.redelivered = True
        self._insert(copy)

    def forget(self, survives: Callable[[Copy], bool], crashed: bool) -> None:
        """The broker starts anew with what survives."""
        for copy in self.ready:
            # After a crash a classic queue does not know any more what was delivered, and says so of everything.
            copy.redelivered |= crashed and not self.quorum
        for copies in (self.ready, self.returned):
            kept = []
            for copy in copies:
                if survives(copy):
                    kept.append(copy)
                else:
                    self.lose(copy, "a crash")
            copies.clear()
            copies.extend(kept)

    def freed(self, consumer: Consumer) -> None:
        """A consumer has settled something."""
        if consumer.limit and consumer.held == consumer.limit and not self.single and consumer in self.consumers:
            self.turns.append(consumer)
        consumer.held -= 1

    # Leaving

    def bury(self, copy: Copy, reason: str) -> None:
        """Move a copy to the dead letter exchange, if there is one."""
        exchange = self.vhost.exchanges.get(self.dead_letter_exchange) if self.dead_letter_exchange is not None else None
        if exchange is None:
            self.lose(copy, reason if self.dead_letter_exchange is None else f"{reason}, and no exchange for it")
            return
        letter, deaths = copy.message.buried(self, reason, self.broker.now())
        queues = exchange.route(letter)
        if reason != "rejected":
            queues = [queue for queue in queues if not in_a_circle(queue.name, deaths)]
        copy.next = tuple(new for queue in queues if (new := queue.push(letter)) is not None)
        if copy.next:
            copy.state = MOVED
            self.broker.ledger.moved(copy)
        else:
            self.lose(copy, f"{reason}, and no queue for it")

    def lose(self, copy: Copy, why: str) -> None:
        """It is gone, and the ledger says why."""
        copy.state = GONE
        copy.why = why

    def purge(self) -> int:
        """Forget all that is ready."""
        count = len(self)
        for copy in (*self.returned, *self.ready):
            self.lose(copy, "purged")
        self.returned.clear()
        self.ready.clear()
        return count

    # Consumers

    def attach(self, consumer: Consumer) -> None:
        """A consumer starts."""
        self.consumers.append(consumer)
        if not self.single:
            self.turns.append(consumer)

    def detach(self, consumer: Consumer) -> None:
        """A consumer ends; what it holds stays its channel's."""
        if consumer in self.consumers:
            self.consumers.remove(consumer)
        if consumer in self.turns:
            self.turns.remove(consumer)
        if self.auto_delete and not self.consumers and not self.deleted:
            self.vhost.delete_queue(self)

    def close(self, why: str) -> None:
        """The queue ends."""
        self.deleted = True
        if self.alarm is not None:
            self.alarm.cancel()
        for copy in (*self.returned, *self.ready, *self.held):
            self.lose(copy, why)
        self.returned.clear()
        self.ready.clear()
        self.held.clear()
        self.turns.clear()
