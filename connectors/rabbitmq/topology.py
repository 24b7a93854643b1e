"""Queues, exchanges and bindings as values, declared so that doing it again changes nothing."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from warren.core.clock import seconds
from warren.core.errors import BrokerError, ConnectorError, GraphError, TopologyError, WarrenError

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel

    from warren.connectors.rabbitmq.link import Link

__all__ = [
    "Binding",
    "ExchangeDeclaration",
    "QueueDeclaration",
    "QueueKind",
    "declare",
    "is_missing",
    "is_passing",
    "topology_error",
]

log = logging.getLogger("warren.rabbitmq")

QueueKind = Literal["quorum", "classic", "stream"]

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between tries of what the broker cannot do just now."""

LIMIT = "x-delivery-limit"
UNLIMITED = 2**31 - 1
"""How often a quorum queue hands a message out. Without it, RabbitMQ 4 drops one at the 21st time where the queue has no
dead-letter exchange; -1 means no limit there, and "drop at once" to 3.10. The pipeline itself dead-letters poison."""

DELAYED_RETRY = "x-delayed-retry-type"
"""The argument by which a quorum queue delays what failed by itself."""
_DELAYS_RETRIES = (4, 3)

_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<what>[^']+)' for (?:queue|exchange) '.*?': received (?P<ours>.+) but current is (?P<theirs>.+)$"
)
_TYPED = re.compile(r"the value '(?P<value>.*)' of type '(?P<type>.*)'")
_PLUGINS = {
    "x-consistent-hash": "rabbitmq_consistent_hash_exchange",
    "x-modulus-hash": "rabbitmq_sharding",
    "x-delayed-message": "rabbitmq_delayed_message_exchange",
}
_PASSING = re.compile(
    r"down or inaccessible|not have a running replica|unknown delivery tag|\btime(d )?out\b|INTERNAL_ERROR", re.IGNORECASE
)
_REFUSED = re.compile("PRECONDITION_FAILED|COMMAND_INVALID|SYNTAX_ERROR|NOT_ALLOWED|NOT_IMPLEMENTED")


@dataclass(frozen=True)
class Binding:
    """What a queue or exchange gets: an exchange's messages whose routing key fits ``key``. That one is declared too.

    >>> Binding("events", "order.*")
    Binding(exchange='events', key='order.*', kind='topic', passive=False)
    """

    exchange: str
    key: str = "#"
    kind: str = "topic"
    passive: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)


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
        if self.passive and self.bindings:
            raise GraphError(
                f"rabbitmq.queue({self.name!r}, passive=True, bind=...): a queue that is taken as it is cannot be bound; "
                f"leave one of the two out"
            )

    @property
    def counts(self) -> bool:
        """Whether it is known to count how often it hands a message out, to any of its consumers."""
        alone = self.arguments.get("x-single-active-consumer", False)
        return self.kind == "quorum" and not self.passive and not alone

    @property
    def table(self) -> dict[str, Any]:
        """All its arguments; one that is ``None`` is left out.

        >>> QueueDeclaration("orders", "classic", {"x-max-length": 10}).table
        {'x-queue-type': 'classic', 'x-max-length': 10}
        """
        usual = {"x-queue-type": self.kind} | ({LIMIT: UNLIMITED} if self.kind == "quorum" else {})
        return {name: value for name, value in {**usual, **self.arguments}.items() if value is not None}


@dataclass(frozen=True)
class ExchangeDeclaration:
    """An exchange, and what it is bound to; ``passive`` only looks whether it is there."""

    name: str
    kind: str = "topic"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    passive: bool = False
    bindings: Sequence[Binding] = ()


async def declare(link: Link, *things: QueueDeclaration | ExchangeDeclaration) -> None:
    """Declare each of them, in order. Waits for the connection to come back where it is lost meanwhile.

    Raises `TopologyError` where one is missing, differs, or may not be touched.
    """
    end = asyncio.get_running_loop().time() + seconds(link.broker.patience)
    for thing in things:
        pause = FIRST_PAUSE
        while not await _declared(link, thing, end):
            if link.connected:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)


async def _declared(link: Link, thing: QueueDeclaration | ExchangeDeclaration, end: float) -> bool:
    session = await link.session()
    if isinstance(thing, QueueDeclaration) and DELAYED_RETRY in thing.arguments and link.server_version < _DELAYS_RETRIES:
        # Older ones take the argument and do nothing about it.
        version = ".".join(map(str, link.server_version))
        raise TopologyError(
            f"queue {thing.name!r} on {link.broker.servers[session.index]} cannot delay what failed: that came "
            f"with RabbitMQ 4.3, and this is {version}; leave delayed_retry= out, and messages wait in queues beside it"
        )
    try:
        async with link.channel() as channel:
            if isinstance(thing, ExchangeDeclaration):
                await _exchange(channel, thing)
            else:
                await _queue(channel, thing)
    except WarrenError:
        raise
    except Exception as error:
        where = str(link.broker.servers[session.index])
        refused: ConnectorError | None = topology_error(error, thing, where)
        if refused is None and session.alive:
            refused = BrokerError(
                f"{_kind(thing)} {thing.name!r} on {where} could not be declared: {error}; look into its log"
            )
            if is_passing(error) and (link.reconnects or asyncio.get_running_loop().time() < end):
                log.warning("%s; it is tried again", refused)
                refused = None
        if refused is not None:
            raise refused from error
        return False
    return True


