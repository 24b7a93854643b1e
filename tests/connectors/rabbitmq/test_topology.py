"""Declaring queues, exchanges and bindings: again and again with no effect, and with both sides shown where they differ."""

from __future__ import annotations

from typing import Any

import pytest

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import Foreign, broker, drain, opened, run, take, write
from warren import Pipeline
from warren.connectors import memory, rabbitmq
from warren.connectors.conformance.kit import bodies_of, handles_of
from warren.connectors.rabbitmq.topology import (
    UNLIMITED,
    ExchangeDeclaration,
    QueueDeclaration,
    is_missing,
    is_passing,
    topology_error,
)
from warren.core.errors import GraphError, TopologyError
from warren.core.message import Outgoing
from warren.operators import map

QUEUE, EXCHANGE = QueueDeclaration("q"), ExchangeDeclaration("e")

WE = "and this pipeline declares"


def clashes(theirs: dict[str, Any], ours: dict[str, Any], shown: str) -> Any:
    return pytest.param(theirs, ours, shown, id=f"{theirs}-{ours}")


# What is there, what the pipeline wants, and what the sentence says.
QUEUES = [
    clashes(
        {},
        {},
        f"x-queue-type='classic', {WE} x-queue-type='quorum': declare it as it is (kind='classic')",
    ),
    clashes(
        {"arguments": {"x-queue-type": "classic"}},
        {},
        f"x-queue-type='classic', {WE} x-queue-type='quorum'",
    ),
    clashes(
        {"arguments": {"x-queue-type": "quorum"}}, {"kind": "classic"}, "x-queue-type='quorum', and this pipeline declares"
    ),
    clashes(
        {"arguments": {"x-max-length": 6}},
        {"kind": "classic", "arguments": {"x-max-length": 5}},
        f"x-max-length=6, {WE} x-max-length=5: declare it as it is (arguments={{'x-max-length': 6}})",
    ),
    clashes(
        {},
        {"kind": "classic", "arguments": {"x-max-length": 5}},
        f"x-max-length=nothing, {WE} x-max-length=5: declare it as it is (arguments={{'x-max-length': None}})",
    ),
    clashes(
        {"arguments": {"x-max-length": 5}},
        {"kind": "classic"},
        f"x-max-length=5, {WE} x-max-length=nothing: declare it as it is (arguments={{'x-max-length': 5}})",
    ),
    clashes(
        {"arguments": {"x-message-ttl": 1000}},
        {"kind": "classic", "arguments": {"x-message-ttl": 5000}},
        f"x-message-ttl=1000, {WE} x-message-ttl=5000: declare it as it is (arguments={{'x-message-ttl': 1000}})",
    ),
    clashes(
        {"arguments": {"x-dead-letter-exchange": "it's", "x-dead-letter-routing-key": "a b"}},
        {"kind": "classic", "arguments": {"x-dead-letter-routing-key": "a b"}},
        f"""x-dead-letter-exchange="it's", {WE} x-dead-letter-exchange=nothing""",
    ),
    clashes(
        {"arguments": {"x-single-active-consumer": True}},
        {"kind": "classic"},
        f"x-single-active-consumer=True, {WE} x-single-active-consumer=nothing",
    ),
    clashes({"durable": False}, {"kind": "classic"}, f"durable=False, {WE} durable=True: take it as it is"),
    clashes({"auto_delete": True}, {"kind": "classic"}, f"auto_delete=True, {WE} auto_delete=False: take it"),
]

EXCHANGES = [
    clashes({"type": "direct"}, {}, f"type='direct', {WE} type='topic': declare it as it is (kind='direct')"),
    clashes({"durable": False}, {}, f"durable=False, {WE} durable=True: take it as it is"),
    clashes({"internal": True}, {}, f"internal=True, {WE} internal=False: take it as it is"),
    clashes(
        {"arguments": {"alternate-exchange": "other"}},
        {},
        f"alternate-exchange='other', {WE} alternate-exchange=nothing: declare it as it is "
        "(arguments={'alternate-exchange': 'other'})",
    ),
]


def told(thing: Any) -> str:
    async def main() -> str:
        with pytest.raises(TopologyError) as caught:
            await thing.open()
        return str(caught.value)

    return run(main)


