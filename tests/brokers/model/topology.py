"""Virtual hosts of the model: exchanges, queues and bindings, and what RabbitMQ says of declarations that do not fit."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from tests.brokers.model import wire
from tests.brokers.model.messages import Message
from tests.brokers.model.queues import Queue

if TYPE_CHECKING:
    from tests.brokers.model.broker import ModelBroker
    from tests.brokers.model.connection import ServerConnection

__all__ = ["ChannelError", "Exchange", "HardError", "VHost"]

TYPES = ("direct", "fanout", "topic")
DELAYED = "x-delayed-message"
"""Exchanges of a plugin that no package has: as its documentation describes them."""
NAMES = {
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    320: "CONNECTION_FORCED",
    501: "FRAME_ERROR",
    502: "SYNTAX_ERROR",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    505: "UNEXPECTED_FRAME",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
    541: "INTERNAL_ERROR",
}
WHOLE = {
    "byte": range(-(2**7), 2**7),
    "short": range(-(2**15), 2**15),
    "unsignedshort": range(2**16),
    "signedint": range(-(2**31), 2**31),
}
LOCKED = (
    "cannot obtain exclusive access to locked {}. It could be originally declared on another connection or the "
    "exclusive property value does not match that of the original declaration."
)
# The arguments that a second declaration must repeat; RabbitMQ does not compare any others.
COMPARED = (
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-max-priority",
    "x-single-active-consumer",
    "x-queue-mode",
    "x-delivery-limit",
    "x-quorum-initial-group-size",
    "x-queue-type",
)
NUMBERS = ("x-message-ttl", "x-expires", "x-max-length", "x-delivery-limit")


class HardError(Exception):
    """Ends the connection."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{NAMES[code]} - {text}")
        self.code = code


class ChannelError(HardError):
    """Ends the channel."""


def text(value: bool) -> str:
    return "true" if value else "false"


def type_name(value: Any) -> str:
    """RabbitMQ's name of the type that a client gives a value."""
    match value:
        case bool():
            return "bool"
        case int():
            return next((name for name, numbers in WHOLE.items() if value in numbers), "long")
        case float():
            return "float"
        case dict():
            return "table"
        case list():
            return "array"
    return "longstr"


def _shown(value: Any) -> str:
    return text(value) if isinstance(value, bool) else str(value)


def _described(value: Any) -> str:
    return "none" if value is None else f"the value '{_shown(value)}' of type '{type_name(value)}'"


def compare(name: str, what: str, received: Any, current: Any) -> None:
    """Refuse an argument that is not as it is."""
    if received == current:
        return
    if type(received) is type(current):
        got, has = f"'{_shown(received)}'", f"'{_shown(current)}'"
    else:
        got, has = _described(received), _described(current)
    raise ChannelError(406, f"inequivalent arg '{name}' for {what}: received {got} but current is {has}")


