"""Connections to a broker: shared, kept alive, moved to another address when one fails and back when it returns."""

from __future__ import annotations

import asyncio
import random
import ssl
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from warren.connectors.rabbitmq.breaker import Breaker, State
from warren.connectors.rabbitmq.broker import Broker, Server
from warren.connectors.rabbitmq.faults import connect_error, is_final
from warren.connectors.rabbitmq.lane import Lane, LaneProtocol
from warren.connectors.rabbitmq.plain import Plain
from warren.connectors.rabbitmq.port import Port
from warren.core.clock import seconds
from warren.core.errors import BrokerError

if TYPE_CHECKING:
    import aio_pika
    from aiormq.abc import AbstractChannel

__all__ = ["Link", "Role"]

Role = Literal["consume", "publish"]

_ANSWER = 15.0
"""Seconds a broker has for the whole handshake."""
_GOODBYE = 3.0
"""Seconds a connection has to close in good order."""


class _Session:
    """One live connection; ``lost`` is done when it has ended, for whatever reason."""

    def __init__(self, connection: aio_pika.Connection, protocol: LaneProtocol | None, index: int) -> None:
        self.connection = connection
        self.protocol = protocol
        self.index = index
        self.transport: Any = connection.transport.connection  # type: ignore[union-attr]  # it is connected
        self.lost: asyncio.Future[Any] = self.transport.closing
        self.ports: set[Port] = set()
        self.watch: asyncio.TimerHandle | None = None

    @classmethod
    async def open(cls, broker: Broker, index: int, role: Role) -> _Session:
        """Connect to one address of a broker. Raises `BrokerError`."""
        server = broker.servers[index]
        protocols: list[LaneProtocol] = []
        try:
            async with asyncio.timeout(_ANSWER):
                connection = await _connect(broker, server, role, protocols)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            raise connect_error(error, server, protocols[0].fault if protocols else None) from error
        return cls(connection, protocols[0] if protocols else None, index)

    @property
    def alive(self) -> bool:
        return not self.lost.done()

    @property
    def blocked(self) -> str | None:
        return self.protocol.blocked if self.protocol is not None else None

    def guard(self, heartbeat: float) -> None:
        """Give the connection up once nothing has come for more than two heartbeats."""
        if self.protocol is None or not self.alive:
            return
        if self.protocol.silence > 2.2 * heartbeat:
            self.protocol.fault = f"nothing came for {self.protocol.silence:.0f} s, not even a heartbeat"
            self.protocol.transport.abort()
        else:
            self.watch = asyncio.get_running_loop().call_later(heartbeat / 2, self.guard, heartbeat)

    async def port(self) -> Port:
        channel = await self.channel()
        if self.protocol is None:
            port: Port = Plain(channel)
        else:
            port = Lane(channel, self.protocol, self.transport.connection_tune.frame_max)
        self.ports.add(port)
        if not self.alive:
            port.lose(ConnectionError("the connection has ended"))
        return port

    async def channel(self) -> AbstractChannel:
        channel: AbstractChannel = await self.transport.channel(publisher_confirms=True, on_return_raises=True)
        return channel

    async def close(self, why: str = "the connection was closed here") -> None:
        if self.watch is not None:
            self.watch.cancel()
        for port in self.ports:
            port.lose(ConnectionError(why))
        try:
            await asyncio.wait_for(self.connection.close(), _GOODBYE)
        except (Exception, asyncio.CancelledError) as error:
            if self.protocol is not None:
                self.protocol.transport.abort()
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise


