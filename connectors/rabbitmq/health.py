"""How RabbitMQ connections and queues fare. Nothing here runs unless somebody asks, and no message costs anything for it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.gauge import Counts, Gauge
from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.topology import QueueDeclaration
from warren.core.clock import Duration, seconds
from warren.core.errors import BrokerError
from warren.core.health import PATIENCE, Health

if TYPE_CHECKING:
    from warren.connectors.rabbitmq.receiver import Receiver
    from warren.connectors.rabbitmq.sink import RabbitSink

__all__ = ["SinkWatch", "SourceWatch", "health", "link_health"]

_AGAIN = 0.25
"""Seconds after which a queue that seems to be stuck is looked at once more."""
_FULL = 0.75
"""How much of the credit is in use when it counts as used up: a moment's room between two chunks is none."""


async def health(*queues: str, broker: Broker | None = None, over: Duration = "1s") -> Health:
    """How queues fare, seen from outside: live where the broker answers, they are there, and what waits has a consumer.

    It looks twice, ``over`` that time apart, so that it can tell how fast a queue grows and when it will be empty. What is
    delivered and not settled, and the rates of what goes in and out, come from the management API where the broker has one:
    ``Broker(management="http://user:password@host:15672")``. A broker that cannot be reached is a reason, not an error.

    >>> seen = asyncio.run(health("orders", broker=Broker("amqp://me:secret@localhost:1", patience="1ms")))
    >>> print(seen.live, *seen.reasons)
    False the broker at amqp://me@localhost:1 cannot be reached: ...
    """
    broker = Broker.given(broker)
    link = Link.acquire(broker, "consume")
    try:
        await link.session()
        gauges = [Gauge(link, queue) for queue in queues]
        await asyncio.gather(*(gauge.read() for gauge in gauges))
        if seconds(over) > 0:
            await asyncio.sleep(seconds(over))
            await asyncio.gather(*(gauge.read() for gauge in gauges))
        faults = _Faults(link)
        for gauge in gauges:
            faults.gauge(gauge)
            if gauge.told.depth and not gauge.told.consumers:
                faults.dead.append(f"queue {gauge.queue!r} has {gauge.told.depth:,} message(s) waiting and no consumer")
        return faults.health("rabbitmq", *gauges)
    except BrokerError as error:
        return Health(name="rabbitmq", live=False, ready=False, reasons=(str(error),))
    finally:
        await link.release()


def link_health(link: Link) -> Health:
    """How a connection fares: live while there is one, ready while the broker takes messages and attempts are made."""
    return _Faults(link).health(f"rabbitmq ({link.role})")


