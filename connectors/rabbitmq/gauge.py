"""The numbers of one queue, read off the broker when somebody asks."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.management import Numbers, numbers
from warren.connectors.rabbitmq.queues import Look, looked
from warren.core.errors import BrokerError
from warren.core.health import QueueHealth, Rates

__all__ = ["Counts", "Gauge"]

_ANSWER = 2.0
"""Seconds in which a broker tells how a queue stands."""


class Counts(NamedTuple):
    """What a source knows itself: messages received and settled so far, held now, and its consumers."""

    received: int
    settled: int
    held: int
    consumers: int


class Gauge:
    """One queue, looked at from time to time; ``told`` is what was seen last."""

    def __init__(self, link: Link, queue: str) -> None:
        self.link = link
        self.queue = queue
        self.told = QueueHealth(name=queue)
        self.missing = False
        """Whether the broker has no such queue."""
        self.problem: str | None = None
        """Why it could not be looked at."""
        self.note: str | None = None
        """Why the management API could not be asked."""
        self._rates = Rates()

    async def read(self, own: Counts | None = None) -> QueueHealth:
        """Look at the queue."""
        self.missing, self.problem, self.note = False, None, None
        look, known = await asyncio.gather(self._look(), self._ask())
        self.told = QueueHealth(name=self.queue) if look is None else self._health(look, known, own)
        return self.told

    async def _look(self) -> Look | None:
        if not self.link.connected:
            return None
        try:
            async with asyncio.timeout(_ANSWER), self.link.channel() as channel:
                look = await looked(channel, self.queue)
        except TimeoutError:
            self.problem = f"the broker did not tell within {_ANSWER:g} s how queue {self.queue!r} stands"
        except (Exception, asyncio.CancelledError) as error:
            # aiormq also raises that error where the connection is lost and nobody cancels anything.
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            self.problem = f"queue {self.queue!r} could not be looked at: {str(error) or type(error).__name__}"
        else:
            self.missing = look is None
            return look
        return None

    async def _ask(self) -> Numbers | None:
        server = self.link.server
        if self.link.broker.management is None or server is None:
            return None
        try:
            return await numbers(self.link.broker, self.queue, server.vhost)
        except BrokerError as error:
            self.note = str(error)
            return None

    def _health(self, look: Look, known: Numbers | None, own: Counts | None) -> QueueHealth:
        held = own.held if own is not None else 0
        counted: dict[str, int] = {"growth": look.ready + held}
        if own is not None:
            counted |= {"delivered": own.received, "acknowledged": own.settled}
        rates = self._rates.at(asyncio.get_running_loop().time(), **counted)
        unacked = None
        if own is not None and look.consumers == own.consumers:
            # Nobody else takes from the queue, so what came in is what went out and what it grew by.
            unacked = held
            if "growth" in rates:
                rates["published"] = max(0.0, rates["growth"] + rates["acknowledged"])
        elif known is not None:
            unacked = known.unacked
            rates |= known.rates
            if "growth" not in rates and known.rates.keys() >= {"published", "acknowledged"}:
                rates["growth"] = rates["published"] - rates["acknowledged"]
        growth, waiting = rates.get("growth"), look.ready + max(held, unacked or 0)
        drain = 0.0 if not waiting else waiting / -growth if growth is not None and growth < 0 else None
        return QueueHealth(
            name=self.queue, depth=look.ready, unacked=unacked, consumers=look.consumers, drain=drain, **rates
        )