@pytest.mark.parametrize(("theirs", "ours", "shown"), QUEUES)
def test_a_queue_with_other_properties(
    rabbitmq_each: Node, theirs: dict[str, Any], ours: dict[str, Any], shown: str
) -> None:
    async def main(url: str) -> None:
        async with Foreign.at(url) as others:
            await others.channel.declare_queue("q", **{"durable": True, **theirs})
            with pytest.raises(TopologyError) as caught:
                await rabbitmq.queue("q", broker=broker(url), **ours).open()
            assert str(caught.value).startswith(f"queue 'q' on {where} is there with {shown}")
            assert str(caught.value).endswith("take it as it is (passive=True), or delete it")
            # The remedy is one.
            if theirs.get("durable", True):
                async with opened(rabbitmq.queue("q", broker=broker(url), kind="classic", passive=True)) as taken:
                    await taken.write(Outgoing([b"x"]))

    with rabbitmq_each.vhost() as url:
        where = url.replace("guest:guest", "guest")
        run(lambda: main(url))


@pytest.mark.parametrize(("theirs", "ours", "shown"), EXCHANGES)
def test_an_exchange_with_other_properties(
    rabbitmq_each: Node, theirs: dict[str, Any], ours: dict[str, Any], shown: str
) -> None:
    async def main(url: str) -> None:
        async with Foreign.at(url) as others:
            await others.channel.declare_exchange("e", **{"durable": True, "type": "topic", **theirs})
            with pytest.raises(TopologyError) as caught:
                await rabbitmq.exchange("e", broker=broker(url), **ours).open()
            assert str(caught.value).startswith(f"exchange 'e' on {where} is there with {shown}")
            async with opened(rabbitmq.exchange("e", broker=broker(url), passive=True)):
                pass

    with rabbitmq_each.vhost() as url:
        where = url.replace("guest:guest", "guest")
        run(lambda: main(url))


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_declaring_again_changes_nothing(rabbitmq_each: Node, kind: Any) -> None:
    async def main(url: str) -> None:
        options: dict[str, Any] = {
            "kind": kind,
            "arguments": {"x-max-length": 100, "x-message-ttl": 60_000, "x-overflow": "reject-publish"},
            "bind": [rabbitmq.Binding("e", "a.*"), rabbitmq.Binding("f", kind="fanout")],
            "single_active": True,
        }
        queue = rabbitmq.queue("q", broker=broker(url), **options)
        await write(queue, b"1")
        await write(queue, b"2")
        await write(rabbitmq.exchange("e", broker=broker(url), routing_key="a.b"), b"3")
        await write(rabbitmq.exchange("f", broker=broker(url), kind="fanout"), b"4")
        assert sorted(bodies_of(await drain(queue))) == [b"1", b"2", b"3", b"4"]

    with rabbitmq_each.vhost() as url:
        run(lambda: main(url))


def test_a_classic_queue_that_others_declared_without_a_type_is_taken(rabbitmq_each: Node) -> None:
    async def main(url: str) -> None:
        async with Foreign.at(url) as others:
            await others.declare("q", {"x-max-length": 7})
            queue = rabbitmq.queue(
                "q", broker=broker(url), kind="classic", arguments={"x-max-length": 7}, bind=[rabbitmq.Binding("e", "k")]
            )
            await write(queue, b"1")
            # It is bound too.
            await write(rabbitmq.exchange("e", broker=broker(url), routing_key="k"), b"2")
            assert bodies_of(await drain(queue)) == [b"1", b"2"]

    with rabbitmq_each.vhost() as url:
        run(lambda: main(url))


