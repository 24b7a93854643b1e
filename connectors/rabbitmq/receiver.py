"""What every open source does: wait to be woken, work that no cancelled receive cuts short, consume over a channel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Hashable, Mapping, Sequence
from typing import Any

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.health import SourceWatch
from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.port import Port
from warren.connectors.rabbitmq.topology import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    QueueDeclaration,
    declare,
    is_missing,
    is_passing,
    topology_error,
)
from warren.core.errors import BrokerError, WarrenError
from warren.core.health import PATIENCE as HEALTH_PATIENCE
from warren.core.health import Health
from warren.core.message import Batch

__all__ = ["PATIENCE", "Receiver", "Waiting"]

log = logging.getLogger("warren.rabbitmq")

_MOST_PREFETCH = 65_535
PATIENCE = 0.05
"""Seconds without a message after which ``until_empty`` looks whether anything is left."""


class Waiting:
    """An open source: waits to be woken, does one thing at a time in a task of its own, and closes once."""

    def __init__(self) -> None:
        self._idle = False
        self._working: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._closing: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Declare what is read; with a credit, begin to consume."""
        raise NotImplementedError

    async def receive(self, limit: int) -> Batch | None:
        raise NotImplementedError

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        raise NotImplementedError

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        raise NotImplementedError

    async def health(self, patience: float = HEALTH_PATIENCE) -> Health:
        """How it fares."""
        raise NotImplementedError

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
            self._wake()
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        raise NotImplementedError

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _change(self, patience: float | None) -> bool:
        """Wait until there is something to tell, or the source is closed; whether that came before the time was up."""
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(patience, self._wake_idle) if patience is not None else None
        self._idle = False
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
        return not self._idle

    def _wake_idle(self) -> None:
        self._idle = True
        self._wake()

    async def _work(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what must not be cut short by a cancelled receive."""
        self._working = asyncio.get_running_loop().create_task(work)
        await self._settled_down()

    async def _settled_down(self) -> None:
        working = self._working
        if working is None:
            return
        await asyncio.wait((working,))
        if self._working is working:
            self._working = None
            if not working.cancelled():
                working.result()


class Receiver(Waiting):
    """A source of one queue, over one channel at a time."""

    credit: int | None = None
    """How many messages may be fetched ahead and not settled."""
    until_empty = False

    def __init__(self, broker: Broker, declaration: QueueDeclaration) -> None:
        super().__init__()
        self.broker = broker
        self.declaration = declaration
        self.queue = declaration.name
        self.link = Link.acquire(broker, "consume")
        self._port: Port | None = None
        self._declared: int | None = None
        self._tags: list[str] = []
        self._consumers = 0
        self.received = self.settled = 0
        """How many messages were handed out, and how many of them settled."""
        self.moved = asyncio.get_running_loop().time()
        """When the last of them was."""
        self._watch = SourceWatch(self)

    async def health(self, patience: float = HEALTH_PATIENCE) -> Health:
        """How it fares."""
        return await self._watch.health(patience)

    def count(self, *, received: int = 0, settled: int = 0) -> None:
        """Note that messages were handed out, or settled; once for many of them."""
        self.received += received
        self.settled += settled
        self.moved = asyncio.get_running_loop().time()

    @property
    def ahead(self) -> bool:
        """Whether it has a consumer all the time."""
        return self.credit is not None and not self.until_empty

    @property
    def consumers(self) -> int:
        """How many consumers it has registered, as far as it knows."""
        port = self._port
        return len(self._tags) - len(port.cancelled) if port is not None and port.lost is None else 0

    @property
    def unread(self) -> int:
        """How many messages have come that nobody has asked for yet."""
        return len(self._port.arrivals.tags) if self._port is not None else 0

    @property
    def unsettled(self) -> int:
        """How many messages are handed out and not settled."""
        return 0

    def _arguments(self) -> Mapping[str, Any]:
        """What a consumer is registered with."""
        return {}

    def _width(self, wanted: int) -> int:
        """How many messages a new consumer may hold."""
        return wanted

    async def _before_consuming(self) -> None:
        """Do what has to be done before anything may be delivered."""

    async def _consume(self, prefetch: int) -> None:
        """Register consumers, on a new channel where there is none."""
        pause = FIRST_PAUSE
        while self._closing is None:
            port = self._port
            if port is None or port.lost is not None:
                self._forget()
                await self._declare()
                port = await self.link.port()
                self._port = port
                port.on_change = self._wake
            try:
                await self._before_consuming()
                left = self._width(prefetch)
                while left > 0:
                    self._consumers += 1
                    tag = f"w{self._consumers}"
                    await port.consume(self.queue, tag, min(left, _MOST_PREFETCH), self._arguments())
                    self._tags.append(tag)
                    left -= _MOST_PREFETCH
                return
            except Exception as error:
                await self._interrupted(port, error, pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _interrupted(self, port: Port, error: Exception, pause: float) -> None:
        """Raise what trying again does not heal; a refusal closes the channel, and a lost connection only interrupts."""
        if isinstance(error, WarrenError):
            raise error
        refused = topology_error(error, self.declaration, str(self.link.server or self.broker))
        if refused is not None and (self.declaration.passive or not is_missing(error)):
            raise refused from error
        if refused is None and port.lost is None and self.link.connected and not is_passing(error):
            raise BrokerError(f"queue {self.queue!r}: no consumer could be registered: {error}") from error
        await port.close()
        if self.link.connected:
            if is_passing(error):
                log.warning("queue %r is not ready yet (%s); it is tried again", self.queue, error)
            self._declared = None
            await asyncio.sleep(pause)

    async def _declare(self) -> None:
        """Declare the queue, once for each connection, as the broker may be another one."""
        while self._declared != self.link.reconnects or not self.link.connected:
            await self.link.session()
            self._declared = self.link.reconnects
            await declare(self.link, self.declaration)

    async def _interrupt(self) -> None:
        """End what is being done: with the broker it soon comes to its end, but it may wait for one that is away."""
        working = self._working
        if working is not None:
            await asyncio.wait((working,), timeout=LONGEST_PAUSE if self.link.connected else 0)
            working.cancel()
            await asyncio.wait((working,))
            if working.cancelled() and self._port is not None:
                # An interrupted command has closed its channel.
                await self._port.close()

    async def _pause(self) -> None:
        """End the consumers; what has come stays."""
        tags, self._tags = self._tags, []
        for tag in tags:
            if self._port is not None and self._port.lost is None:
                try:
                    await self._port.cancel(tag)
                except Exception as error:
                    self._port.lose(ConnectionError(str(error)))

    async def _cancelled(self) -> None:
        """The broker ended a consumer, as when the queue moves or is deleted: declare it again and go on."""
        log.warning("queue %r: the broker ended the consumer; it is registered again", self.queue)
        if self._port is not None:
            self._port.cancelled.clear()
        self._tags = []
        self._declared = None
        await self._declare()

    def _forget(self) -> None:
        """The channel is gone, and its tags with it."""
        if self._port is not None and self._closing is None:
            log.info("queue %r: the channel was lost (%s); consuming starts again", self.queue, self._port.lost)
        self._port = None
        self._tags.clear()
