"""A channel as the model broker sees it."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from pamqp import commands

from tests.brokers.model import wire
from tests.brokers.model.confirms import Confirms
from tests.brokers.model.messages import Copy, Message
from tests.brokers.model.queues import Consumer, Queue
from tests.brokers.model.topology import ChannelError, HardError

if TYPE_CHECKING:
    from tests.brokers.model.connection import ServerConnection

__all__ = ["ServerChannel"]

# A copy, how often it had been handed out then, and the consumer that it was handed to.
Unsettled = tuple[Copy, int, Consumer | None]

LARGEST_EXPIRATION = 4294967295


class ServerChannel:
    """The state of one channel, and what its clients' basic methods do; the rest is in `methods`."""

    def __init__(self, connection: ServerConnection, number: int) -> None:
        self.connection = connection
        self.broker = connection.broker
        self.vhost = connection.vhost
        self.number = number
        self.closing = False
        self.consumers: dict[str, Consumer] = {}
        self.prefetch = 0
        self.tag = 0
        # Deliveries that are not settled, in the order of their tags.
        self.unsettled: dict[int, Unsettled] = {}
        self.confirms: Confirms | None = None
        self.declared = ""
        # A publish whose content has not all come.
        self.method: tuple[str, str, int] | None = None
        self.header = b""
        self.missing = 0
        self.body: list[bytes] = []

    def send(self, method: commands.base.Frame) -> None:
        """Write a method."""
        self.connection.write(wire.marshal(self.number, method))

    # Publishing

    def publish(self, payload: bytes) -> None:
        """The method of a publish; its content follows."""
        end = 7 + payload[6]
        exchange = payload[7:end].decode()
        after = end + 1 + payload[end]
        self.method = exchange, payload[end + 1 : after].decode(), payload[after]

    def take_header(self, payload: bytes) -> None:
        """The header of a publish."""
        if self.method is None or self.header:
            raise HardError(505, "expected method frame, got non method frame instead")
        self.header = payload
        self.missing = wire.SIZE.unpack_from(payload, 4)[0]
        if not self.missing:
            self._published()

    def take_body(self, payload: bytes) -> None:
        """A piece of the body of a publish."""
        if self.missing <= 0:
            raise HardError(505, "expected method frame, got non method frame instead")
        self.body.append(payload)
        self.missing -= len(payload)
        if self.missing <= 0:
            self._published()

    def _published(self) -> None:
        assert self.method is not None
        name, key, bits = self.method
        body = self.body[0] if len(self.body) == 1 else b"".join(self.body)
        header = self.header
        self.method, self.header, self.body = None, b"", []
        broker = self.broker
        if len(body) > broker.largest_message:
            raise ChannelError(406, f"message size {len(body)} is larger than configured max size {broker.largest_message}")
        exchange = self.vhost.exchange(name)
        if exchange.internal:
            raise ChannelError(403, f"cannot publish to internal {self.vhost.called('exchange', name)}")
        message = Message(name, key, header, body)
        if message.expiration is not None:
            self._check_expiration(message.expiration)
        keys, message = message.copies() if message.table else ([], message)
        queues = [] if exchange.delays(message) else exchange.route(message, keys)
        if bits & 1 and not queues:
            payload = b"\0\x3c\0\x32\1\x38" + wire.short("NO_ROUTE") + wire.short(name) + wire.short(key)
            self.connection.write(wire.content(self.number, payload, header, body, self.connection.largest))
        refused, delay = False, 0.0
        if self.confirms is not None and queues:
            refused, delay, stored = broker.schedule.confirmation(broker.loop.time())
            if refused and not stored:
                queues = []
            if any(queue.leaderless for queue in queues):
                queues, delay = [], inf
        copies = [queue.push(message) for queue in queues]
        if self.confirms is not None:
            kept = tuple(copy for copy in copies if copy is not None)
            self.confirms.add(kept, refused or len(kept) < len(copies), delay)
        broker.has("stored")

    def _check_expiration(self, text: str) -> None:
        digits = text.removeprefix("-")
        whole = digits[: next((at for at, each in enumerate(digits) if not each.isdigit()), len(digits))]
        if not whole:
            problem = "no_integer"
        elif whole != digits:
            problem = f'{{leftover_string,"{digits[len(whole) :]}"}}'
        elif text.startswith("-"):
            problem = f"{{value_negative,{text}}}"
        elif int(text) > LARGEST_EXPIRATION:
            problem = f"{{value_too_large,{text}}}"
        else:
            return
        raise ChannelError(406, f"invalid expiration '{text}': {problem}")

    # Delivering

    def deliver(self, consumer: Consumer, copy: Copy) -> None:
        """Send a message to a consumer."""
        self.tag += 1
        if not consumer.no_ack:
            self.unsettled[self.tag] = (copy, copy.handed, consumer)
        message = copy.message
        header = message.counted(copy.returns) if copy.returns else message.header
        method = wire.deliver(consumer.encoded, self.tag, copy.redelivered, message.exchange, message.key)
        self.connection.write(wire.content(self.number, method, header, message.body, self.connection.largest))
        self.broker.has("delivered")

    def get(self, queue: Queue, no_ack: bool) -> None:
        """Answer basic.get."""
        copy = queue.take(no_ack)
        if copy is None:
            self.send(commands.Basic.GetEmpty())
            return
        self.tag += 1
        if not no_ack:
            self.unsettled[self.tag] = (copy, copy.handed, None)
        message = copy.message
        header = message.counted(copy.returns) if queue.quorum else message.header
        method = b"\0\x3c\0\x47" + wire.DELIVERY.pack(self.tag, copy.redelivered) + wire.short(message.exchange)
        method += wire.short(message.key) + wire.LONG.pack(len(queue))
        self.connection.write(wire.content(self.number, method, header, message.body, self.connection.largest))

    # Settling

    def _chosen(self, tag: int, multiple: bool) -> list[Unsettled]:
        unsettled = self.unsettled
        if multiple and not tag:
            chosen = list(unsettled.values())
            unsettled.clear()
            return chosen
        if tag not in unsettled:
            raise ChannelError(406, f"unknown delivery tag {tag}")
        if not multiple:
            return [unsettled.pop(tag)]
        tags = [each for each in unsettled if each <= tag]
        return [unsettled.pop(each) for each in tags]

    def settle(self, tag: int, multiple: bool) -> None:
        """The client acknowledges."""
        queues: dict[Queue, None] = {}
        for copy, handed, consumer in self._chosen(tag, multiple):
            copy.queue.settle(copy, handed)
            if consumer is not None:
                copy.queue.freed(consumer)
            queues[copy.queue] = None
        self.broker.has("settled")
        for queue in queues:
            queue.pump()

    def refuse(self, tag: int, multiple: bool, requeue: bool) -> None:
        """The client rejects, for now or for good."""
        self._give_back(self._chosen(tag, multiple), requeue, asked=True)

    def recover(self) -> None:
        """All that is unsettled comes again."""
        self._give_back(self._chosen(0, True), True, asked=True)

    def _give_back(self, chosen: list[Unsettled], requeue: bool, *, asked: bool) -> None:
        queues: dict[Queue, list[tuple[Copy, int]]] = {}
        for copy, handed, consumer in chosen:
            queues.setdefault(copy.queue, []).append((copy, handed))
            if consumer is not None:
                copy.queue.freed(consumer)
        for queue, copies in queues.items():
            if requeue:
                queue.take_back(copies, asked=asked)
            else:
                for copy, handed in copies:
                    queue.refuse(copy, handed)
                queue.pump()

    # Consumers

    def consume(self, queue: Queue, tag: str, no_ack: bool, exclusive: bool) -> Consumer:
        """Start a consumer; the caller answers, then pumps."""
        if tag in self.consumers:
            raise HardError(530, f"attempt to reuse consumer tag '{tag}'")
        if not queue.quorum and queue.consumers and (exclusive or queue.consumers[0].exclusive):
            raise ChannelError(403, f"{self.vhost.called('queue', queue.name)} in exclusive use")
        consumer = self.consumers[tag] = Consumer(self, tag, queue, no_ack, self.prefetch, exclusive)
        queue.attach(consumer)
        return consumer

    def cancel(self, tag: str) -> None:
        """The client ends a consumer."""
        consumer = self.consumers.pop(tag, None)
        if consumer is not None:
            consumer.queue.detach(consumer)
            consumer.queue.pump()

    def cancelled(self, consumer: Consumer) -> None:
        """The broker ends a consumer."""
        if self.consumers.pop(consumer.tag, None) is None:
            return
        consumer.queue.detach(consumer)
        if self.connection.capable("consumer_cancel_notify"):
            self.send(commands.Basic.Cancel(consumer_tag=consumer.tag, nowait=True))
        consumer.queue.pump()

    # The end

    def stop(self) -> list[Queue]:
        """Consumers end; returns the queues that they were on."""
        self.closing = True
        if self.confirms is not None:
            self.confirms.close()
        consumers = list(self.consumers.values())
        self.consumers.clear()
        for consumer in consumers:
            consumer.queue.detach(consumer)
        return [consumer.queue for consumer in consumers]

    def end(self) -> None:
        """Consumers end, and what is unsettled goes back."""
        queues = self.stop()
        self._give_back(self._chosen(0, True), True, asked=False)
        for queue in queues:
            queue.pump()
