"""Consuming, acknowledging, giving back: in which order, how often, and with which marks messages come."""

from __future__ import annotations

from pamqp.commands import Basic, Channel, Queue

from tests.brokers.model.scripts import Scene, script

KINDS = {"classic": {}, "quorum": {"queue_type": "quorum"}}


@script
async def prefetch_and_multiple_acknowledgements(scene: Scene) -> None:
    talk = await scene.talker(1, 2, confirm=True)
    for kind, arguments in KINDS.items():
        await talk.declare(1, kind, **arguments)
        for number in range(6):
            talk.publish(1, b"%d" % number, kind, message_id=str(number), delivery_mode=2)
            await talk.take(1)
        await talk.consume(2, kind, prefetch=3, tag=kind)
        await talk.take(2, 3)
        talk.send(2, Basic.Ack(delivery_tag=2))
        await talk.take(2)
        talk.send(2, Basic.Ack(delivery_tag=4, multiple=True))
        await talk.take(2, 2)
        await talk.ask(1, Queue.Declare(queue=kind, passive=True))
        await talk.ask(2, Basic.Cancel(consumer_tag=kind))
        talk.send(2, Basic.Ack(delivery_tag=0, multiple=True))
        await talk.ask(2, Channel.Close(200, "", 0, 0))
        await talk.ask(1, Queue.Delete(queue=kind))
        await talk.open(2)


@script
async def requeued_messages_come_back(scene: Scene) -> None:
    talk = await scene.talker(1, 2)
    for kind, arguments in KINDS.items():
        await talk.declare(1, kind, **arguments)
        await talk.consume(2, kind, prefetch=4, tag=kind)
        for number in range(6):
            talk.publish(1, b"%d" % number, kind)
        await talk.take(2, 4)
        talk.send(2, Basic.Nack(delivery_tag=2))
        await talk.take(2)
        talk.send(2, Basic.Reject(delivery_tag=3))
        await talk.take(2)
        talk.send(2, Basic.Nack(delivery_tag=1))
        await talk.take(2)
        talk.send(2, Basic.Nack(delivery_tag=0, multiple=True))
        await talk.take(2, 4)
        talk.send(2, Basic.Ack(delivery_tag=0, multiple=True))
        await talk.take(2, 2)
        await talk.ask(2, Channel.Close(200, "", 0, 0))
        await talk.open(2)
        for _ in range(3):
            await talk.ask(2, Basic.Get(queue=kind))
        talk.send(2, Basic.Ack(delivery_tag=0, multiple=True))
        await talk.ask(2, Channel.Close(200, "", 0, 0))
        await talk.ask(1, Queue.Delete(queue=kind))
        await talk.open(2)


@script
async def what_is_unsettled_goes_back_when_the_channel_closes(scene: Scene) -> None:
    talk = await scene.talker(1, 2)
    other = await scene.talker(1)
    for kind, arguments in KINDS.items():
        await talk.declare(1, kind, **arguments)
        for number in range(5):
            talk.publish(1, b"%d" % number, kind)
        await talk.consume(2, kind, prefetch=3, tag=kind)
        await talk.take(2, 3)
        await talk.ask(2, Channel.Close(200, "", 0, 0))
        await other.consume(1, kind, prefetch=5, tag=kind)
        await other.take(1, 5)
        other.send(1, Basic.Nack(delivery_tag=0, multiple=True))
        await other.take(1, 5)
        other.send(1, Basic.Ack(delivery_tag=0, multiple=True))
        await other.ask(1, Basic.Cancel(consumer_tag=kind))
        await talk.ask(1, Queue.Delete(queue=kind))
        await talk.open(2)


@script
async def consumers_take_turns(scene: Scene) -> None:
    for kind, arguments in KINDS.items():
        talk = await scene.talker(1, 2, 3)
        await talk.declare(1, kind, **arguments)
        await talk.consume(2, kind, prefetch=2, tag="a")
        await talk.consume(3, kind, prefetch=2, tag="b")
        for number in range(7):
            talk.publish(1, b"%d" % number, kind)
        await talk.take(2, 2)
        await talk.take(3, 2)
        talk.send(3, Basic.Ack(delivery_tag=0, multiple=True))
        await talk.take(3, 2)
        talk.send(2, Basic.Nack(delivery_tag=2))
        await talk.take(2, 1)


@script
async def one_active_consumer(scene: Scene) -> None:
    # Never cancelled on a classic queue: there 3.10.8 crashes the queue's process.
    for kind, leaves in {
        "classic": Channel.Close(200, "", 0, 0),
        "quorum": Basic.Cancel(consumer_tag="a"),
    }.items():
        talk = await scene.talker(1, 2, 3)
        await talk.declare(1, kind, single_active_consumer=True, **KINDS[kind])
        await talk.consume(2, kind, prefetch=2, tag="a")
        await talk.consume(3, kind, prefetch=2, tag="b")
        for number in range(7):
            talk.publish(1, b"%d" % number, kind)
        await talk.take(2, 2)
        talk.send(2, Basic.Ack(delivery_tag=1))
        await talk.take(2)
        await talk.ask(2, leaves)
        await talk.take(3, 2)
        talk.send(3, Basic.Ack(delivery_tag=2, multiple=True))
        await talk.take(3, 2)


@script
async def get_and_without_acknowledgement(scene: Scene) -> None:
    talk = await scene.talker(1, 2, confirm=True)
    for kind, arguments in KINDS.items():
        await talk.declare(1, kind, **arguments)
        await talk.ask(2, Basic.Get(queue=kind))
        for number in range(5):
            talk.publish(1, b"%d" % number, kind, delivery_mode=2, headers={"n": number})
            await talk.take(1)
        await talk.ask(2, Basic.Get(queue=kind))
        await talk.ask(2, Basic.Get(queue=kind, no_ack=True))
        await talk.ask(2, Queue.Purge(queue=kind))
        talk.send(2, Basic.Reject(delivery_tag=1))
        await talk.consume(2, kind, no_ack=True)
        await talk.take(2)
        for number in range(3):
            talk.publish(1, b"%d" % number, kind)
        await talk.take(2, 3)
        await talk.confirmed(1, *((6, 7, 8) if kind == "classic" else (14, 15, 16)))
        await talk.ask(2, Channel.Close(200, "", 0, 0))
        await talk.ask(1, Queue.Delete(queue=kind), answers=1)
        await talk.open(2)


@script
async def recovered_messages_come_again(scene: Scene) -> None:
    talk = await scene.talker(1, 2)
    await talk.declare(1, "q")
    await talk.consume(2, "q", prefetch=3)
    for number in range(3):
        talk.publish(1, b"%d" % number, "q")
    await talk.take(2, 3)
    talk.send(2, Basic.Recover(requeue=True))
    await talk.take(2, 4)
