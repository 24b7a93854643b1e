"""The broker of the demonstration, named by an address: its queues, how much waits there, and its dead letters."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from warren.connectors import memory, rabbitmq, sqlite
from warren.connectors.address import parse, source
from warren.connectors.memory.broker import DEFAULT
from warren.connectors.rabbitmq.queues import delete, look
from warren.core.errors import AddressError, BrokerError

__all__ = ["Broker", "Letter", "connect"]

_KNOWN = "memory:, sqlite:///path/to/file and amqp://user:password@host:port/vhost"
_PATIENCE = 60.0
"""Seconds in which a broker notices that the machine of a killed run is gone: two heartbeats, and some."""
_LOOK_AGAIN = 0.2


class Letter(NamedTuple):
    """A dead letter: the body as it came, the class of its error, and the reason in words."""

    body: bytes
    error: str
    reason: str


class Broker:
    """Queues behind one address."""

    durable = True
    """Whether messages outlive the process."""
    exact = True
    """Whether a killed run leaves just what it had published until then, each message once."""
    secret = False
    """Whether the address has a password, which ``shown`` has not."""

    def __init__(self, address: str) -> None:
        self.shown = address

    def queue(self, name: str, type: Any) -> Any:
        """A queue to read from and to write to."""
        raise NotImplementedError

    def depth(self, name: str) -> int:
        """How many messages of a queue wait or are not settled."""
        raise NotImplementedError

    def delete(self, *names: str) -> None:
        """Remove queues, where they would be in somebody's way."""

    def letters(self, name: str) -> list[Letter]:
        """The dead letters of a queue, which stay where they are."""
        return asyncio.run(self._letters(name))

    async def _letters(self, name: str) -> list[Letter]:
        letters: list[Letter] = []
        connection = await self.queue(name, None).open(until_empty=True)
        try:
            while (batch := await connection.receive(1000)) is not None:
                headers = batch.headers or [None] * len(batch)
                for body, about in zip(batch.bodies, headers, strict=True):
                    about = about or {}
                    letters.append(Letter(body, about.get("warren-error", ""), about.get("warren-reason", "")))
        finally:
            # What was received and is not acknowledged goes back.
            await connection.close()
        return letters


def connect(address: str) -> Broker:
    """The broker at an address, such as ``memory:``; nothing is connected to yet.

    Raises `AddressError` where the address leads nowhere.

    >>> connect("amqp://me:secret@mq.example/shop").shown
    'amqp://me@mq.example/shop'
    """
    scheme = address.partition(":")[0].lower()
    if scheme in _KINDS:
        return _KINDS[scheme](address)
    try:
        source(address)
    except AddressError as error:
        raise AddressError(f"{error}; the demo works with {_KNOWN}") from error
    raise AddressError(f"{address}: the demo works with {_KNOWN}")


class _Memory(Broker):
    durable = False

    def __init__(self, address: str) -> None:
        super().__init__(address)
        if address != "memory:":
            raise AddressError(f"{address}: the demo names the queues itself; write memory:")

    def queue(self, name: str, type: Any) -> Any:
        return memory.queue(name, type)

    def depth(self, name: str) -> int:
        return DEFAULT.depth(name)


class _File(Broker):
    def __init__(self, address: str) -> None:
        super().__init__(address)
        if parse(address).options:
            raise AddressError(f"{address}: the demo names the queues itself; leave out what follows the '?'")
        try:
            self.path = self.queue("check", None).path
        except AddressError as error:
            raise AddressError(str(error).replace("?queue=check", "")) from error

    def queue(self, name: str, type: Any) -> Any:
        return source(f"{self.shown}?queue={name}", type)

    def depth(self, name: str) -> int:
        return sqlite.depth(self.path, name) if Path(self.path).exists() else 0


class _Rabbit(Broker):
    # A connection that is lost while it publishes leaves some messages twice, or is still heard after the process is gone.
    exact = False

    def __init__(self, address: str) -> None:
        self.broker = rabbitmq.Broker(address)
        parts = urlsplit(address)
        login, at, hosts = parts.netloc.rpartition("@")
        super().__init__(parts._replace(netloc=f"{login.partition(':')[0]}{at}{hosts}").geturl())
        self.secret = rabbitmq.Broker(self.shown).servers != self.broker.servers

    def queue(self, name: str, type: Any) -> Any:
        return rabbitmq.queue(name, type, broker=self.broker)

    def depth(self, name: str) -> int:
        return asyncio.run(self._depth(name))

    async def _depth(self, name: str) -> int:
        # What a consumer holds is not counted, and comes back with its end.
        deadline = time.monotonic() + _PATIENCE
        while (found := await look(name, self.broker)) is not None and found.consumers:
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"queue {name!r} on {self.shown} is still read by {found.consumers} consumer(s): another demo runs, or "
                    f"the broker has not noticed yet that the one before is gone; end it, or try again in a minute"
                )
            await asyncio.sleep(_LOOK_AGAIN)
        return found.ready if found is not None else 0

    def delete(self, *names: str) -> None:
        asyncio.run(delete(*names, broker=self.broker))


_KINDS: dict[str, type[Broker]] = {"memory": _Memory, "sqlite": _File, "amqp": _Rabbit, "amqps": _Rabbit}