async def _exchange(channel: AbstractChannel, thing: ExchangeDeclaration) -> None:
    if not thing.name or thing.name.startswith("amq."):
        return
    arguments = {name: value for name, value in thing.arguments.items() if value is not None}
    await channel.exchange_declare(
        thing.name, exchange_type=thing.kind, passive=thing.passive, durable=True, arguments=arguments
    )
    for binding in thing.bindings:
        await _exchange(channel, ExchangeDeclaration(binding.exchange, binding.kind, binding.arguments, binding.passive))
        await channel.exchange_bind(thing.name, binding.exchange, binding.key)


async def _queue(channel: AbstractChannel, thing: QueueDeclaration) -> None:
    if thing.passive:
        await channel.queue_declare(thing.name, passive=True)
        return
    await channel.queue_declare(thing.name, durable=True, arguments=thing.table)
    for binding in thing.bindings:
        await _exchange(channel, ExchangeDeclaration(binding.exchange, binding.kind, binding.arguments, binding.passive))
        await channel.queue_bind(thing.name, binding.exchange, binding.key)


def is_missing(error: Exception) -> bool:
    """Whether the broker says that a queue or an exchange is not there."""
    return "NOT_FOUND" in str(error) and not is_passing(error)


def is_passing(error: Exception) -> bool:
    """Whether the broker will get over it: a node of its that is down, one that is slow to answer."""
    return _PASSING.search(str(error)) is not None


def topology_error(error: Exception, thing: QueueDeclaration | ExchangeDeclaration, where: str) -> TopologyError | None:
    """What the broker has against a declaration, as a sentence that shows both sides; ``None`` where it is not that."""
    text = " ".join(str(error).split())
    told = text.split(" - ", 1)[-1]
    named = re.search(r"\b(queue|exchange) '([^']*)'", told)
    name = f"{named[1]} {named[2]!r} on {where}" if named else f"{_kind(thing)} {thing.name!r} on {where}"
    if found := _INEQUIVALENT.search(text):
        return _conflict(name, found["what"], found["ours"], found["theirs"])
    if is_passing(error):
        return None
    if "NOT_FOUND" in text:
        return TopologyError(f"{name} is not there: create it, or leave passive=True out so that it is declared")
    if "in exclusive use" in text:
        return TopologyError(f"{name} has a consumer that lets no other in (exclusive): end that one, or read another queue")
    if "ACCESS_REFUSED" in text:
        remedy = "grant permissions" if thing.passive else "grant permissions, or have it created and use passive=True"
        return TopologyError(f"{name} may not be touched: {told}; {remedy}")
    if "RESOURCE_LOCKED" in text:
        return TopologyError(f"{name} belongs to another connection alone (exclusive): choose another name")
    if "exchange type" in text:
        plugin = next((f": rabbitmq-plugins enable {brings}" for kind, brings in _PLUGINS.items() if kind in text), "")
        return TopologyError(f"{name} is refused: {told}; choose another kind=, or enable the plugin that brings it{plugin}")
    if _REFUSED.search(text):
        return TopologyError(f"{name} is refused: {told}; correct its arguments")
    return None


def _kind(thing: QueueDeclaration | ExchangeDeclaration) -> str:
    return "exchange" if isinstance(thing, ExchangeDeclaration) else "queue"


def _conflict(name: str, what: str, ours: str, theirs: str) -> TopologyError:
    if what == "x-queue-type" and theirs == "none":
        # Before RabbitMQ 4 a queue that was declared without a type has none, and is a classic one.
        theirs = "'classic'"
    (mine, my_type), (other, their_type) = _shown(ours), _shown(theirs)
    if mine == other:
        mine, other = f"{mine} ({my_type})", f"{other} ({their_type})"
    remedy, literal = "", "None" if theirs == "none" else other
    if what in ("x-queue-type", "type"):
        remedy = f"declare it as it is (kind={other}), "
    elif what not in ("durable", "auto_delete", "exclusive", "internal"):
        remedy = f"declare it as it is (arguments={{{what!r}: {literal}}}), "
    return TopologyError(
        f"{name} is there with {what}={other}, and this pipeline declares {what}={mine}: {remedy}take it as it is "
        f"(passive=True), or delete it"
    )


def _shown(text: str) -> tuple[str, str]:
    """A value as Python writes it, and its type in AMQP where the broker tells."""
    if text == "none":
        return "nothing", ""
    found = _TYPED.fullmatch(text)
    value, kind = (found["value"], found["type"]) if found else (text.strip("'"), "")
    if value in ("true", "false") and kind != "longstr":
        return value.capitalize(), kind
    return (value if value.lstrip("-").isdigit() and kind != "longstr" else repr(value)), kind