class Link:
    """One connection to a broker that several sources or sinks share, and that comes back when it is lost.

    `acquire` one, ask it for a `port` whenever the last one is lost, and `release` it. The first connection is made within
    the broker's ``patience``; after it, reconnecting goes on until the link is released.
    """

    def __init__(self, broker: Broker, role: Role) -> None:
        self.broker = broker
        self.role = role
        self.users = 0
        self.reconnects = -1
        self.last_error: BrokerError | None = None
        self.breaker = Breaker(broker.failures, seconds(broker.cooldown), asyncio.get_running_loop().time, self._breaker)
        self.on_breaker: Callable[[State], None] = lambda state: None
        self._session: _Session | None = None
        self._connecting: asyncio.Task[_Session] | None = None
        self._returning: asyncio.Task[None] | None = None
        self._random = random.Random()

    def _breaker(self, state: State) -> None:
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

    async def release(self) -> None:
        """Say that one user less needs it; the last one closes the connection."""
        self.users -= 1
        if self.users:
            return
        links = _links.get(asyncio.get_running_loop(), {})
        mine = links.get((self.broker, self.role), [])
        if self in mine:
            mine.remove(self)
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
                if session.alive and not self._session_ended(error):
                    raise BrokerError(
                        f"the broker at {self.broker.servers[session.index]} opens no channel: {error}"
                    ) from error
                await asyncio.sleep(0)

    def _session_ended(self, error: Exception) -> bool:
        return isinstance(error, ConnectionError | RuntimeError | OSError) or type(error).__module__.startswith("aiormq")

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """A channel of aiormq's for a few commands; errors of the connection come out as `ConnectionError`."""
        session = await self.session()
        channel = await session.channel()
        try:
            yield channel
        finally:
            if not channel.is_closed:
                await channel.close()

    async def session(self) -> _Session:
        """The live connection; made, or waited for."""
        while self._session is None or not self._session.alive:
            if self._connecting is None or self._connecting.done():
                self._connecting = asyncio.get_running_loop().create_task(self._reconnect(first=self.reconnects < 0))
            await asyncio.wait((self._connecting,))
            if self._connecting.cancelled():
                raise ConnectionError("the connection was closed here")
            self._connecting.result()
        return self._session

    async def _reconnect(self, *, first: bool) -> _Session:
        old, self._session = self._session, None
        if old is not None:
            await old.close()
        session = await self._connect(first=first)
        self._session = session
        self.reconnects += 1
        self.last_error = None
        session.guard(seconds(self.broker.heartbeat))
        if session.index and (self._returning is None or self._returning.done()):
            self._returning = asyncio.get_running_loop().create_task(self._return())
        return session

    async def _connect(self, *, first: bool) -> _Session:
        loop, broker = asyncio.get_running_loop(), self.broker
        end = loop.time() + seconds(broker.patience)
        delay, longest = map(seconds, broker.backoff)
        while True:
            if self.breaker.wait:
                await asyncio.sleep(self.breaker.wait)
            errors: list[BrokerError] = []
            for index in range(len(broker.servers)):
                try:
                    session = await _Session.open(broker, index, self.role)
                except BrokerError as error:
                    errors.append(error)
                else:
                    self.breaker.succeeded()
                    return session
            self.last_error = errors[0]
            if first and (all(map(is_final, errors)) or loop.time() + delay > end):
                raise errors[0] if len(errors) == 1 else BrokerError("; and ".join(map(str, errors))) from errors[0]
            self.breaker.failed()
            await asyncio.sleep(delay * self._random.uniform(0.5, 1.0))
            delay = min(2 * delay, longest)

    async def _return(self) -> None:
        """Move back to a preferred address once it answers again."""
        while self._session is not None and self._session.index:
            await asyncio.sleep(seconds(self.broker.back))
            current = self._session
            if current is None or not current.alive:
                continue
            for index in range(current.index):
                try:
                    preferred = await _Session.open(self.broker, index, self.role)
                except BrokerError as error:
                    self.last_error = error
                    continue
                self._session = preferred
                self.reconnects += 1
                preferred.guard(seconds(self.broker.heartbeat))
                await current.close("moved back to the preferred broker")
                break


_links: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Broker, Role], list[Link]]] = (
    weakref.WeakKeyDictionary()
)


async def _connect(broker: Broker, server: Server, role: Role, protocols: list[LaneProtocol]) -> aio_pika.Connection:
    """Have aio-pika connect; where the fast lane is possible, its protocol is appended to ``protocols``."""
    import aio_pika
    from yarl import URL

    query = {"heartbeat": f"{max(1, round(seconds(broker.heartbeat)))}", "name": f"{broker.name} ({role})"}
    context: ssl.SSLContext | None = None
    if server.secure and broker.tls is not None:
        context = await asyncio.to_thread(broker.tls.context)
        if broker.tls.external:
            query["auth"] = "external"
    seam = _seam() if broker.lane else None
    url = URL(server.url, encoded=True).update_query(query)
    if seam is None:
        connection = aio_pika.Connection(url, ssl_context=context)
    else:
        connection = seam.connection(url, ssl_context=context, transport_factory=seam.factory(protocols))
    await connection.connect()
    return connection


class _Seam:
    """What is needed to put `LaneProtocol` under aio-pika: its connection with one more parameter, and a factory."""

    def __init__(self, connection: type[aio_pika.Connection], factory: Callable[[list[LaneProtocol]], Any]) -> None:
        self.connection = connection
        self.factory = factory


@lru_cache(maxsize=1)
def _seam() -> _Seam | None:
    """The client's extension point; ``None`` where the installed aiormq has none."""
    import aio_pika
    import aiormq
    from aio_pika.abc import ConnectionParameter

    if not hasattr(aiormq, "TransportFactory"):
        return None

    class Connection(aio_pika.Connection):
        PARAMETERS = (
            *aio_pika.Connection.PARAMETERS,
            ConnectionParameter(name="transport_factory", parser=lambda given: given, is_kwarg=True),
        )

    class Factory(aiormq.TransportFactory):
        def __init__(self, protocols: list[LaneProtocol]) -> None:
            self.protocols = protocols

        async def create(self, url: Any, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            loop = asyncio.get_running_loop()
            provider = kwargs.pop("ssl_context_provider", None)
            context = await provider.get_context() if url.scheme == "amqps" and provider is not None else None
            reader = asyncio.StreamReader(loop=loop)
            transport, protocol = await loop.create_connection(
                lambda: LaneProtocol(reader, loop), url.host, url.port, ssl=context, **kwargs
            )
            self.protocols.append(protocol)
            return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    return _Seam(Connection, Factory)
