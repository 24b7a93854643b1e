"""What is there before a broker dies, and what after; and what it says under a memory alarm."""

from __future__ import annotations

from pamqp.commands import Basic, Exchange, Queue

from tests.brokers.model.scripts import Scene
from tests.brokers.model.scripts.delivery import KINDS

__all__ = ["after_a_crash", "before_a_crash", "under_an_alarm"]


async def before_a_crash(scene: Scene) -> None:
    """Queues of each kind, with messages of each kind: ready, held, given back."""
    talk = await scene.talker(1, 2, confirm=True)
    await talk.ask(1, Exchange.Declare(exchange="stays", exchange_type="topic", durable=True))
    await talk.ask(1, Exchange.Declare(exchange="goes", exchange_type="topic"))
    await talk.ask(1, Queue.Declare(queue="goes"))
    await talk.ask(1, Queue.Declare(queue="own", durable=True, exclusive=True))
    for kind, arguments in KINDS.items():
        talk = await scene.talker(1, 2, confirm=True)
        await talk.declare(1, kind, **arguments)
        await talk.ask(1, Queue.Bind(queue=kind, exchange="stays", routing_key=f"{kind}.#"))
        for number in range(5):
            talk.publish(1, b"%d" % number, kind, delivery_mode=2)
            await talk.take(1)
        await talk.consume(2, kind, prefetch=3, tag=kind)
        await talk.take(2, 3)
        talk.send(2, Basic.Ack(delivery_tag=2, multiple=True))
        await talk.take(2, 2)
        # A confirm says that what came before it, acknowledgements too, is written down.
        for mode, body in ((2, b"last"), (1, b"transient")):
            talk.publish(1, body, kind, delivery_mode=mode)
            await talk.take(1)


async def after_a_crash(scene: Scene) -> None:
    """What is left of it."""
    talk = await scene.talker(1)
    for request in (
        Exchange.Declare(exchange="goes", passive=True),
        Exchange.Declare(exchange="stays", passive=True),
        Queue.Declare(queue="goes", passive=True),
        Queue.Declare(queue="own", passive=True),
    ):
        talk = await scene.talker(1)
        await talk.ask(1, request)
    for kind in KINDS:
        talk = await scene.talker(1, confirm=True)
        await talk.ask(1, Queue.Declare(queue=kind, passive=True))
        talk.publish(1, b"new", f"{kind}.key", "stays", delivery_mode=2, mandatory=True)
        await talk.take(1)
        for _ in range(7):
            await talk.ask(1, Basic.Get(queue=kind))


async def under_an_alarm(scene: Scene, alarm: object) -> None:
    """Who publishes is told and read no more; who consumes is not."""
    assert callable(alarm)
    talk = await scene.talker(1, confirm=True)
    other = await scene.talker(1, 2)
    await talk.declare(1, "q")
    await other.consume(1, "q")
    alarm(True)
    await other.ask(2, Queue.Declare(queue="q", passive=True))
    talk.publish(1, b"1", "q")
    await talk.take(0)
    talk.publish(1, b"2", "q")
    await other.ask(2, Basic.Qos(prefetch_count=1))
    alarm(False)
    await talk.take(0)
    await other.take(1, 2)
    await talk.confirmed(1, 1, 2)
