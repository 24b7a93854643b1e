"""Where workers send their reports, and how a dashboard gets them: by a hand-over in one process, or over a broker.

Nothing piles up where no dashboard listens. RabbitMQ lets reports expire, and throws those away that come to an exchange
which no queue is bound to; elsewhere the workers empty the queue when too many wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Any

from warren.apps.dashboard.hub import Hub
from warren.apps.dashboard.snapshot import Snapshot, read, written
from warren.connectors import address as addresses
from warren.connectors import memory, rabbitmq
from warren.core.errors import ConnectorError, DecodeError, PartialWriteError
from warren.core.graph import Inlet, Outlet, SinkConnection
from warren.core.message import Outgoing

__all__ = ["Beside", "Over", "listen", "outlet"]

_MOST = 200
"""Reports that may wait in a queue."""
_LOOK = 10
"""After so many reports a worker looks how many wait."""
_AGAIN = 2.0
_READ = 256
_EXPIRES = {"x-message-ttl": 15_000, "x-max-length": 10_000}
_GOES = {**_EXPIRES, "x-expires": 60_000}


class Beside:
    """Hands reports to a dashboard in another thread of this process."""

    threaded = True

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self._hub = hub
        self._loop = loop

    async def send(self, snapshot: Snapshot) -> None:
        """Hand one over."""
        with contextlib.suppress(RuntimeError):  # the dashboard has been closed
            self._loop.call_soon_threadsafe(self._hub.take, snapshot)

    async def close(self) -> None:
        """Nothing to close."""


class Over:
    """Sends reports to a queue or an exchange. Raises `AddressError` where the address leads nowhere."""

    threaded = False

    def __init__(self, address: str) -> None:
        self._outlet = outlet(address)
        self._address = address
        self._connection: SinkConnection | None = None
        self._sent = 0

    async def send(self, snapshot: Snapshot) -> None:
        """Write one; that nobody listens is no error."""
        if self._connection is None:
            self._connection = await self._outlet.open()
        if isinstance(self._outlet, memory.Queue) and self._outlet.broker.depth(self._outlet.queue) >= _MOST:
            return
        try:
            await self._connection.write(Outgoing([written(snapshot)]))
        except PartialWriteError:
            if not isinstance(self._outlet, rabbitmq.Exchange):
                raise
        except ConnectorError:
            await self.close()
            raise
        self._sent += 1
        if self._sent % _LOOK == 0 and not isinstance(self._outlet, memory.Queue | rabbitmq.Queue | rabbitmq.Exchange):
            await self._tidy()

    async def _tidy(self) -> None:
        admin, queue = addresses.admin(self._address)
        if ((await admin.queue(queue)).depth or 0) > _MOST:
            await admin.purge(queue)

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def outlet(address: str) -> Outlet[Any]:
    """What reports are written to. Raises `AddressError` where the address leads nowhere."""
    found = addresses.sink(address)
    if isinstance(found, rabbitmq.Queue):
        return _queue(found.queue, found)
    if isinstance(found, rabbitmq.Exchange):
        return rabbitmq.Exchange(
            found.exchange,
            broker=found.broker,
            kind=found.declaration.kind,
            passive=found.declaration.passive,
            persistent=False,
        )
    return found


def inlet(address: str) -> Inlet[Any]:
    """What reports are read from: the queue, or one of our own that the exchange fills."""
    found = outlet(address)
    if isinstance(found, rabbitmq.Exchange):
        declared = found.declaration
        binding = rabbitmq.Binding(found.exchange, "#", declared.kind, declared.passive)
        name = f"{found.exchange}.{secrets.token_hex(4)}"
        return rabbitmq.Queue(name, kind="classic", broker=found.broker, persistent=False, bind=[binding], arguments=_GOES)
    return found if isinstance(found, rabbitmq.Queue) else addresses.source(address)


def _queue(name: str, given: rabbitmq.Queue[Any]) -> rabbitmq.Queue[Any]:
    return rabbitmq.Queue(name, kind="classic", broker=given.broker, persistent=False, arguments=_EXPIRES)


async def listen(address: str, hub: Hub) -> None:
    """Give a hub the reports that come, for ever; what goes wrong meanwhile is told there."""
    source = inlet(address)
    while True:
        try:
            connection = await source.open()
            try:
                while (batch := await connection.receive(_READ)) is not None:
                    for body in batch.bodies:
                        try:
                            hub.take(read(body))
                        except DecodeError as error:
                            hub.notice(str(error))
                    await connection.acknowledge(batch.handles)
            finally:
                await connection.close()
        except ConnectorError as error:
            hub.notice(f"reports cannot be read: {error}")
        await asyncio.sleep(_AGAIN)
