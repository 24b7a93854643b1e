"""Exchanges and bindings: where a message goes, and what is said of one that goes nowhere."""

from __future__ import annotations

from pamqp.commands import Basic, Channel, Exchange, Queue

from tests.brokers.model.scripts import Scene, script
from tests.brokers.model.scripts.delivery import KINDS

PATTERNS = ("#", "*", "a.*", "a.#", "#.c", "*.b.*", "a.#.c", "", "*.#.*", "a.b.c", "#.#")
KEYS = ("", "a", "a.b", "a.b.c", "b.b.b", "a.x.y.c", "a.", ".", "c")


@script
async def topics(scene: Scene) -> None:
    talk = await scene.talker(1, confirm=True)
    await talk.ask(1, Exchange.Declare(exchange="t", exchange_type="topic"))
    for number, pattern in enumerate(PATTERNS):
        await talk.ask(1, Queue.Declare(queue=str(number), exclusive=True))
        await talk.ask(1, Queue.Bind(queue=str(number), exchange="t", routing_key=pattern))
    for key in KEYS:
        talk.publish(1, key.encode(), key, "t")
        await talk.take(1)
        for number in range(len(PATTERNS)):
            await talk.ask(1, Basic.Get(queue=str(number), no_ack=True))


@script
async def other_exchanges(scene: Scene) -> None:
    talk = await scene.talker(1, confirm=True)
    for name in ("d", "f"):
        kind = {"d": "direct", "f": "fanout"}[name]
        await talk.ask(1, Exchange.Declare(exchange=name, exchange_type=kind, durable=True))
        await talk.ask(1, Exchange.Declare(exchange=name, exchange_type=kind, durable=True))
    await talk.ask(1, Exchange.Bind(source="f", destination="d", routing_key=""))
    for queue in ("1", "2"):
        await talk.declare(1, queue)
        await talk.ask(1, Queue.Bind(queue=queue, exchange="d", routing_key="both"))
        await talk.ask(1, Queue.Bind(queue=queue, exchange="d", routing_key=queue))
    await talk.ask(1, Queue.Bind(queue="1", exchange="f", routing_key="twice"))
    await talk.ask(1, Queue.Bind(queue="1", exchange="f", routing_key="again"))
    for exchange, key in (
        ("d", "both"),
        ("d", "1"),
        ("d", "none"),
        ("f", "any"),
        ("f", "2"),
        ("", "2"),
        ("amq.direct", "1"),
    ):
        talk.publish(1, b"", key, exchange, mandatory=True)
        got = await talk.take(1)
        if got[0]["name"] == "Basic.Return":
            await talk.take(1)
        for queue in ("1", "2"):
            await talk.ask(1, Queue.Purge(queue=queue))
    await talk.ask(1, Queue.Unbind(queue="1", exchange="d", routing_key="1"))
    talk.publish(1, b"unbound", "1", "d", mandatory=True, message_id="m", headers={"a": 1})
    await talk.take(1, 2)
    await talk.ask(1, Exchange.Delete(exchange="f", if_unused=True))


@script
async def deleting(scene: Scene) -> None:
    talk = await scene.talker(1, 2, 3, confirm=True)
    for kind, arguments in KINDS.items():
        await talk.declare(1, kind, **arguments)
        await talk.ask(1, Queue.Bind(queue=kind, exchange="amq.fanout", routing_key=""))
        for _ in range(2):
            talk.publish(1, b"", "", "amq.fanout", delivery_mode=2)
            await talk.take(1)
        await talk.consume(3, kind, prefetch=1)
        await talk.take(3)
        if kind == "classic":
            await talk.ask(2, Queue.Delete(queue=kind, if_unused=True))
            talk.send(2, Channel.CloseOk())
            await talk.open(2)
        await talk.ask(1, Queue.Delete(queue=kind))
        await talk.take(3)
        talk.publish(1, b"", kind, mandatory=True)
        await talk.take(1, 2)
        talk.publish(1, b"", "", "amq.fanout", mandatory=True)
        await talk.take(1, 2)
        talk.send(3, Basic.Ack(delivery_tag=1))
        await talk.ask(3, Basic.Qos(prefetch_count=1))
        await talk.ask(3, Channel.Close(200, "", 0, 0))
        await talk.open(3)
    await talk.declare(1, "full")
    talk.publish(1, b"", "full", delivery_mode=2)
    await talk.take(1)
    await talk.ask(2, Queue.Delete(queue="full", if_empty=True))
    talk.send(2, Channel.CloseOk())
    await talk.open(2)
    await talk.ask(2, Exchange.Declare(exchange="used"))
    await talk.ask(2, Queue.Bind(queue="full", exchange="used", routing_key=""))
    await talk.ask(2, Exchange.Delete(exchange="used", if_unused=True))
    talk.send(2, Channel.CloseOk())
    await talk.open(2)
    await talk.ask(2, Exchange.Delete(exchange="used"))


@script
async def own_and_passing_queues(scene: Scene) -> None:
    talk, other = await scene.talker(1), await scene.talker(1, 2)
    await talk.ask(1, Queue.Declare(queue="", exclusive=True))
    await talk.ask(1, Queue.Declare(queue="mine", exclusive=True))
    for request in (
        Queue.Declare(queue="mine", passive=True),
        Queue.Declare(queue="mine"),
        Queue.Declare(queue="mine", exclusive=True),
        Queue.Delete(queue="mine"),
        Queue.Purge(queue="mine"),
        Queue.Bind(queue="mine", exchange="amq.direct", routing_key=""),
        Basic.Consume(queue="mine", consumer_tag="c"),
        Basic.Get(queue="mine"),
    ):
        await other.ask(1, request)
        other.send(1, Channel.CloseOk())
        await other.open(1)
    await other.ask(1, Queue.Declare(queue="passing", auto_delete=True))
    await other.consume(1, "passing", tag="a")
    await other.consume(2, "passing", tag="b")
    await other.ask(1, Basic.Cancel(consumer_tag="a"))
    await other.ask(1, Queue.Declare(queue="passing", passive=True))
    await other.ask(2, Channel.Close(200, "", 0, 0))
    await other.ask(1, Queue.Declare(queue="passing", passive=True))


@script
async def exclusive_consumers(scene: Scene) -> None:
    talk = await scene.talker(1, 2)
    await talk.declare(1, "q")
    await talk.consume(1, "q", exclusive=True)
    await talk.ask(2, Basic.Consume(queue="q", consumer_tag="b"))
    talk.send(2, Channel.CloseOk())
    await talk.open(2)
    await talk.ask(1, Basic.Cancel(consumer_tag="c"))
    await talk.ask(2, Basic.Consume(queue="q", consumer_tag="b"))
    await talk.ask(1, Basic.Consume(queue="q", consumer_tag="c", exclusive=True))
    talk.send(1, Channel.CloseOk())
    await talk.open(1)
    await talk.ask(2, Basic.Cancel(consumer_tag="b"))


@script
async def quorum_queues_are_not_deleted_on_conditions(scene: Scene) -> None:
    for condition in ({"if_unused": True}, {"if_empty": True}):
        talk = await scene.talker(1)
        await talk.declare(1, "q", queue_type="quorum")
        talk.send(1, Queue.Delete(queue="q", **condition))
        await talk.take(0)
