"""An open queue or exchange to write to: confirmed, repeated where the broker did not confirm, and never lost in between."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.health import SinkWatch
from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.messages import Ids, parcel, sendable
from warren.connectors.rabbitmq.port import Parcel, Port
from warren.connectors.rabbitmq.topology import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    ExchangeDeclaration,
    QueueDeclaration,
    declare,
    is_missing,
    topology_error,
)
from warren.connectors.records import Records, records
from warren.core.chunk import apply_each
from warren.core.errors import BrokerError, EncodeError, PartialWriteError, TopologyError, shorten
from warren.core.health import PATIENCE, Health
from warren.core.message import Outgoing

__all__ = ["Overdue", "Publisher", "RabbitSink"]

log = logging.getLogger("warren.rabbitmq")

_TRIES = 3
"""How often messages are sent again over another channel after the broker has closed one for a reason that may be theirs."""
OVERDUE = 30.0
"""Seconds after which messages that the broker has not confirmed are sent again over another channel."""
_HEADER = 12
"""Bytes of a content header before its properties."""
_TOO_LARGE = re.compile(r"message size (\d+) (?:bytes )?is larger than (?:the )?configured max size (\d+)", re.IGNORECASE)


class Overdue(BrokerError):
    """The broker has taken messages and not confirmed them; whether it has them is not known."""


class Publisher:
    """Publishes with confirms over one channel at a time; connects with the first message.

    What the broker rejects (a full queue, a leader that moves) and what was under way when a connection was lost is sent
    again until it is confirmed, so some messages may arrive twice. ``target`` is declared on each new connection, as the
    broker may be another one, and again where somebody deleted it meanwhile. With ``patience``, what the broker leaves
    unconfirmed for so many seconds is refused as `Overdue`, as the caller knows another way.
    """

    def __init__(
        self,
        broker: Broker,
        target: QueueDeclaration | ExchangeDeclaration | None = None,
        *,
        patience: float | None = None,
    ) -> None:
        self.link = Link.acquire(broker, "publish")
        self.target = target
        self.patience = patience
        self._declared: int | None = None
        self._port: Port | None = None
        self._opening: asyncio.Task[Port] | None = None
        self._giving_up: asyncio.Task[None] | None = None
        self._closed = False

    async def publish(self, messages: Parcel) -> dict[int, Exception]:
        """Send messages and wait until the broker has them; returns those that it never will, by position, and why.

        Raises `BrokerError` or `TopologyError` where none of the rest can ever be sent.
        """
        refused: dict[int, Exception] = {}
        positions: Sequence[int] = range(len(messages.bodies))
        pause, tries = FIRST_PAUSE, 0
        restored = self.target is None or self.target.passive
        while positions:
            port = self._port
            if port is None or port.lost is not None:
                port = await self._open()
            if unsendable := _unsendable(messages, port):
                messages, positions = _without(messages, positions, unsendable, refused)
                continue
            again, reasons = await self._confirmed(port, messages)
            if reasons and not restored and isinstance(self.target, QueueDeclaration):
                restored = True
                await self.restore()
                again, reasons = sorted({*again, *reasons}), {}
            for i, reason in reasons.items():
                refused[positions[i]] = reason
            if not again:
                break
            messages = messages.part(again)
            positions = [positions[i] for i in again]
            if port.lost is None:
                log.info("the broker rejected %d message(s); they are sent again in %.2f s", len(again), pause)
                pause = await _pause(pause)
            elif oversized := _oversized(messages, str(port.lost)):
                messages, positions = _without(messages, positions, oversized, refused)
            elif (refusal := self._refusal(messages.exchange, str(port.lost))) is not None:
                if not restored and is_missing(port.lost):
                    restored = True
                    await self.restore()
                elif "PRECONDITION_FAILED" in str(port.lost) and tries < _TRIES:
                    # Not every precondition is one of these messages; what was wrong with the channel is gone with it.
                    tries += 1
                    pause = await _pause(pause)
                else:
                    raise refusal
            elif self.link.connected:
                pause = await _pause(pause)
        return refused

    async def _confirmed(self, port: Port, messages: Parcel) -> tuple[Sequence[int], dict[int, Exception]]:
        """Publish over a port, which is given up where the broker takes too long to confirm."""
        loop = asyncio.get_running_loop()
        timers: list[asyncio.TimerHandle] = []
        limit = OVERDUE if self.patience is None else self.patience
        late = False

        def overdue() -> None:
            nonlocal late
            if self.link.blocked is not None:
                timers[0] = loop.call_later(limit, overdue)
                return
            late = True
            log.warning("the broker has not confirmed %d message(s) within %g s", len(messages.bodies), limit)
            self._giving_up = loop.create_task(port.close(f"the broker confirmed nothing within {limit:g} s"))

        timers.append(loop.call_later(limit, overdue))
        try:
            again, reasons = await port.publish(messages)
        finally:
            timers[0].cancel()
        if late and self.patience is not None:
            return (), {**reasons, **dict.fromkeys(again, Overdue(f"the broker confirmed nothing within {limit:g} s"))}
        return again, reasons

    async def restore(self) -> None:
        """Declare the target again, after somebody deleted it."""
        log.warning("%s is gone; it is declared again", self.target)
        self._declared = None
        await self.declare()

    async def declare(self) -> None:
        """Declare the target, once for each connection."""
        while self.target is not None and self._declared != self.link.reconnects:
            await self.link.session()
            self._declared = self.link.reconnects
            await declare(self.link, self.target)

    def _refusal(self, exchange: str, reason: str) -> TopologyError | None:
        """What will not get better by sending again."""
        return topology_error(Exception(reason), ExchangeDeclaration(exchange), str(self.link.server or self.link.broker))

    async def _open(self) -> Port:
        if self._closed:
            raise BrokerError("the sink is closed, so nothing more can be written to it")
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_task(self._open_declared())
        opening = self._opening
        await asyncio.wait((opening,))
        if opening.cancelled():
            raise BrokerError("the sink was closed while it waited for the broker; what it had not confirmed is not written")
        port = self._port = opening.result()
        return port

    async def _open_declared(self) -> Port:
        await self.declare()
        return await self.link.port()

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


def _unsendable(messages: Parcel, port: Port) -> dict[int, Exception]:
    """The messages whose headers fit into no frame, by position; the broker would end the connection for one."""
    most = port.frame_max - 8 - _HEADER
    if not port.frame_max or max(map(len, messages.properties)) <= most:
        return {}
    return {
        i: EncodeError(
            f"message {messages.ids[i]} has {len(head):,} bytes of headers and the broker takes up to {most:,} (frame_max): "
            f"put them into the body, or raise the limit"
        )
        for i, head in enumerate(messages.properties)
        if len(head) > most
    }


def _oversized(messages: Parcel, reason: str) -> dict[int, Exception]:
    """The messages that are larger than the broker takes, by position, where that is why it closed the channel."""
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


def _without(
    messages: Parcel, positions: Sequence[int], reasons: Mapping[int, Exception], refused: dict[int, Exception]
) -> tuple[Parcel, Sequence[int]]:
    """What is left of messages and their positions when some are refused."""
    refused |= {positions[i]: reason for i, reason in reasons.items()}
    rest = [i for i in range(len(positions)) if i not in reasons]
    return messages.part(rest), [positions[i] for i in rest]


async def _pause(pause: float) -> float:
    """Wait, and say how long to wait the next time."""
    await asyncio.sleep(pause)
    return min(2 * pause, LONGEST_PAUSE)


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
        publisher: Publisher | None = None,
    ) -> None:
        self.declaration = declaration
        self.exchange = declaration.name if isinstance(declaration, ExchangeDeclaration) else ""
        self.persistent = persistent
        self.key = key
        self.headers = headers
        self.routing = routing
        self.publisher = publisher if publisher is not None else Publisher(broker, declaration)
        self.underway = 0
        """How many messages are sent, or wait to be, and not confirmed."""
        self.moved = asyncio.get_running_loop().time()
        """When messages last began to wait, or were confirmed."""
        self._ids = Ids()
        self._watch = SinkWatch(self)

    async def health(self, patience: float = PATIENCE) -> Health:
        """How it fares."""
        return await self._watch.health(patience)

    async def open(self) -> None:
        """Declare what is written to."""
        await self.publisher.declare()

    async def write(self, messages: Outgoing) -> None:
        rows, errors = records(messages, self.key, self.headers)
        places = [i for i in range(len(messages)) if i not in errors] if errors else range(len(messages))
        if rows.bodies:
            values = messages.originals()
            keys, refused = self._route([values[i] for i in places], rows.keys)
            if refused or (sent := self._parcel(rows, keys)) is None:
                refused |= sendable(rows, keys)
                errors |= {places[i]: reason for i, reason in refused.items()}
                kept = [i for i in range(len(places)) if i not in refused]
                if not kept:
                    raise PartialWriteError(errors)
                places = [places[i] for i in kept]
                keys = keys if isinstance(keys, str) else [keys[i] for i in kept]
                sent = self._parcel(rows.chosen(kept), keys)
                assert sent is not None
            refused = await self._publish(sent)
            errors |= {places[i]: reason for i, reason in refused.items()}
        if errors:
            raise PartialWriteError(errors)

    def _parcel(self, rows: Records, keys: str | Sequence[str]) -> Parcel | None:
        """What is sent; ``None`` where some of it cannot be."""
        try:
            return parcel(rows, self.exchange, keys, self._ids, self.persistent, time.time())
        except ValueError:
            return None

    def _route(
        self, values: Sequence[Any], keys: Sequence[str | None] | None
    ) -> tuple[str | Sequence[str], dict[int, Exception]]:
        """The routing keys, and the messages that get none, by position, and why."""
        routed, failed = apply_each(lambda given: self.routing(*given), [(values, keys)])
        if not failed and (isinstance(routed[0], str) or set(map(type, routed[0])) <= {str}):
            return routed[0], {}
        errors: dict[int, Exception] = {}
        singles: list[str] = []
        for i, value in enumerate(values):
            routed, failed = apply_each(lambda given: self.routing(*given)[0], [([value], keys and [keys[i]])])
            told = f"raised {failed[0]!r}" if failed else f"answered {shorten(routed[0])}"
            if failed or type(routed[0]) is not str:
                errors[i] = EncodeError(
                    f"routing_key= of the exchange {told} for {shorten(value)}; let it give text for each"
                )
            singles.append("" if i in errors else routed[0])
        return singles, errors

    async def _publish(self, sent: Parcel) -> dict[int, Exception]:
        time_of = asyncio.get_running_loop().time
        if not self.underway:
            self.moved = time_of()
        self.underway += len(sent.bodies)
        try:
            return await self.publisher.publish(sent)
        finally:
            self.underway -= len(sent.bodies)
            self.moved = time_of()

    async def close(self) -> None:
        await self.publisher.close()