def test_what_the_broker_does_not_know_is_a_sentence(rabbitmq_each: Node) -> None:
    with rabbitmq_each.vhost() as url:
        at = broker(url)
        where = url.replace("guest:guest", "guest")
        negative = rabbitmq.queue("q", broker=at, arguments={"x-max-length": -1})
        assert told(negative) == (
            f"queue 'q' on {where} is refused: invalid arg 'x-max-length' for queue 'q' in vhost '{url.rsplit('/', 1)[1]}': "
            f"{{value_negative,-1}}; correct its arguments"
        )
        assert "invalid arg 'x-max-length'" in told(rabbitmq.queue("q", broker=at, arguments={"x-max-length": "many"}))
        # An older broker ends the connection for that, a newer one the channel.
        assert told(rabbitmq.exchange("e", broker=at, kind="x-none")) == (
            f"exchange 'e' on {where} is refused: unknown exchange type 'x-none'; choose another kind=, "
            "or enable the plugin that brings it"
        )


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "plain"])
def test_what_is_taken_as_it_is_has_to_be_there(rabbitmq_each: Node, lane: bool) -> None:
    with rabbitmq_each.vhost() as url:
        at = broker(url, lane=lane)
        where = url.replace("guest:guest", "guest")
        remedy = "is not there: create it, or leave passive=True out so that it is declared"
        assert told(rabbitmq.queue("q", broker=at, passive=True)) == f"queue 'q' on {where} {remedy}"
        assert told(rabbitmq.exchange("e", broker=at, passive=True)) == f"exchange 'e' on {where} {remedy}"
        bound = rabbitmq.queue("q", broker=at, bind=[rabbitmq.Binding("e", passive=True)])
        assert told(bound) == f"exchange 'e' on {where} {remedy}"


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "plain"])
def test_a_user_who_may_declare_nothing(rabbitmq_each: Node, lane: bool) -> None:
    async def main(url: str, limited: str) -> None:
        for name in ("in", "p.dead"):
            await write(rabbitmq.queue(name, broker=broker(url)))
        await write(rabbitmq.queue("out", broker=broker(url), bind=[rabbitmq.Binding("e")]))
        await write(rabbitmq.queue("in", broker=broker(url)), 1, 2, 3)
        with pytest.raises(
            TopologyError, match=r"queue 'in' on \S+ may not be touched: .*access to queue 'in' .* refused for "
        ):
            await rabbitmq.queue("in", broker=broker(limited, lane=lane)).open()
        with pytest.raises(TopologyError, match=r"grant permissions, or have it created and use passive=True"):
            await rabbitmq.exchange("e", broker=broker(limited, lane=lane)).open()

        def work(value: int) -> int:
            if value == 2:
                raise ValueError("no")
            return value

        at = broker(limited, lane=lane)
        source = rabbitmq.queue("in", int, broker=at, passive=True)
        out: list[Any] = []
        sink = rabbitmq.exchange("e", broker=at, passive=True, routing_key="k")
        running = Pipeline("p", source | map(work) | sink).start()
        async with opened(rabbitmq.queue("out", broker=broker(url)), credit=10) as read:
            got = await take(read, 2)
            out += bodies_of(got)
            await read.acknowledge(handles_of(got))
        async with opened(rabbitmq.queue("p.dead", broker=broker(url)), credit=10) as read:
            got = await take(read, 1)
            out += bodies_of(got)
            await read.acknowledge(handles_of(got))
        running.stop()
        await running
        assert out == [b"1", b"3", b"2"]

    with rabbitmq_each.vhost() as url:
        vhost = url.rsplit("/", 1)[1]
        few = {"configure": "^$", "write": r"^(amq\.default|e|p\.dead)$", "read": "^in$"}
        limited = rabbitmq_each.add_user(f"limited-{vhost}", "pw", vhost=vhost, **few)
        run(lambda: main(url, limited))


