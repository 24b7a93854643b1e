"""Dead letters: why messages leave a queue, where they go, and what is written on them."""

from __future__ import annotations

from pamqp.commands import Basic, Exchange, Queue

from tests.brokers.model.scripts import Scene, script
from tests.brokers.model.scripts.delivery import KINDS


@script
async def rejected(scene: Scene) -> None:
    talk = await scene.talker(1, 2, confirm=True)
    await talk.ask(1, Exchange.Declare(exchange="dead", exchange_type="topic", durable=True))
    await talk.declare(1, "letters")
    await talk.ask(1, Queue.Bind(queue="letters", exchange="dead", routing_key="#"))
    for kind, arguments in KINDS.items():
        talk = await scene.talker(1, 2, confirm=True)
        await talk.declare(1, kind, dead_letter_exchange="dead", **arguments)
        await talk.declare(1, kind + "2", dead_letter_exchange="dead", dead_letter_routing_key="other", **arguments)
        for queue in (kind, kind + "2"):
            talk.publish(
                1, queue.encode(), queue, message_id="m", headers={"a": "b"}, delivery_mode=2, content_type="text/plain"
            )
            await talk.take(1)
            await talk.ask(2, Basic.Get(queue=queue))
        await talk.consume(1, "letters", tag="letters")
        talk.send(2, Basic.Reject(delivery_tag=1, requeue=False))
        await talk.take(1)
        talk.send(2, Basic.Nack(delivery_tag=2, requeue=False))
        await talk.take(1)
        await talk.ask(1, Basic.Cancel(consumer_tag="letters"))


@script
async def expired(scene: Scene) -> None:
    talk = await scene.talker(1, 2, confirm=True)
    await talk.declare(1, "letters")
    for kind, arguments in KINDS.items():
        talk = await scene.talker(1, 2, confirm=True)
        goal = {"dead_letter_exchange": "", "dead_letter_routing_key": "letters"}
        await talk.declare(1, kind, message_ttl=30, **goal, **arguments)
        await talk.declare(1, kind + "-own", **goal, **arguments)
        await talk.consume(2, "letters")
        talk.publish(1, b"queue", kind, message_id="m", delivery_mode=2)
        await talk.take(2)
        talk.publish(1, b"queue and own", kind, expiration="20")
        await talk.take(2)
        talk.publish(1, b"own", kind + "-own", expiration="20")
        await talk.take(2)
        talk.publish(1, b"at once", kind + "-own", expiration="0")
        await talk.take(2)
        talk.publish(1, b"waits behind", kind + "-own", expiration="100")
        talk.publish(1, b"shorter", kind + "-own", expiration="1")
        await talk.take(2, 2)
        await talk.ask(2, Basic.Cancel(consumer_tag="c"))


@script
async def wrong_expiration(scene: Scene) -> None:
    for value in ("x", "-1", "1.5", "4294967296000"):
        talk = await scene.talker(1)
        talk.publish(1, b"", "q", expiration=value)
        await talk.take(1)


@script
async def there_and_back(scene: Scene) -> None:
    """Work, delay, work again: counts grow, and a circle without a rejection in it is cut."""
    talk = await scene.talker(1, 2, confirm=True)
    await talk.declare(1, "work", dead_letter_exchange="", dead_letter_routing_key="delay")
    await talk.declare(1, "delay", message_ttl=10, dead_letter_exchange="", dead_letter_routing_key="work")
    await talk.consume(2, "work")
    talk.publish(1, b"again", "work", headers={"n": 1}, delivery_mode=2)
    await talk.take(2)
    for tag in (1, 2, 3):
        talk.send(2, Basic.Nack(delivery_tag=tag, requeue=False))
        await talk.take(2)
    talk.publish(1, b"straight to the delay", "delay")
    await talk.take(2)
    await talk.declare(1, "a", message_ttl=10, dead_letter_exchange="", dead_letter_routing_key="b")
    await talk.declare(1, "b", message_ttl=10, dead_letter_exchange="", dead_letter_routing_key="a")
    talk.publish(1, b"circle", "a")
    await talk.declare(1, "c", message_ttl=60, dead_letter_exchange="", dead_letter_routing_key="work")
    talk.publish(1, b"later than the circle", "c")
    await talk.take(2)
    for queue in ("a", "b", "c"):
        await talk.ask(2, Queue.Declare(queue=queue, passive=True))