def matches(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """Whether a topic's pattern fits a key."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(matches(pattern[1:], words[at:]) for at in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and matches(pattern[1:], words[1:])


@functools.lru_cache(maxsize=4096)
def fits(pattern: str, key: str) -> bool:
    """The same, of their texts; an empty one has no words."""
    return matches(tuple(pattern.split(".")) if pattern else (), tuple(key.split(".")) if key else ())


class Exchange:
    """An exchange and what is bound to it."""

    def __init__(self, vhost: VHost, name: str, kind: str, **properties: Any) -> None:
        self.vhost = vhost
        self.name = name
        self.kind = kind
        self.durable: bool = properties.get("durable", True)
        self.auto_delete: bool = properties.get("auto_delete", False)
        self.internal: bool = properties.get("internal", False)
        self.arguments: dict[str, Any] = properties.get("arguments") or {}
        self.bindings: dict[tuple[str, Queue | Exchange], None] = {}

    def targets(self, key: str) -> list[Queue | Exchange]:
        """What one key leads to from here."""
        if not self.name:
            queue = self.vhost.queues.get(key)
            return [] if queue is None else [queue]
        if self.kind == "fanout":
            return [target for _, target in self.bindings]
        if self.kind in ("direct", DELAYED):
            return [target for pattern, target in self.bindings if pattern == key]
        return [target for pattern, target in self.bindings if fits(pattern, key)]

    def route(self, message: Message, copies: list[str] | None = None) -> list[Queue]:
        """The queues that a message goes to, each once."""
        found: dict[Queue, None] = {}
        seen: dict[Exchange, None] = {self: None}
        for exchange in (visits := [self]):
            targets = exchange.targets(message.key)
            for key in copies or ():
                targets += exchange.targets(key)
            if not targets and (other := self.vhost.exchanges.get(exchange.arguments.get("alternate-exchange"))) is not None:
                targets = [other]
            for target in targets:
                if isinstance(target, Queue):
                    found[target] = None
                elif target not in seen:
                    seen[target] = None
                    visits.append(target)
        return list(found)

    def delays(self, message: Message) -> bool:
        """Whether it keeps a message, which then leads nowhere; its queues get it later."""
        wait = wire.read_headers(message.header).get("x-delay") if self.kind == DELAYED else None
        if wait is not None:
            self.vhost.broker.loop.call_later(wait / 1000, lambda: [queue.push(message) for queue in self.route(message)])
        return wait is not None


class VHost:
    """A virtual host."""

    def __init__(self, broker: ModelBroker, name: str) -> None:
        self.broker = broker
        self.name = name
        self.queues: dict[str, Queue] = {}
        self.exchanges = {"": Exchange(self, "", "direct")}
        for kind in TYPES:
            self.exchanges[f"amq.{kind}"] = Exchange(self, f"amq.{kind}", kind)

    def called(self, kind: str, name: str) -> str:
        """How the broker's sentences call a thing of this vhost."""
        return f"{kind} '{name}' in vhost '{self.name}'"

    def queue(self, name: str, connection: ServerConnection) -> Queue:
        """The queue of that name, or the broker's refusal."""
        queue = self.queues.get(name)
        if queue is None:
            raise ChannelError(404, f"no {self.called('queue', name)}")
        if queue.owner not in (None, connection):
            raise ChannelError(405, LOCKED.format(self.called("queue", name)))
        return queue

    def exchange(self, name: str) -> Exchange:
        """The exchange of that name, or the broker's refusal."""
        exchange = self.exchanges.get(name)
        if exchange is None:
            raise ChannelError(404, f"no {self.called('exchange', name)}")
        return exchange

    def declare_queue(
        self,
        name: str,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        arguments: dict[str, Any],
        connection: ServerConnection,
    ) -> Queue:
        """Make a queue, or see that it is as declared."""
        what = self.called("queue", name)
        owner = connection if exclusive else None
        queue = self.queues.get(name)
        if queue is not None:
            if queue.owner is not owner:
                raise ChannelError(405, LOCKED.format(what))
            compare("durable", what, durable, queue.durable)
            compare("auto_delete", what, auto_delete, queue.auto_delete)
            for argument in COMPARED:
                received, current = arguments.get(argument), queue.arguments.get(argument)
                if argument != "x-queue-type" or (received or "classic") != (current or "classic"):
                    compare(argument, what, received, current)
            return queue
        if name.startswith("amq."):
            raise ChannelError(403, f"queue name '{name}' contains reserved prefix 'amq.*'")
        self._check_arguments(what, arguments)
        if arguments.get("x-queue-type") == "quorum":
            wrong = {"non-durable": not durable, "exclusive-owner": exclusive, "auto-delete": auto_delete}
            for property_name in (each for each, is_so in wrong.items() if is_so):
                raise ChannelError(406, f"invalid property '{property_name}' for {what}")
        name = name or self.broker.invent("amq.gen-")
        queue = self.queues[name] = Queue(self, name, durable, auto_delete, owner, arguments)
        if exclusive:
            connection.own.append(queue)
        return queue

    def _check_arguments(self, what: str, arguments: dict[str, Any]) -> None:
        for argument in NUMBERS:
            value = arguments.get(argument)
            if value is not None and not isinstance(value, int):
                raise ChannelError(406, f"invalid arg '{argument}' for {what}: \"expected integer, got {type_name(value)}\"")
            if value is not None and value < 0:
                raise ChannelError(406, f"invalid arg '{argument}' for {what}: {{value_negative,{value}}}")
        if "x-dead-letter-routing-key" in arguments and "x-dead-letter-exchange" not in arguments:
            raise ChannelError(406, f"invalid arg 'x-dead-letter-routing-key' for {what}: routing_key_but_no_dlx_defined")
        kind = arguments.get("x-queue-type", "classic")
        if kind == "stream":
            raise HardError(540, "the model has no streams")
        if kind not in ("classic", "quorum"):
            raise ChannelError(406, f"invalid arg 'x-queue-type' for {what}: \"unsupported queue type '{kind}'\"")

    def declare_exchange(self, name: str, kind: str, **properties: Any) -> None:
        """Make an exchange, or see that it is as declared."""
        what = self.called("exchange", name)
        if not name:
            raise ChannelError(403, "operation not permitted on the default exchange")
        if kind not in (*TYPES, DELAYED) or (kind == DELAYED and not self.broker.delays):
            raise HardError(503, f"invalid exchange type '{kind}'")
        exchange = self.exchanges.get(name)
        if exchange is None:
            if name.startswith("amq."):
                raise ChannelError(403, f"exchange name '{name}' contains reserved prefix 'amq.*'")
            self.exchanges[name] = Exchange(self, name, kind, **properties)
            return
        compare("type", what, kind, exchange.kind)
        for property_name in ("durable", "auto_delete", "internal"):
            compare(property_name, what, properties[property_name], getattr(exchange, property_name))
        received = properties["arguments"]
        compare("alternate-exchange", what, received.get("alternate-exchange"), exchange.arguments.get("alternate-exchange"))

    def bind(self, source: str, key: str, target: Queue | Exchange) -> None:
        """Lead a key from an exchange to a queue or to another exchange."""
        self.exchange(source).bindings[key, target] = None

    def unbind(self, source: str, key: str, target: Queue | Exchange | None) -> None:
        """Undo `bind`, as far as there is anything to undo."""
        if target is not None and (exchange := self.exchanges.get(source)) is not None:
            exchange.bindings.pop((key, target), None)
            self._unless_used(exchange)

    def delete_queue(self, queue: Queue, why: str = "the queue was deleted") -> None:
        """Delete a queue with its bindings, and tell its consumers."""
        del self.queues[queue.name]
        queue.close(why)
        self._unbind_all(queue)
        for consumer in tuple(queue.consumers):
            consumer.channel.cancelled(consumer)

    def delete_exchange(self, exchange: Exchange) -> None:
        """Delete an exchange with its bindings."""
        del self.exchanges[exchange.name]
        self._unbind_all(exchange)

    def _unbind_all(self, target: Queue | Exchange) -> None:
        for exchange in tuple(self.exchanges.values()):
            if found := [binding for binding in exchange.bindings if binding[1] is target]:
                for binding in found:
                    del exchange.bindings[binding]
                self._unless_used(exchange)

    def _unless_used(self, exchange: Exchange) -> None:
        if exchange.auto_delete and not exchange.bindings and exchange.name in self.exchanges:
            self.delete_exchange(exchange)
