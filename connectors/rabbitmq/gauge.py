"""The numbers of one queue, read off the broker when somebody asks."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.management import Numbers, numbers
from warren.connectors.rabbitmq.queues import Look, looked
from warren.connectors.rabbitmq.session import Session
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
        self._looking: asyncio.Task[Look | None] | None = None

    async def read(self, own: Counts | None = None) -> QueueHealth:
        """Look at the queue.

        A reading without messages and consumers is left out where this program has a consumer there: that is what the broker
        says in the place of a quorum queue that is too busy to answer within 0.25 s.
        """
        self.missing, self.problem, self.note = False, None, None
        look, known = await asyncio.gather(self._look(), self._ask())
        if look is not None and not any(look) and own is not None and own.consumers:
            return self.told
        self.told = QueueHealth(name=self.queue) if look is None else self._health(look, known, own)
        return self.told

    async def _look(self) -> Look | None:
        # From a connection that it has blocked, a broker reads nothing.
        if not self.link.connected or self.link.blocked is not None:
            return None
        session = await self.link.session()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._looked(session))
            self._looking.add_done_callback(_heed)
        looking = self._looking
        # It is never cut short: a command that is, closes its channel twice, and with that the connection.
        await asyncio.wait((looking, session.lost), timeout=_ANSWER, return_when=asyncio.FIRST_COMPLETED)
        if not looking.done():
            if session.alive:
                self.problem = f"the broker did not tell within {_ANSWER:g} s how queue {self.queue!r} stands"
        elif looking.cancelled() or looking.exception() is not None:
            # aiormq also cancels what waits for an answer when the connection is lost.
            if session.alive:
                reason = "" if looking.cancelled() else f": {looking.exception()}"
                self.problem = f"queue {self.queue!r} could not be looked at{reason}"
        else:
            look = looking.result()
            self.missing = look is None
            return look
        return None

    async def _looked(self, session: Session) -> Look | None:
        channel = await session.channel()
        try:
            return await looked(channel, self.queue)
        finally:
            if not channel.is_closed:
                await channel.close()

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


def _heed(looking: asyncio.Task[Look | None]) -> None:
    """Take note of an error that nobody waits for any more."""
    if not looking.cancelled():
        looking.exception()
