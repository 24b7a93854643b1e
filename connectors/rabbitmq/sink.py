"""An open queue or exchange to write to: confirmed, repeated where the broker did not confirm, and never lost in between."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.messages import Ids, parcel, sendable
from warren.connectors.rabbitmq.port import Parcel, Port
from warren.connectors.rabbitmq.topology import ExchangeDeclaration, QueueDeclaration, declare, topology_error
from warren.connectors.records import records
from warren.core.errors import BrokerError, EncodeError, PartialWriteError
from warren.core.message import Outgoing

__all__ = ["Publisher", "RabbitSink"]

log = logging.getLogger("warren.rabbitmq")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_TOO_LARGE = re.compile(r"message size (\d+) (?:bytes )?is larger than (?:the )?configured max size (\d+)", re.IGNORECASE)


class Publisher:
    """Publishes with confirms over one channel at a time; connects with the first message.

    What the broker rejects (a full queue, a leader that moves) and what was under way when a connection was lost is sent
    again until it is confirmed, so some messages may arrive twice.
    """

    def __init__(self, broker: Broker) -> None:
        self.link = Link.acquire(broker, "publish")
        self._port: Port | None = None
        self._opening: asyncio.Task[Port] | None = None
        self._closed = False

    async def publish(self, messages: Parcel) -> dict[int, Exception]:
        """Send messages and wait until the broker has them; returns those that it never will, by position, and why.

        Raises `BrokerError` or `TopologyError` where none of the rest can ever be sent.
        """
        refused: dict[int, Exception] = {}
        positions: Sequence[int] = range(len(messages.bodies))
        pause = _FIRST_PAUSE
        while positions:
            port = self._port
            if port is None or port.lost is not None:
                port = await self._open()
            again, reasons = await port.publish(messages)
            for i, reason in reasons.items():
                refused[positions[i]] = reason
            if not again:
                break
            messages = messages.part(again)
            positions = [positions[i] for i in again]
            if port.lost is None:
                log.info("the broker rejected %d message(s); they are sent again in %.2f s", len(again), pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            elif oversized := self._oversized(messages, str(port.lost)):
                for i, reason in oversized.items():
                    refused[positions[i]] = reason
                rest = [i for i in range(len(positions)) if i not in oversized]
                messages = messages.part(rest)
                positions = [positions[i] for i in rest]
            else:
                self._raise_refusal(messages.exchange, str(port.lost))
        return refused

    @staticmethod
    def _oversized(messages: Parcel, reason: str) -> dict[int, Exception]:
        found = _TOO_LARGE.search(reason)
        if found is None:
            return {}
        limit = int(found[2])
        return {
            i: EncodeError(
                f"message {messages.ids[i]} has {len(body):,} bytes and the broker takes up to {limit:,} "
                f"(max_message_size): store the content elsewhere and send where it is, or raise the limit"
            )
            for i, body in enumerate(messages.bodies)
            if len(body) > limit
        }

    def _raise_refusal(self, exchange: str, reason: str) -> None:
        """Raise what will not get better by sending again."""
        refused = topology_error(Exception(reason), ExchangeDeclaration(exchange), str(self.link.server or self.link.broker))
        if refused is not None and "the broker closed the channel" in reason:
            raise refused

    async def _open(self) -> Port:
        if self._closed:
            raise BrokerError("the sink is closed, so nothing more can be written to it")
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_task(self.link.port())
        opening = self._opening
        await asyncio.wait((opening,))
        if opening.cancelled():
            raise BrokerError("the sink was closed while it waited for the broker; what it had not confirmed is not written")
        port = self._port = opening.result()
        return port

    async def close(self) -> None:
        """Close the channel."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._opening is not None and not self._opening.done():
                self._opening.cancel()
                await asyncio.wait((self._opening,))
            if self._port is not None:
                await self._port.close()
        finally:
            await self.link.release()


class RabbitSink:
    """A sink connection to a queue (through the default exchange) or to an exchange."""

    def __init__(
        self,
        broker: Broker,
        declaration: QueueDeclaration | ExchangeDeclaration,
        *,
        persistent: bool,
        key: Callable[[Any], str | None] | None,
        headers: Callable[[Any], Mapping[str, str]] | None,
        routing: Callable[[Sequence[Any], Sequence[str | None] | None], str | Sequence[str]],
    ) -> None:
        self.declaration = declaration
        self.exchange = declaration.name if isinstance(declaration, ExchangeDeclaration) else ""
        self.persistent = persistent
        self.key = key
        self.headers = headers
        self.routing = routing
        self.publisher = Publisher(broker)
        self._ids = Ids()

    async def open(self) -> None:
        """Declare what is written to."""
        await declare(self.publisher.link, self.declaration)

    async def write(self, messages: Outgoing) -> None:
        rows, errors = records(messages, self.key, self.headers)
        places = [i for i in range(len(messages)) if i not in errors] if errors else range(len(messages))
        if rows.bodies:
            values = messages.originals()
            keys = self.routing([values[i] for i in places], rows.keys)
            try:
                sent = parcel(rows, self.exchange, keys, self._ids, self.persistent, time.time())
            except ValueError:
                refused = sendable(rows, keys)
                errors |= {places[i]: reason for i, reason in refused.items()}
                kept = [i for i in range(len(places)) if i not in refused]
                places = [places[i] for i in kept]
                keys = keys if isinstance(keys, str) else [keys[i] for i in kept]
                sent = parcel(rows.chosen(kept), self.exchange, keys, self._ids, self.persistent, time.time())
            refused = await self.publisher.publish(sent)
            errors |= {places[i]: reason for i, reason in refused.items()}
        if errors:
            raise PartialWriteError(errors)

    async def close(self) -> None:
        await self.publisher.close()
