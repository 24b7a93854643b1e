"""One connection: made by aio-pika, over a socket that the fast lane reads where it can, and watched while it lives."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from warren.connectors.rabbitmq.broker import Broker, Server
from warren.connectors.rabbitmq.faults import Refusal, connect_error
from warren.connectors.rabbitmq.lane import Lane, LaneProtocol
from warren.connectors.rabbitmq.plain import Plain, readable
from warren.connectors.rabbitmq.port import Port, asking, goodbye, is_cancelled
from warren.connectors.rabbitmq.tls import TLS
from warren.core.clock import seconds

if TYPE_CHECKING:
    import aio_pika
    from aiormq.abc import AbstractChannel

__all__ = ["Role", "Session"]

Role = Literal["consume", "publish"]
"""What a connection is used for: publishing never shares one with consuming."""


class Session:
    """One live connection; ``lost`` is done when it has ended, for whatever reason."""

    def __init__(self, broker: Broker, index: int, connection: aio_pika.Connection, protocol: LaneProtocol | None) -> None:
        self.broker = broker
        self.index = index
        self.connection = connection
        self.protocol = protocol
        self.transport: Any = connection.transport.connection  # type: ignore[union-attr]  # it is connected
        self.lost: asyncio.Future[Any] = self.transport.closing
        self.born = asyncio.get_running_loop().time()
        self.ports: set[Port] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._heartbeat = seconds(broker.heartbeat)
        self._doubted = False

    @classmethod
    async def open(cls, broker: Broker, index: int, role: Role, within: float) -> Session:
        """Connect to one address of a broker. Raises `BrokerError`."""
        server = broker.servers[index]
        protocols: list[LaneProtocol] = []
        try:
            async with asyncio.timeout(within):
                connection = await _connect(broker, server, role, protocols)
        except (Exception, asyncio.CancelledError) as error:
            for protocol in protocols:
                protocol.transport.abort()
            if is_cancelled(error):
                raise
            raise connect_error(error, server, broker.tls, protocols[0] if protocols else None) from error
        session = cls(broker, index, connection, protocols[0] if protocols else None)
        session._guard()
        return session

    @property
    def alive(self) -> bool:
        return not self.lost.done()

    @property
    def blocked(self) -> str | None:
        """Why the broker takes no messages for now, where it said so."""
        return self.protocol.blocked if self.protocol is not None and self.alive else None

    @property
    def reason(self) -> str:
        """Why it has ended."""
        if self.protocol is not None and (self.protocol.fault or self.protocol.farewell):
            return self.protocol.fault or self.protocol.farewell or ""
        error = self.lost.exception() if self.lost.done() and not self.lost.cancelled() else None
        return str(error or "") or "the broker closed the connection"

    def _guard(self) -> None:
        """Give the connection up once nothing has come for two heartbeats."""
        if self.protocol is None or not self.alive:
            return
        pause = self._heartbeat / 2
        if self.protocol.paused:
            # Nothing is read on purpose, and aiormq must not take that for a stuck connection.
            self.protocol.reassure()
        elif self.protocol.silence < 2 * self._heartbeat:
            self._doubted = False
        elif not self._doubted:
            # Where this process was busy for long, what has come meanwhile is read before it is asked again.
            self._doubted = True
            pause = self._heartbeat / 8
        else:
            self.protocol.fault = f"nothing came for {self.protocol.silence:.1f} s, not even a heartbeat"
            self.protocol.transport.abort()
            return
        self._watch = asyncio.get_running_loop().call_later(pause, self._guard)

    async def port(self) -> Port:
        """A new channel for messages."""
        self.ports = {port for port in self.ports if port.lost is None}
        channel = await self.channel()
        frame_max = self.transport.connection_tune.frame_max
        if self.protocol is None or not self.broker.lane:
            port: Port = Plain(channel)
            port.frame_max = frame_max
        else:
            port = Lane(channel, self.protocol, frame_max)
        self.ports.add(port)
        if not self.alive:
            port.lose(ConnectionError("the connection has ended"))
        return port

    async def channel(self) -> AbstractChannel:
        """A new channel of aiormq's."""
        with asking():
            channel: AbstractChannel = await self.transport.channel(publisher_confirms=True, on_return_raises=True)
            return channel

    async def close(self, why: str = "the connection was closed here") -> None:
        """Close it; its channels are lost."""
        if self._watch is not None:
            self._watch.cancel()
        for port in self.ports:
            port.lose(ConnectionError(why))
        self.ports.clear()
        if not await goodbye(self.connection.close()) and self.protocol is not None:
            self.protocol.transport.abort()


async def _connect(broker: Broker, server: Server, role: Role, protocols: list[LaneProtocol]) -> aio_pika.Connection:
    """Have aio-pika connect; where its sockets can be shared, the protocol of this one is appended to ``protocols``."""
    try:
        import aio_pika
        from yarl import URL
    except ImportError as error:
        raise Refusal("RabbitMQ needs aio-pika, which is not installed: run pip install 'warren[rabbitmq]'") from error

    query = {"heartbeat": f"{max(1, round(seconds(broker.heartbeat)))}", "name": f"{broker.name} ({role})"}
    context: ssl.SSLContext | None = None
    if server.secure:
        tls = broker.tls or TLS()
        context = await asyncio.to_thread(tls.context)
        if tls.external:
            query["auth"] = "external"
    seam = _seam()
    url = URL(server.url, encoded=True).update_query(query)
    if seam is None:
        connection = aio_pika.Connection(url, ssl_context=context)
    else:
        factory = seam.factory(protocols, None if broker.lane else readable)
        connection = seam.connection(url, ssl_context=context, transport_factory=factory)
    try:
        await connection.connect()
    except BaseException:
        # It has no transport yet, so this does nothing but tell it that it will have none.
        await connection.close()
        raise
    return connection


class _Seam:
    """What is needed to put `LaneProtocol` under aio-pika: its connection with one more parameter, and a factory."""

    def __init__(self, connection: type[aio_pika.Connection], factory: Callable[..., Any]) -> None:
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
        def __init__(self, protocols: list[LaneProtocol], mend: Callable[[bytes], bytes] | None) -> None:
            self.protocols = protocols
            self.mend = mend

        async def create(self, url: Any, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            loop = asyncio.get_running_loop()
            provider = kwargs.pop("ssl_context_provider", None)
            context = await provider.get_context() if url.scheme == "amqps" and provider is not None else None
            reader = asyncio.StreamReader(loop=loop)
            transport, protocol = await loop.create_connection(
                lambda: LaneProtocol(reader, loop, self.mend), url.host, url.port, ssl=context, **kwargs
            )
            self.protocols.append(protocol)
            return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    return _Seam(Connection, Factory)