def test_a_user_who_may_not_say_that_it_is_there(rabbitmq_each: Node) -> None:
    """To run until a queue is empty, workers tell each other through a queue beside it."""

    async def main(url: str, limited: str) -> None:
        await write(rabbitmq.queue("in", broker=broker(url)), b"1")
        async with opened(rabbitmq.queue("in", broker=broker(limited), passive=True), until_empty=True) as source:
            with pytest.raises(TopologyError, match=r"queue 'in\.holders' on \S+ may not be touched: .*; grant permissions"):
                await source.receive(1)

    with rabbitmq_each.vhost() as url:
        vhost = url.rsplit("/", 1)[1]
        limited = rabbitmq_each.add_user(f"alone-{vhost}", "pw", vhost=vhost, configure="^$", read="^in$")
        run(lambda: main(url, limited))


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "plain"])
def test_a_user_who_may_not_write(rabbitmq_43: Node, lane: bool) -> None:
    async def main(url: str, limited: str) -> None:
        await write(rabbitmq.queue("q", broker=broker(url)))
        async with opened(rabbitmq.queue("q", broker=broker(limited, lane=lane), passive=True)) as sink:
            with pytest.raises(TopologyError, match=r"exchange 'amq.default' on \S+ may not be touched: write access to"):
                await sink.write(Outgoing([b"x"]))

    with rabbitmq_43.vhost() as url:
        vhost = url.rsplit("/", 1)[1]
        run(lambda: main(url, rabbitmq_43.add_user(f"reader-{vhost}", "pw", vhost=vhost, write="^$")))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: rabbitmq.queue(""), "cannot be a queue's name"),
        (lambda: rabbitmq.queue("amq.mine"), "cannot be a queue's name"),
        (lambda: rabbitmq.queue("é" * 128), "up to 255 bytes"),
        (lambda: rabbitmq.queue("q", kind="odd"), "there are 'quorum', 'classic' and 'stream'"),  # type: ignore[arg-type]
        (
            lambda: rabbitmq.queue("q", passive=True, bind=[rabbitmq.Binding("e")]),
            "cannot be bound; leave one of the two out",
        ),
    ],
)
def test_a_declaration_that_cannot_be_is_refused_before_anything_is_asked(make: Any, reason: str) -> None:
    with pytest.raises(GraphError, match=reason):
        make()


def test_what_is_none_is_left_out() -> None:
    assert QueueDeclaration("q").table == {"x-queue-type": "quorum", "x-delivery-limit": UNLIMITED}
    assert QueueDeclaration("q", arguments={"x-delivery-limit": None}).table == {"x-queue-type": "quorum"}


@pytest.mark.parametrize(
    ("text", "thing", "expected"),
    [
        ("NOT_FOUND - no queue 'x' in vhost '/'", QUEUE, "queue 'x' on W is not there"),
        ("NOT_FOUND - no exchange 'x' in vhost '/'", QUEUE, "exchange 'x' on W is not there"),
        ("COMMAND_INVALID - unknown exchange type 'x-foo'", EXCHANGE, "exchange 'e' on W is refused: unknown exchange type"),
        ("NOT_ALLOWED - something", QUEUE, "queue 'q' on W is refused: something; correct its arguments"),
        (
            "PRECONDITION_FAILED - inequivalent arg 'x' for queue 'q' in vhost 'a: received b': received the value '1' of "
            "type 'longstr' but current is the value '1' of type 'long'",
            QUEUE,
            f"queue 'q' on W is there with x=1, {WE} x='1'",
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'x' for queue 'q' in vhost '/': received the value '1' of type 'byte' "
            "but current is the value '1' of type 'long'",
            QUEUE,
            rf"queue 'q' on W is there with x=1 \(long\), {WE} x=1 \(byte\)",
        ),
    ],
)
def test_what_the_broker_says_becomes_a_sentence(text: str, thing: Any, expected: str) -> None:
    found = topology_error(Exception(text), thing, "W")
    assert found is not None
    with pytest.raises(TopologyError, match=f"^{expected}"):
        raise found


@pytest.mark.parametrize(
    "text",
    [
        "NOT_FOUND - home node 'a@b' of durable queue 'q' in vhost '/' is down or inaccessible",
        "INTERNAL_ERROR",
        "Operation timed out",
        "connection lost",
    ],
)
def test_what_passes_is_no_fault_of_the_declaration(text: str) -> None:
    assert topology_error(Exception(text), QUEUE, "W") is None
    assert not is_missing(Exception(text))
    assert is_passing(Exception(text)) is (text != "connection lost")


def test_dead_letters_of_a_queue_that_is_taken_as_it_is_are_taken_as_they_are() -> None:
    queue = rabbitmq.queue("q", broker=broker("amqp://mq"), passive=True)
    assert queue.dead_letters("p.dead").declaration == QueueDeclaration("p.dead", passive=True)
    assert rabbitmq.queue("q", broker=broker("amqp://mq")).dead_letters("p.dead").declaration == QueueDeclaration("p.dead")
    Pipeline("p", queue | memory.into([]))
