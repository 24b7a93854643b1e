"""What a broker refuses, in its own words, and what a refusal ends: the channel or the connection."""

from __future__ import annotations

from pamqp.commands import Basic, Channel, Connection, Exchange, Queue

from tests.brokers.model.scripts import Scene, script

TTL = {"x-message-ttl": 60000}


@script
async def handshakes(scene: Scene) -> None:
    await (await scene.connect()).shake_hands(scene.vhost)
    await (await scene.connect()).shake_hands(scene.vhost, password="wrong")
    await (await scene.connect()).shake_hands(scene.vhost, user="nobody")
    talk = await scene.connect()
    await talk.shake_hands("no such vhost")
    talk.send(0, Connection.CloseOk())
    await talk.take(0)
    for header in (b"GET / HT", b"AMQP\0\1\0\0"):
        talk = await scene.connect()
        talk.raw(header)
        await talk.take(0, 2)
    talk = await scene.talker(1)
    await talk.ask(0, Connection.Close(200, "bye", 0, 0))


@script
async def refused_on_a_channel(scene: Scene) -> None:
    talk = await scene.talker(1)
    await talk.declare(1, "q", message_ttl=60000)
    quorum = TTL | {"x-queue-type": "quorum"}
    for request in (
        Queue.Declare(queue="q", durable=True, arguments=TTL),
        Queue.Declare(queue="q", durable=True, arguments=TTL | {"x-unknown": 1}),
        Queue.Declare(queue="q", durable=False, arguments=TTL),
        Queue.Declare(queue="q", durable=True, auto_delete=True, arguments=TTL),
        Queue.Declare(queue="q", durable=True, exclusive=True, arguments=TTL),
        Queue.Declare(queue="q", durable=True),
        Queue.Declare(queue="q", durable=True, arguments={"x-message-ttl": 60}),
        Queue.Declare(queue="q", durable=True, arguments=quorum),
        Queue.Declare(queue="q", durable=True, arguments=TTL | {"x-queue-type": "classic"}),
        Queue.Declare(queue="q", durable=True, arguments=TTL | {"x-dead-letter-exchange": ""}),
        Queue.Declare(queue="q", durable=True, arguments=TTL | {"x-max-length": 100}),
        Queue.Declare(queue="new", durable=True, arguments={"x-message-ttl": "a"}),
        Queue.Declare(queue="new", durable=True, arguments={"x-message-ttl": -1}),
        Queue.Declare(queue="new", durable=True, arguments={"x-dead-letter-routing-key": "a"}),
        Queue.Declare(queue="new", durable=True, arguments={"x-queue-type": "unknown"}),
        Queue.Declare(queue="new", durable=False, arguments=quorum),
        Queue.Declare(queue="new", durable=True, exclusive=True, arguments=quorum),
        Queue.Declare(queue="new", passive=True),
        Queue.Declare(queue="", passive=True),
        Queue.Declare(queue="amq.new"),
        Queue.Delete(queue="new"),
        Queue.Purge(queue="new"),
        Queue.Bind(queue="new", exchange="amq.direct", routing_key="a"),
        Queue.Bind(queue="q", exchange="new", routing_key="a"),
        Queue.Bind(queue="q", exchange="", routing_key="a"),
        Queue.Unbind(queue="q", exchange="", routing_key="a"),
        Queue.Unbind(queue="q", exchange="amq.direct", routing_key="a"),
        Queue.Unbind(queue="q", exchange="new", routing_key="a"),
        Queue.Unbind(queue="new", exchange="amq.direct", routing_key="a"),
        Exchange.Declare(exchange="new", passive=True),
        Exchange.Declare(exchange="amq.new"),
        Exchange.Declare(exchange="amq.direct", exchange_type="fanout", durable=True),
        Exchange.Declare(exchange="amq.direct", exchange_type="direct"),
        Exchange.Declare(exchange="amq.direct", exchange_type="direct", durable=True, auto_delete=True),
        Exchange.Declare(exchange="amq.direct", exchange_type="direct", durable=True, internal=True),
        Exchange.Declare(exchange="", exchange_type="direct"),
        Exchange.Delete(exchange=""),
        Exchange.Delete(exchange="amq.direct"),
        Exchange.Delete(exchange="new"),
        Exchange.Bind(source="amq.direct", destination="new", routing_key=""),
        Exchange.Bind(source="new", destination="amq.direct", routing_key=""),
        Basic.Consume(queue="new", consumer_tag="c"),
        Basic.Get(queue="new"),
        Basic.Get(queue=""),
        Basic.Cancel(consumer_tag="new"),
        Basic.Ack(delivery_tag=5),
        Basic.Ack(delivery_tag=5, multiple=True),
        Basic.Ack(delivery_tag=0),
        Basic.Nack(delivery_tag=5),
        Basic.Reject(delivery_tag=5),
        Basic.Reject(delivery_tag=0),
    ):
        got = await talk.ask(1, request)
        if got[0]["name"] == "Channel.Close":
            talk.send(1, Channel.CloseOk())
            await talk.open(1)


