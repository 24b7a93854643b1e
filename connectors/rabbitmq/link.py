"""Connections to a broker: shared, kept alive, moved to another address when one fails and back when it returns."""

from __future__ import annotations

import asyncio
import logging
import random
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from warren.connectors.rabbitmq.broker import Broker, Server
from warren.connectors.rabbitmq.faults import is_final
from warren.connectors.rabbitmq.port import Port, asking, goodbye
from warren.connectors.rabbitmq.session import Role, Session
from warren.core.breaker import Breaker, State
from warren.core.clock import seconds
from warren.core.errors import BrokerError

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel

__all__ = ["Link", "Role"]

log = logging.getLogger("warren.rabbitmq")

_SETTLING = 0.05
"""Seconds to wait for the news that a connection has ended, when an error says that it may have."""
_BRIEF = 1.0
"""A connection that lives no longer, in seconds, is no reason to come back at once; nor is a longer pause than that."""


class Link:
    """One connection to a broker that several sources or sinks share, and that comes back when it is lost.

    `acquire` one, ask it for a `port` whenever the last one is lost, and `release` it. The first connection is made within
    the broker's ``patience``; after it, reconnecting goes on until the link is released, whatever the broker says.
    """

    def __init__(self, broker: Broker, role: Role) -> None:
        self.broker = broker
        self.role: Role = role
        self.users = 0
        self.reconnects = -1
        self.last_error: BrokerError | None = None
        """Why there is no connection; ``None`` while there is one."""
        self.on_breaker: Callable[[State], None] = lambda state: None
        self.breaker = Breaker(broker.failures, seconds(broker.cooldown), asyncio.get_running_loop().time, self._breaker)
        self._session: Session | None = None
        self._connecting: asyncio.Task[Session] | None = None
        self._returning: asyncio.Task[None] | None = None
        self._brief = 0
        self._tripped = False
        self._random = random.Random()

    def _breaker(self, state: State) -> None:
        if state == "open":
            level = logging.DEBUG if self._tripped else logging.WARNING
            log.log(level, "%r: too many attempts failed, the next is made in %g s", self.broker, self.breaker.cooldown)
        self._tripped = state != "closed"
        self.on_breaker(state)

    @staticmethod
    def acquire(broker: Broker, role: Role) -> Link:
        """The link of this event loop with the fewest users; a new one while there are fewer than the broker allows."""
        links = _links.setdefault(asyncio.get_running_loop(), {}).setdefault((broker, role), [])
        if len(links) < broker.connections:
            links.append(Link(broker, role))
        link = min(links, key=lambda each: each.users)
        link.users += 1
        return link

    @staticmethod
    def here() -> list[Link]:
        """The links of this event loop."""
        links = _links.get(asyncio.get_running_loop(), {})
        return [link for group in links.values() for link in group]

    async def release(self) -> None:
        """Say that one user less needs it; the last one closes the connection."""
        self.users -= 1
        if self.users:
            return
        links = _links.get(asyncio.get_running_loop(), {})
        mine = links.get((self.broker, self.role), [])
        if self in mine:
            mine.remove(self)
        if not mine:
            links.pop((self.broker, self.role), None)
        for task in (self._connecting, self._returning):
            if task is not None:
                task.cancel()
                await asyncio.wait((task,))
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._session is not None and self._session.alive

    @property
    def blocked(self) -> str | None:
        """Why the broker takes no messages for now, where it said so."""
        return self._session.blocked if self._session is not None else None

    @property
    def server(self) -> Server | None:
        """Where it is connected to."""
        return self.broker.servers[self._session.index] if self._session is not None and self.connected else None

    @property
    def server_version(self) -> tuple[int, ...]:
        """The broker's version, such as (4, 0, 5); empty while not connected."""
        if self._session is None:
            return ()
        version = self._session.transport.server_properties.get("version", "")
        text = version.decode() if isinstance(version, bytes) else str(version)
        return tuple(int(part) for part in text.split("-")[0].split("+")[0].split(".") if part.isdigit())

    async def port(self) -> Port:
        """A new channel of the live connection, however long that takes to come back."""
        while True:
            session = await self.session()
            try:
                return await session.port()
            except Exception as error:
                if session.alive and not _belongs_to_connection(error):
                    raise BrokerError(
                        f"the broker at {self.broker.servers[session.index]} opens no channel: {error}"
                    ) from error
                await asyncio.wait((session.lost,), timeout=_SETTLING)

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """A channel of aiormq's for a few commands; errors of the connection come out as they are."""
        channel = await self._channel()
        try:
            with asking():
                yield channel
        finally:
            if not channel.is_closed:
                await goodbye(channel.close())

    async def _channel(self) -> AbstractChannel:
        while True:
            session = await self.session()
            try:
                return await session.channel()
            except Exception as error:
                # It may be closed while it opens.
                if session.alive and not _belongs_to_connection(error):
                    raise
                await asyncio.wait((session.lost,), timeout=_SETTLING)

    async def session(self) -> Session:
        """The live connection; made, or waited for. Raises `ConnectionError` once the link is released."""
        while self._session is None or not self._session.alive:
            connecting = self.wake()
            await asyncio.wait((connecting,))
            if connecting.cancelled():
                raise ConnectionError("the connection was closed here")
            connecting.result()
        return self._session

    def wake(self) -> asyncio.Task[Session]:
        """Begin to connect, where that is not under way. Raises `ConnectionError` once the link is released."""
        if not self.users:
            raise ConnectionError("the connection was closed here")
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.get_running_loop().create_task(self._reconnect(first=self.reconnects < 0))
            self._connecting.add_done_callback(_heed)
        return self._connecting

    async def _reconnect(self, *, first: bool) -> Session:
        old, self._session = self._session, None
        if old is not None:
            where = self.broker.servers[old.index]
            self.last_error = BrokerError(f"the connection to the broker at {where} was lost: {old.reason}")
            log.warning("%s; connecting again", self.last_error)
            await old.close()
            await self._calm(old)
        session = await self._connect(first=first)
        self._use(session)
        if not first:
            log.info("connected to the broker at %s again", self.broker.servers[session.index])
        if session.index and self.broker.back is not None and (self._returning is None or self._returning.done()):
            self._returning = asyncio.get_running_loop().create_task(self._return(seconds(self.broker.back)))
        return session

    def _use(self, session: Session) -> None:
        self._session = session
        self.reconnects += 1
        self.last_error = None

    async def _calm(self, old: Session) -> None:
        """Come back more slowly each time a connection is lost as soon as it is made."""
        lived = asyncio.get_running_loop().time() - old.born
        self._brief = self._brief + 1 if lived < _BRIEF else 0
        if self._brief > 1:
            first, longest = map(seconds, self.broker.backoff)
            pause = min(first * 2.0 ** min(self._brief - 2, 20), longest, _BRIEF)
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))

    async def _connect(self, *, first: bool) -> Session:
        loop, broker = asyncio.get_running_loop(), self.broker
        end = loop.time() + seconds(broker.patience)
        delay, longest = map(seconds, broker.backoff)
        while True:
            if self.breaker.wait:
                await asyncio.sleep(self.breaker.wait)
            self.breaker.attempt()
            errors: list[BrokerError] = []
            for index in range(len(broker.servers)):
                try:
                    session = await self._open(index, end - loop.time() if first else None)
                except BrokerError as error:
                    errors.append(error)
                else:
                    self.breaker.succeeded()
                    return session
            self._failed(errors)
            self.breaker.failed()
            if first and (all(map(is_final, errors)) or loop.time() + max(delay, self.breaker.wait) > end):
                assert self.last_error is not None
                raise self.last_error
            await asyncio.sleep(delay * self._random.uniform(0.5, 1.0))
            delay = min(2 * delay, longest)

    async def _open(self, index: int, patience: float | None = None) -> Session:
        within = seconds(self.broker.handshake)
        if patience is not None:
            within = min(within, max(patience, 1.0))
        return await Session.open(self.broker, index, self.role, within)

    def _failed(self, errors: list[BrokerError]) -> None:
        error = errors[0]
        if len(errors) > 1:
            error = BrokerError("; and ".join(map(str, errors)))
            error.__cause__ = errors[0]
        known, self.last_error = str(self.last_error), error
        log.log(logging.DEBUG if str(error) == known else logging.WARNING, "%s", error)

    async def _return(self, pause: float) -> None:
        """Move back to a preferred address once it answers again."""
        while True:
            await asyncio.sleep(pause)
            current = self._session
            if current is None or not current.alive:
                continue
            if not current.index:
                return
            for index in range(current.index):
                try:
                    preferred = await self._open(index)
                except BrokerError as error:
                    log.debug("%s", error)
                    continue
                if self._session is not current or not current.alive:
                    # It was lost meanwhile, and another one is being made.
                    await preferred.close()
                    break
                self._use(preferred)
                log.info("moved back to the broker at %s", self.broker.servers[index])
                await current.close("moved back to the preferred broker")
                break


_links: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Broker, Role], list[Link]]] = (
    weakref.WeakKeyDictionary()
)


def _belongs_to_connection(error: Exception) -> bool:
    return isinstance(error, ConnectionError | RuntimeError | OSError) or type(error).__module__.startswith("aiormq")


def _heed(task: asyncio.Task[Session]) -> None:
    """Take note of an error that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
