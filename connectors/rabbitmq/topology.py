"""Queues, exchanges and bindings as values, declared so that doing it again changes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from warren.core.errors import BrokerError, GraphError, TopologyError

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel

    from warren.connectors.rabbitmq.link import Link

__all__ = ["Binding", "ExchangeDeclaration", "QueueDeclaration", "QueueKind", "declare"]

QueueKind = Literal["quorum", "classic", "stream"]

_LIMIT = "x-delivery-limit"
UNLIMITED = 2**31 - 1
"""How often a quorum queue hands a message out. Without it, RabbitMQ 4 drops one at the 21st time where the queue has no
dead-letter exchange; -1 means no limit there, and "drop at once" to 3.10. The pipeline itself dead-letters poison."""

_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<what>[^']+)' for (?P<thing>queue|exchange) '(?P<name>[^']*)'.*?: "
    r"received (?P<ours>.+?) but current is (?P<theirs>.+?)'?$"
)
_VALUE = re.compile(r"the value '(?P<value>.*?)' of type '.*?'|'(?P<plain>.*?)'")


@dataclass(frozen=True)
class Binding:
    """What a queue gets: the messages of an exchange whose routing key fits ``key``. The exchange is declared too.

    >>> Binding("events", "order.*")
    Binding(exchange='events', key='order.*', kind='topic', passive=False)
    """

    exchange: str
    key: str = "#"
    kind: str = "topic"
    passive: bool = False


@dataclass(frozen=True)
class QueueDeclaration:
    """A queue, and what it is bound to; ``passive`` only looks whether it is there."""

    name: str
    kind: QueueKind = "quorum"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    bindings: Sequence[Binding] = ()
    passive: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.name or len(self.name.encode()) > 255 or self.name.startswith("amq."):
            raise GraphError(
                f"rabbitmq: {self.name!r} cannot be a queue's name: give up to 255 bytes that do not begin with amq."
            )
        if self.kind not in ("quorum", "classic", "stream"):
            raise GraphError(
                f"rabbitmq.queue({self.name!r}, kind={self.kind!r}): there are 'quorum', 'classic' and 'stream'"
            )

    @property
    def table(self) -> dict[str, Any]:
        """All its arguments; one that is ``None`` is left out.

        >>> QueueDeclaration("orders", "classic", {"x-max-length": 10}).table
        {'x-queue-type': 'classic', 'x-max-length': 10}
        """
        usual = {"x-queue-type": self.kind} | ({_LIMIT: UNLIMITED} if self.kind == "quorum" else {})
        return {name: value for name, value in {**usual, **self.arguments}.items() if value is not None}


@dataclass(frozen=True)
class ExchangeDeclaration:
    """An exchange; ``passive`` only looks whether it is there."""

    name: str
    kind: str = "topic"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    passive: bool = False


async def declare(link: Link, *things: QueueDeclaration | ExchangeDeclaration) -> None:
    """Declare each of them, in order. Waits for the connection to come back where it is lost meanwhile.

    Raises `TopologyError` where one is missing, differs, or may not be touched.
    """
    for thing in things:
        while not await _declared(link, thing):
            pass


async def _declared(link: Link, thing: QueueDeclaration | ExchangeDeclaration) -> bool:
    session = await link.session()
    try:
        async with link.channel() as channel:
            if isinstance(thing, ExchangeDeclaration):
                await _exchange(channel, thing)
            else:
                await _queue(channel, thing)
    except Exception as error:
        if isinstance(error, BrokerError):
            raise
        refused = topology_error(error, thing, str(link.server or link.broker))
        if refused is None:
            if session.alive:
                raise
            return False
        if "is none" in str(error) and isinstance(thing, QueueDeclaration) and "'x-queue-type'" in str(error):
            # Brokers older than queue types remember no type for a classic queue.
            return await _declared(link, QueueDeclaration(thing.name, "classic", thing.arguments, thing.bindings, True))
        raise refused from error
    return True


async def _exchange(channel: AbstractChannel, thing: ExchangeDeclaration) -> None:
    if not thing.name or thing.name.startswith("amq."):
        return
    await channel.exchange_declare(
        thing.name, exchange_type=thing.kind, passive=thing.passive, durable=True, arguments=dict(thing.arguments)
    )


async def _queue(channel: AbstractChannel, thing: QueueDeclaration) -> None:
    if thing.passive:
        await channel.queue_declare(thing.name, passive=True)
        return
    await channel.queue_declare(thing.name, durable=True, arguments=thing.table)
    for binding in thing.bindings:
        await _exchange(channel, ExchangeDeclaration(binding.exchange, binding.kind, passive=binding.passive))
        await channel.queue_bind(thing.name, binding.exchange, binding.key)


def topology_error(error: Exception, thing: QueueDeclaration | ExchangeDeclaration, where: str) -> TopologyError | None:
    """What the broker has against a declaration, as a sentence that shows both sides; ``None`` where it is not that."""
    text = " ".join(str(error).split())
    what = "exchange" if isinstance(thing, ExchangeDeclaration) else "queue"
    name = f"{what} {thing.name!r} on {where}"
    found = _INEQUIVALENT.search(text)
    if found:
        ours, theirs = _shown(found["ours"]), _shown(found["theirs"])
        argument = found["what"]
        remedy = f"kind={theirs}" if argument in ("x-queue-type", "type") else f"{argument}={theirs}"
        if argument != "x-queue-type" and argument.startswith("x-"):
            remedy = f"arguments={{'{argument}': {None if theirs == 'nothing' else theirs}}}"
        return TopologyError(
            f"{name} is there with {argument}={theirs}, and this pipeline declares {argument}={ours}: declare it as it is "
            f"({remedy}), take it as it is (passive=True), or delete it"
        )
    if "NOT_FOUND" in text:
        missing = re.search(r"no (queue|exchange) '([^']*)'", text)
        if missing:
            name = f"{missing[1]} {missing[2]!r} on {where}"
        return TopologyError(f"{name} is not there: create it, or leave passive=True out so that it is declared")
    if "ACCESS_REFUSED" in text:
        return TopologyError(f"{name} may not be touched: {text.split(' - ', 1)[-1]}; grant permissions or use passive=True")
    if "RESOURCE_LOCKED" in text:
        return TopologyError(f"{name} belongs to another connection alone (exclusive): choose another name")
    if "PRECONDITION_FAILED" in text:
        return TopologyError(f"{name} is refused: {text.split(' - ', 1)[-1]}; correct its arguments")
    return None


def _shown(text: str) -> str:
    if text == "none":
        return "nothing"
    found = _VALUE.search(text + ("'" if text.count("'") % 2 else ""))
    value = (found["value"] or found["plain"] or "") if found else text
    return value if value.lstrip("-").isdigit() else repr(value)