@script
async def refused_publishes(scene: Scene) -> None:
    talk = await scene.talker(1, 2, confirm=True)
    talk.publish(1, b"", "k", "no such exchange")
    await talk.take(1)
    talk.publish(1, b"not heard any more", "k")
    talk.send(1, Channel.CloseOk())
    await talk.open(1, confirm=True)
    await talk.ask(1, Exchange.Declare(exchange="inside", internal=True))
    talk.publish(1, b"", "k", "inside")
    await talk.take(1)
    talk.publish(2, b"", "k", mandatory=True)
    await talk.take(2, 2)


@script
async def settled_twice(scene: Scene) -> None:
    """Tags that are not known any more, alone and as the end of a range."""
    for first, second in (
        (Basic.Ack(delivery_tag=1), Basic.Ack(delivery_tag=1)),
        (Basic.Ack(delivery_tag=2), Basic.Ack(delivery_tag=2, multiple=True)),
        (Basic.Ack(delivery_tag=3, multiple=True), Basic.Nack(delivery_tag=2)),
        (Basic.Ack(delivery_tag=1), Basic.Ack(delivery_tag=9, multiple=True)),
        (Basic.Nack(delivery_tag=3, requeue=False), Basic.Reject(delivery_tag=3)),
    ):
        talk = await scene.talker(1, 2)
        await talk.declare(1, "q")
        for number in range(3):
            talk.publish(1, b"%d" % number, "q")
        await talk.consume(2, "q")
        await talk.take(2, 3)
        talk.send(2, first)
        talk.send(2, second)
        await talk.take(2)
        await talk.ask(1, Queue.Delete(queue="q"))


@script
async def refused_on_the_connection(scene: Scene) -> None:
    for channel, frames in (
        (1, [Exchange.Declare(exchange="e", exchange_type="unknown")]),
        (1, [Basic.Qos(prefetch_size=3)]),
        (1, [Channel.Flow(active=False)]),
        (1, [Channel.Open()]),
        (7, [Basic.Get(queue="q")]),
        (1, [Basic.Recover(requeue=False)]),
        (1, [Basic.Publish(), Basic.Publish()]),
        (0, [Connection.Open("/")]),
        (1, [Channel.CloseOk()]),
        (1, [Basic.GetEmpty()]),
    ):
        talk = await scene.talker(1)
        talk.send(channel, *frames)
        await talk.take(0)
        talk.send(0, Connection.CloseOk())
        await talk.take(0)


@script
async def a_tag_used_twice(scene: Scene) -> None:
    talk = await scene.talker(1)
    await talk.declare(1, "q")
    await talk.consume(1, "q")
    talk.send(1, Basic.Consume(queue="q", consumer_tag="c"))
    await talk.take(0)


@script
async def broken_frames(scene: Scene) -> None:
    for bad in (
        b"\x01\0\1\0\0\0\4abcdX",
        b"\x08\0\1\0\0\0\4abcd\xce",
        b"\x05\0\1\0\0\0\4abcd\xce",
        b"\x03\0\1\0\0\0\4abcd\xce",
        b"\x01\0\1\x7f\0\0\4abcdX",
    ):
        talk = await scene.talker(1)
        talk.raw(bad)
        await talk.take(0)


@script
async def channels_that_close(scene: Scene) -> None:
    """Closes that cross each other, and a number used again."""
    talk = await scene.talker(1)
    await talk.ask(1, Queue.Declare(queue="none", passive=True), Channel.Close(200, "", 0, 0), answers=2)
    talk.send(1, Channel.CloseOk())
    await talk.open(1)
    await talk.ask(1, Channel.Close(200, "", 0, 0))
    talk.send(1, Channel.Close(200, "", 0, 0))
    await talk.take(0)
    talk = await scene.talker(1)
    await talk.ask(1, Channel.Close(200, "", 0, 0), Channel.Close(200, "", 0, 0), answers=2)
    await talk.open(1)
    # The number is taken until the answer is there.
    talk.send(1, Channel.Close(200, "", 0, 0), Channel.Open())
    await talk.take(0)