@script
async def republished_with_the_marks(scene: Scene) -> None:
    """A client that publishes what it got, headers and all, to the same delay."""
    talk = await scene.talker(1, 2)
    await talk.declare(1, "work")
    await talk.declare(1, "delay", message_ttl=10, dead_letter_exchange="", dead_letter_routing_key="work")
    await talk.consume(2, "work")
    headers = None
    for _ in range(3):
        talk.publish(1, b"", "delay", headers=headers)
        (seen,) = await talk.take(2)
        headers = seen["properties"]["headers"]
        await talk.ask(2, Queue.Declare(queue="delay", passive=True))


@script
async def delivery_limit(scene: Scene) -> None:
    talk = await scene.talker(1, 2, 3)
    await talk.declare(1, "letters")
    goal = {"dead_letter_exchange": "", "dead_letter_routing_key": "letters"}
    await talk.declare(1, "q", queue_type="quorum", delivery_limit=2, **goal)
    await talk.consume(3, "letters")
    await talk.consume(2, "q")
    talk.publish(1, b"poison", "q")
    await talk.take(2)
    for tag in (1, 2, 3):
        talk.send(2, Basic.Nack(delivery_tag=tag))
        await talk.take(2 if tag < 3 else 3)


@script
async def too_many(scene: Scene) -> None:
    talk = await scene.talker(1, 2, confirm=True)
    await talk.declare(1, "letters")
    await talk.consume(2, "letters")
    goal = {"dead_letter_exchange": "", "dead_letter_routing_key": "letters"}
    await talk.declare(1, "drop", max_length=2, **goal)
    await talk.declare(1, "refuse", max_length=2, overflow="reject-publish")
    await talk.declare(1, "refuse and bury", max_length=2, overflow="reject-publish-dlx", **goal)
    for queue in ("drop", "refuse", "refuse and bury"):
        for number in range(4):
            talk.publish(1, b"%d" % number, queue)
            await talk.take(1)
        if queue != "refuse":
            await talk.take(2, 2)
        for _ in range(3):
            await talk.ask(1, Basic.Get(queue=queue, no_ack=True))


@script
async def nowhere_to_go(scene: Scene) -> None:
    talk = await scene.talker(1, 2)
    for kind, arguments in KINDS.items():
        await talk.declare(1, kind, dead_letter_exchange="missing", message_ttl=10, **arguments)
        await talk.declare(1, kind + "-none", **arguments)
        for queue in (kind, kind + "-none"):
            talk.publish(1, b"", queue)
        await talk.consume(2, kind + "-none", tag=kind)
        await talk.take(2)
        talk.send(2, Basic.Reject(delivery_tag=1 if kind == "classic" else 2, requeue=False))
        await talk.ask(2, Basic.Cancel(consumer_tag=kind))
        await talk.ask(2, Basic.Get(queue=kind + "-none"))


@script
async def a_copy_and_a_blind_copy(scene: Scene) -> None:
    talk = await scene.talker(1, 2, 3, 4)
    channels = {"to": 2, "cc": 3, "bcc": 4}
    for queue, channel in channels.items():
        await talk.declare(1, queue)
        await talk.consume(channel, queue, tag=queue)
    for copies, queues in (
        ({"CC": ["cc"], "a": 1}, ("to", "cc")),
        ({"CC": ["to"]}, ("to",)),
        ({"BCC": ["bcc"], "b": 1}, ("to", "bcc")),
    ):
        talk.publish(1, b"", "to", headers=copies)
        for queue in queues:
            await talk.take(channels[queue])
