"""The model broker: what survives a crash, who is connected, and what can be done to them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pamqp import commands

from tests.brokers.model import wire
from tests.brokers.model.channel import ServerChannel
from tests.brokers.model.confirms import Confirms
from tests.brokers.model.connection import ServerConnection
from tests.brokers.model.ledger import Ledger
from tests.brokers.model.messages import Copy
from tests.brokers.model.pipes import ModelTransport, Pipe
from tests.brokers.model.queues import Consumer, Queue
from tests.brokers.model.schedule import Schedule
from tests.brokers.model.topology import ChannelError, HardError, VHost

if TYPE_CHECKING:
    from tests.brokers.model.loop import ModelLoop

__all__ = ["ModelBroker"]

PROPERTIES = {
    "capabilities": {
        "publisher_confirms": True,
        "exchange_exchange_bindings": True,
        "basic.nack": True,
        "consumer_cancel_notify": True,
        "connection.blocked": True,
        "consumer_priorities": True,
        "authentication_failure_close": True,
        "per_consumer_qos": True,
        "direct_reply_to": True,
    },
    "cluster_name": "model",
    "product": "RabbitMQ",
    "version": "3.10.8",
}
GREETING = wire.marshal(0, commands.Connection.Start(0, 9, PROPERTIES, "PLAIN AMQPLAIN", "en_US"))
# A moment in real time that the model's clock counts from.
EPOCH = 1_700_000_000.0
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# How long a broker that shuts down waits for a client to agree.
GOODBYE = 1.0


class ModelBroker:
    """One broker on a loop. ``broker.url`` is its address; it accepts connections until it crashes or stops."""

    def __init__(self, loop: ModelLoop, schedule: Schedule | None = None, host: str = "127.0.0.1", port: int = 5672) -> None:
        self.loop = loop
        self.schedule = schedule or Schedule.calm()
        self.host = host
        self.port = port
        self.users = {"guest": "guest"}
        self.vhosts = {"/": VHost(self, "/")}
        self.channel_max, self.frame_max, self.heartbeat = 2047, 131072, 60
        self.largest_message = 134217728
        self.greeting = GREETING
        self.connections: dict[int, ServerConnection] = {}
        self.count = 0
        self.up = True
        self.blocked = False
        self.delays = False
        """Whether it has the plugin for delayed messages."""
        self.ledger = Ledger(self)
        self.random = random.Random(self.schedule.seed)
        self.reading: dict[Confirms, None] = {}
        loop.brokers[host, port] = self
        self.schedule.start(self)

    def __repr__(self) -> str:
        return f"<model broker on {self.host}:{self.port}, {'up' if self.up else 'down'}>"

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"amqp://guest:guest@{self.host}:{self.port}/"

    def now(self) -> float:
        """The time of day, in virtual time."""
        return EPOCH + self.loop.time()

    def add_vhost(self, name: str) -> VHost:
        """One more virtual host."""
        self.vhosts[name] = VHost(self, name)
        return self.vhosts[name]

    def invent(self, prefix: str) -> str:
        """A name that nobody has."""
        return prefix + "".join(self.random.choices(LETTERS, k=22))

    def queues(self) -> Iterator[Queue]:
        """All queues there are now."""
        for vhost in self.vhosts.values():
            yield from vhost.queues.values()

    def queue(self, name: str, vhost: str = "/") -> Queue:
        """One queue by its name."""
        return self.vhosts[vhost].queues[name]

    def messages(self, name: str, vhost: str = "/") -> list[str]:
        """Which messages are in a queue, ready or held, as the ledger calls them."""
        queue = self.queue(name, vhost)
        return [copy.message.identity for copy in (*queue.held, *queue.returned, *queue.ready)]

    def consumers(self) -> list[Consumer]:
        """All consumers there are now."""
        channels = [channel for connection in self.connections.values() for channel in connection.channels.values()]
        return [consumer for channel in channels for consumer in channel.consumers.values()]

    def has(self, moment: str) -> None:
        """It has just done something that a fault may wait for."""
        if moment in self.schedule.poised:
            if moment == "stored":
                # At once, before the confirm goes out.
                self.schedule.now(self, moment)
            else:
                self.loop.call_soon(self.schedule.now, self, moment)

    # Connections

    def accept(self, transport: ModelTransport) -> None:
        """A client connects."""
        self.count += 1
        incoming = Pipe(self.loop, self.schedule, transport.received, transport.ended)
        connection = ServerConnection(self, self.count, incoming)
        outgoing = Pipe(self.loop, self.schedule, connection.receive, lambda error: connection.lost())
        connection.incoming = outgoing
        connection.heard = connection.wrote = self.loop.time()
        transport.join(connection, outgoing, incoming)
        self.connections[self.count] = connection

    def after_reading(self, confirms: Confirms) -> None:
        """Confirms that go out when all that has come is read."""
        self.reading[confirms] = None

    def flush(self) -> None:
        """All that has come is read."""
        if self.reading:
            reading, self.reading = self.reading, {}
            for confirms in reading:
                confirms.flush()

    # What can happen to it

    def crash(self, *, silent: bool = False) -> None:
        """It dies as by ``kill -9``. When ``silent``, its machine dies too: clients hear nothing until it is back."""
        self.up = False
        connections = self._stop_consumers()
        for connection in connections:
            if silent:
                connection.vanish()
            else:
                connection.reset()
        self._forget(crashed=True)

    def stop(self) -> None:
        """It shuts down in an orderly way: clients are told, and all that may survive does."""
        self.up = False
        for connection in self._stop_consumers():
            if connection.running:
                connection.fail(HardError(320, "broker forced connection closure with reason 'shutdown'"))
                self.loop.call_later(GOODBYE, connection.hang_up)
            else:
                connection.hang_up()
        self._forget(crashed=False)

    def start(self) -> None:
        """It is back, with what has survived."""
        self.up = True
        self.blocked = False
        for queue in self.queues():
            queue.pump()

    def _stop_consumers(self) -> list[ServerConnection]:
        connections = list(self.connections.values())
        for connection in connections:
            connection.stop_consumers()
        return connections

    def _forget(self, crashed: bool) -> None:
        self.reading.clear()
        for vhost in self.vhosts.values():
            for queue in tuple(vhost.queues.values()):
                if not queue.durable or queue.owner is not None:
                    vhost.delete_queue(queue, "the broker restarted")
            for exchange in tuple(vhost.exchanges.values()):
                if not exchange.durable:
                    vhost.delete_exchange(exchange)
            for queue in vhost.queues.values():
                queue.forget(
                    lambda copy: copy.durable and (copy.confirmed or not crashed or self.schedule.survives()), crashed
                )
        if crashed:
            self.ledger.remember(self.schedule)

    def reset(self, connection: ServerConnection, broker_lag: float = 0.0, client_lag: float = 0.0) -> None:
        """The network breaks one connection; each side notices after a while of its own."""
        connection.incoming.drop()
        connection.outgoing.drop()
        error = ConnectionResetError(104, "Connection reset by peer")
        self.loop.call_later(client_lag, connection.outgoing.ended, error)
        self.loop.call_later(broker_lag, connection.lost)

    def stall(self, connection: ServerConnection, seconds: float, *, to_client: bool = True, to_broker: bool = True) -> None:
        """Nothing gets through for a while."""
        until = self.loop.time() + seconds
        if to_client:
            connection.outgoing.hold(until)
        if to_broker:
            connection.incoming.hold(until)

    def close_channel(self, channel: ServerChannel, text: str | None = None) -> None:
        """Close a channel as RabbitMQ does when a delivery was held for too long."""
        text = text or (
            f"delivery acknowledgement on channel {channel.number} timed out. Timeout value used: 1800000 ms. "
            "This timeout value can be configured, see consumers doc guide to learn more"
        )
        channel.connection.close_channel(channel.number, ChannelError(406, text))

    def cancel(self, consumer: Consumer) -> None:
        """End a consumer, as when its queue moves to another node."""
        consumer.channel.cancelled(consumer)

    def deliver_again(self, consumer: Consumer) -> None:
        """Take a consumer for dead: what it holds goes to others or comes again; its later acknowledgements mean nothing."""
        copies = [(copy, handed) for copy, handed, holder in consumer.channel.unsettled.values() if holder is consumer]
        consumer.queue.take_back(copies, asked=False)

    def block(self) -> None:
        """Raise a memory alarm: who publishes is read no more."""
        self.blocked = True

    def unblock(self) -> None:
        """The alarm is over."""
        self.blocked = False
        for connection in tuple(self.connections.values()):
            connection.unblock()

    def copies(self) -> Iterator[Copy]:
        """All copies that are in a queue now, ready or held."""
        for queue in self.queues():
            yield from queue.returned
            yield from queue.ready
            yield from queue.held