class _Faults:
    """Why something is not live, why it is not ready, and what else is worth knowing."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.dead: list[str] = []
        self.unready: list[str] = []
        self.notes: list[str] = []
        breaker = link.breaker
        if not link.connected:
            self.dead.append(f"not connected: {link.last_error or 'the connection is being made'}")
        if breaker.state != "closed":
            self.unready.append(
                f"the circuit breaker is {breaker.state} after {breaker.failures} or more attempts to connect that failed; "
                f"the next is made in {breaker.wait:.1f} s"
            )
        if link.blocked is not None:
            self.unready.append(f"the broker takes no messages ({link.blocked})")

    def gauge(self, gauge: Gauge) -> None:
        """Add what is wrong with a queue."""
        if gauge.missing:
            self.dead.append(f"queue {gauge.queue!r} is not there: somebody deleted it, or nobody has declared it yet")
        if gauge.problem is not None and self.link.connected:
            self.unready.append(gauge.problem)
        if gauge.note is not None:
            self.notes.append(gauge.note)

    def health(self, name: str, *gauges: Gauge, unconfirmed: int = 0) -> Health:
        """The verdict."""
        return Health(
            name=name,
            live=not self.dead,
            ready=not self.dead and not self.unready,
            reasons=(*self.dead, *self.unready, *self.notes),
            queues=tuple(gauge.told for gauge in gauges),
            reconnects=max(0, self.link.reconnects),
            unconfirmed=unconfirmed,
            breaker=self.link.breaker.state,
        )


async def _revive(link: Link) -> None:
    """Begin to connect again where nobody does: an end that has nothing to send would not notice that it is cut off."""
    if not link.connected:
        with contextlib.suppress(ConnectionError):
            link.wake()
        # It then knows why the last connection was lost.
        await asyncio.sleep(0)


class SourceWatch:
    """The health of an open source."""

    def __init__(self, source: Receiver, gauge: Gauge | None = None) -> None:
        self.source = source
        self._gauge = gauge if gauge is not None else Gauge(source.link, source.queue)
        self._full_since: float | None = None

    async def health(self, patience: float = PATIENCE) -> Health:
        """How it fares."""
        source = self.source
        await self._gauge.read(self._counts())
        await _revive(source.link)
        faults = _Faults(source.link)
        faults.gauge(self._gauge)
        if source.link.connected and not self._gauge.missing:
            self._judge_consumer(faults)
            await self._judge_progress(faults, patience)
            self._judge_credit(faults, patience)
        return faults.health(f"rabbitmq:{source.queue}", self._gauge)

    def _counts(self) -> Counts:
        source = self.source
        return Counts(source.received, source.settled, source.unsettled + source.unread, source.consumers)

    def _judge_consumer(self, faults: _Faults) -> None:
        """Where messages are fetched ahead there is always a consumer; the broker's own count tells whether it is one."""
        source = self.source
        if not source.ahead:
            return
        if not source.consumers:
            faults.dead.append(
                f"no consumer is registered at queue {source.queue!r}; the pipeline does so when it next reads"
            )
        elif self._gauge.told.consumers == 0 and source.declaration.kind != "stream":
            faults.dead.append(f"the broker counts no consumer at queue {source.queue!r}, though one was registered")

    async def _judge_progress(self, faults: _Faults, patience: float) -> None:
        source, waiting = self.source, self._gauge.told.depth
        since = source.moved
        if not waiting or self._idle < patience or self._stands_by:
            return
        # A message that has just come is no sign of anything.
        await asyncio.sleep(_AGAIN)
        waiting = (await self._gauge.read(self._counts())).depth
        if not waiting or source.moved != since:
            return
        what = f"{waiting:,} message(s) wait in queue {source.queue!r} and"
        if not (source.unread or self._full):
            faults.dead.append(f"{what} none has come for {self._idle:.0f} s, though there is room for them")
        elif any(link.blocked is not None for link in Link.here()):
            faults.unready.append(f"{what} none was settled for {self._idle:.0f} s, as a broker takes no messages")
        else:
            faults.dead.append(f"{what} none was settled for {self._idle:.0f} s: a step or a sink is stuck, or very slow")

    def _judge_credit(self, faults: _Faults, patience: float) -> None:
        now = asyncio.get_running_loop().time()
        self._full_since = (self._full_since or now) if self._full else None
        if self._full_since is not None and now - self._full_since >= patience:
            faults.unready.append(
                f"the credit of {self.source.credit:,} has been used up for {now - self._full_since:.0f} s: messages come "
                f"faster than they are settled"
            )

    @property
    def _idle(self) -> float:
        return asyncio.get_running_loop().time() - self.source.moved

    @property
    def _full(self) -> bool:
        credit = self.source.credit
        return credit is not None and self.source.unsettled >= _FULL * credit

    @property
    def _stands_by(self) -> bool:
        """Whether another consumer may be the one that gets everything."""
        single = self.source.declaration.arguments.get("x-single-active-consumer")
        return bool(single) and not (self.source.unsettled or self.source.unread)


class SinkWatch:
    """The health of an open sink."""

    def __init__(self, sink: RabbitSink) -> None:
        self.sink = sink
        queue = sink.declaration.name if isinstance(sink.declaration, QueueDeclaration) else None
        self._gauge = Gauge(sink.publisher.link, queue) if queue is not None else None

    async def health(self, patience: float = PATIENCE) -> Health:
        """How it fares."""
        sink, link = self.sink, self.sink.publisher.link
        gauges = [self._gauge] if self._gauge is not None else []
        for gauge in gauges:
            await gauge.read()
        await _revive(link)
        faults = _Faults(link)
        for gauge in gauges:
            faults.gauge(gauge)
        idle = asyncio.get_running_loop().time() - sink.moved
        if sink.underway and idle >= patience and link.connected and link.blocked is None:
            faults.dead.append(f"{sink.underway:,} message(s) were sent, and the broker has confirmed none for {idle:.0f} s")
        return faults.health(f"rabbitmq:{sink.declaration.name}", *gauges, unconfirmed=sink.underway)
