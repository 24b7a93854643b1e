"""Bad input, from a wrong password to a wrong byte: a sentence with place, value and remedy, and nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import aio_pika
import pytest

from tests.brokers.plugin import refuse
from tests.brokers.rabbitmq import Node, Unavailable
from tests.connectors.rabbitmq import fake
from tests.connectors.rabbitmq.hands import Foreign, broker, drain, eventually, opened, run, take, write
from warren import Pipeline
from warren.connectors import memory, rabbitmq
from warren.connectors.conformance.kit import bodies_of, handles_of
from warren.core.errors import BrokerError, EncodeError, PartialWriteError, TopologyError
from warren.core.message import Metadata, Outgoing
from warren.operators import map


@pytest.fixture
def name() -> str:
    """One that no queue has yet, as a broker that is not ours gives no vhost of our own."""
    return f"test-{secrets.token_hex(4)}"


LANES = pytest.mark.parametrize("lane", [True, False], ids=["lane", "plain"])


def refused(queue: Any, kind: type[Exception] = BrokerError) -> str:
    """What opening it raises."""

    async def main() -> str:
        with pytest.raises(kind) as caught:
            await queue.open()
        # Nothing of the attempt is left behind.
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return str(caught.value)

    return run(main)


# Logging in


@LANES
def test_a_wrong_password(rabbitmq_each: Node, lane: bool) -> None:
    url = rabbitmq_each.url_of("/", "guest", "wr0ng")
    where = f"the broker at amqp://guest@127.0.0.1:{rabbitmq_each.amqp_port}"
    assert refused(rabbitmq.queue("q", broker=broker(url, lane=lane))) == (
        f"{where} refused user 'guest': check user and password (guest may log in from the broker's own machine only)"
    )
    stranger = rabbitmq_each.url_of("/", "nobody", "wr0ng")
    told = refused(rabbitmq.queue("q", broker=broker(stranger, lane=lane)))
    assert told.endswith("refused user 'nobody': check user and password")


@LANES
def test_a_wrong_vhost(rabbitmq_each: Node, lane: bool) -> None:
    told = refused(rabbitmq.queue("q", broker=broker(rabbitmq_each.url_of("no/where"), lane=lane)))
    assert told == (
        f"the broker at amqp://guest@127.0.0.1:{rabbitmq_each.amqp_port}/no/where has no vhost 'no/where' for user 'guest': "
        "create it (rabbitmqctl add_vhost), grant permissions (rabbitmqctl set_permissions), or correct the end of the "
        "address"
    )


def test_a_vhost_without_permission(rabbitmq_43: Node) -> None:
    with rabbitmq_43.vhost() as url:
        rabbitmq_43.add_user("outsider", "pw", vhost="/")
        vhost = url.rsplit("/", 1)[1]
        assert f"has no vhost '{vhost}' for user 'outsider'" in refused(
            rabbitmq.queue("q", broker=broker(rabbitmq_43.url_of(vhost, "outsider", "pw")))
        )


def test_odd_names_and_passwords(rabbitmq_43: Node) -> None:
    password = "p@ss/w:rd?#%+ é"
    name = "a/b c"
    rabbitmq_43.add_vhost(name)
    try:
        url = rabbitmq_43.add_user("o d@d/", password, vhost=name)
        queue = rabbitmq.queue("q", broker=broker(url))
        run(lambda: write(queue, b"x"))
        assert bodies_of(run(lambda: drain(queue))) == [b"x"]
    finally:
        rabbitmq_43.delete_vhost(name)


def test_too_many_connections(rabbitmq_43: Node) -> None:
    with rabbitmq_43.vhost() as url:
        vhost = url.rsplit("/", 1)[1]
        rabbitmq_43.api("PUT", f"vhost-limits/{vhost}/max-connections", {"value": 0})
        told = refused(rabbitmq.queue("q", broker=broker(url, patience="200ms")))
    assert re.search(r"takes no connection now: .*connection limit \(0\) is reached; raise the limit", told)


# Other servers


@LANES
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "an answer in HTTP ('HTTP/1.1 400 Bad Request'); that is the port of a web server",
        ),
        (b"AMQP\x00\x01\x00\x00", "the header of AMQP 1.0; warren speaks AMQP 0-9-1, so it must be a RabbitMQ"),
        (b"AMQP\x03\x01\x00\x00", "the header of AMQP 1.0; warren speaks AMQP 0-9-1"),
        (b"AMQP\x00\x00\x08\x00", "the header of AMQP 0.8.0; it does not speak AMQP 0-9-1"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "a record of TLS; it expects an encrypted connection: write amqps://"),
        (b"SSH-2.0-OpenSSH_9\r\n", "bytes that begin no frame (b'SSH-2.0-OpenSSH_9'); it does not speak AMQP 0-9-1"),
        (b"-ERR\r\n", "bytes that begin no frame (b'-ERR')"),
        (b"\x01\x00\x00\xff\xff\xff\xff" + b"x" * 50, "the beginning of a frame of 4,294,967,295 bytes"),
    ],
    ids=["http", "amqp-1.0", "sasl", "amqp-0.8", "tls", "ssh", "short", "huge"],
)
def test_a_server_that_speaks_something_else(answer: bytes, reason: str, lane: bool) -> None:
    async def main() -> None:
        async with fake.serving(fake.says(answer)) as server:
            with pytest.raises(BrokerError) as caught:
                await rabbitmq.queue("q", broker=broker(server.url, lane=lane)).open()
            assert str(caught.value).startswith(f"the broker at amqp://guest@127.0.0.1:{server.port}: it sent {reason}")
            assert (
                "check host and port" in str(caught.value) or "amqps://" in str(caught.value) or "5672" in str(caught.value)
            )
            assert server.connections == 1

    run(main)


@LANES
@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (fake.silent, "did not answer in time; check the address, the network and whether it is overloaded"),
        (fake.absent, "cannot be reached: Connection reset by peer; start it|closed the connection without a word"),
    ],
)
def test_a_server_that_says_nothing(talk: fake.Talk, reason: str, lane: bool) -> None:
    async def main() -> None:
        async with fake.serving(talk) as server:
            options: Any = {"lane": lane, "patience": "300ms", "handshake": "200ms"}
            with pytest.raises(BrokerError, match=reason):
                await rabbitmq.queue("q", broker=broker(server.url, **options)).open()
            assert server.connections > 1, "it may be starting, so it is tried again while patience lasts"

    run(main)


def test_nobody_there(rabbitmq_43: Node) -> None:
    told = refused(rabbitmq.queue("q", broker=broker("amqp://127.0.0.1:1", patience="100ms")))
    assert re.search(r"amqp://guest@127.0.0.1:1 cannot be reached: .*Connect.*; start it, or correct the address", told)
    told = refused(rabbitmq.queue("q", broker=broker("amqp://no.such.host.invalid", patience="100ms")))
    assert re.search(r"no\.such\.host\.invalid:5672 cannot be reached: .*; start it, or correct the address", told)


def test_each_of_several_brokers_is_named() -> None:
    told = refused(rabbitmq.queue("q", broker=broker("amqp://127.0.0.1:1,127.0.0.1:2", patience="100ms")))
    assert re.search(
        r"127\.0\.0\.1:1 cannot be reached.*; and the broker at amqp://guest@127\.0\.0\.1:2 cannot be reached", told
    )


# Bytes


@LANES
@pytest.mark.parametrize(
    ("properties", "told"),
    [
        (b"\x20\x00\x00\x00\x00\x10\x01aS", "the properties end after 9 bytes, in the middle of one"),
        (b"\x20\x00\x00\x00\x00\x04\x01aZ\x00", "the headers are malformed near byte 0"),
        (b"\x20\x00\x00\x00\x00\x08\x01aS\xff\xff\xff\xffx", "the headers are malformed near byte 0"),
        (b"\x04\x00\x03\xff\xfe\xfd", "'utf-8' codec can't decode byte 0xff"),
        (b"\xff\xfc", "the properties end after 2 bytes"),
        (b"\x00\x40\x7f\xff\xff\xff\xff\xff\xff\xff", None),
    ],
    ids=["cut", "unknown-type", "too-long", "not-text", "empty", "far-future"],
)
def test_corrupt_headers(properties: bytes, told: str | None, lane: bool) -> None:
    def deliver(channel: int, tag: str) -> bytes:
        fine = fake.delivery(channel, tag, 2, b"\x00\x80\x02id", b"fine")
        return fake.delivery(channel, tag, 1, properties, b"odd") + fine

    async def main() -> None:
        model = fake.Broker(deliver)
        async with fake.serving(model.talk) as server:
            queue = rabbitmq.queue("q", broker=broker(server.url, lane=lane))
            async with opened(queue, credit=10) as source:
                odd, fine = await take(source, 2)
                assert (odd.body, fine.body, fine.metadata.id) == (b"odd", b"fine", "id")
                assert (odd.metadata.headers.get("warren-headers-error") or "").startswith(told or "")
                assert bool(odd.metadata.headers) is (told is not None)
                await source.acknowledge([odd.handle, fine.handle])
                await eventually(lambda: _is(bool(model.settled)))
            assert server.connections == 1, "one odd message is no reason to give the connection up"

    run(main)


@LANES
def test_a_frame_with_a_wrong_end(lane: bool) -> None:
    """The connection is given up, and what was under way comes again."""
    tries = 0

    def deliver(channel: int, tag: str) -> bytes:
        nonlocal tries
        tries += 1
        return fake.delivery(channel, tag, 1, b"\x00\x00", b"body", end=b"\xcf" if tries == 1 else b"\xce")

    async def main() -> None:
        async with fake.serving(fake.Broker(deliver).talk) as server:
            async with opened(rabbitmq.queue("q", broker=broker(server.url, lane=lane)), credit=10) as source:
                assert bodies_of(await take(source, 1)) == [b"body"]
            assert server.connections == 2

    run(main)


@LANES
def test_bytes_that_stay_wrong_do_not_make_it_reconnect_in_a_hurry(caplog: pytest.LogCaptureFixture, lane: bool) -> None:
    async def main() -> None:
        wrong = fake.Broker(lambda channel, tag: fake.delivery(channel, tag, 1, b"\x00\x00", b"body", end=b"\xcf"))
        async with fake.serving(wrong.talk) as server:
            options: Any = {"lane": lane, "backoff": ("200ms", "10s")}
            async with opened(rabbitmq.queue("q", broker=broker(server.url, **options)), credit=10) as source:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await source.receive(1)
            assert 3 <= server.connections <= 7
        assert "was lost: it sent a frame that ends in the byte 0xcf instead of 0xce; connecting again" in caplog.text

    run(main)


async def _is(value: bool) -> bool:
    return value


async def _nothing(message: object) -> None:
    pass


# Messages


@LANES
def test_a_message_that_leads_nowhere_goes_to_the_dead_letters(rabbitmq_each: Node, lane: bool) -> None:
    with rabbitmq_each.vhost() as url:
        there = broker(url, lane=lane)
        source = rabbitmq.queue("in", int, broker=there)
        run(lambda: write(source, *range(6)))
        out = rabbitmq.exchange("out", broker=there, routing_key=lambda value: "even" if value % 2 == 0 else "odd")
        run(lambda: write(rabbitmq.queue("even", broker=there, bind=[rabbitmq.Binding("out", "even")])))
        Pipeline("p", source | out).run(until_empty=True)
        letters = run(lambda: drain(rabbitmq.queue("p.dead", broker=there)))
        assert bodies_of(
            run(lambda: drain(rabbitmq.queue("even", broker=there, bind=[rabbitmq.Binding("out", "even")])))
        ) == [
            b"0",
            b"2",
            b"4",
        ]
    assert sorted(bodies_of(letters)) == [b"1", b"3", b"5"]
    assert {each.metadata.headers["warren-error"] for each in letters} == {"UnroutableError"}
    assert letters[0].metadata.headers["warren-reason"] == (
        "the exchange 'out' with the routing key 'odd' leads to no queue (NO_ROUTE): bind a queue to it, "
        "then replay the message"
    )


@pytest.fixture(scope="module", params=["3.10", "4.0", "4.3"])
def small(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A node that takes messages of up to 100,000 bytes."""
    try:
        with Node(request.param, config={"max_message_size": 100_000}) as node:
            yield node
    except Unavailable as reason:
        refuse(reason)


@LANES
@pytest.mark.broker
def test_a_message_that_is_too_large(small: Node, lane: bool) -> None:
    queue = rabbitmq.queue(f"q-{lane}", broker=broker(small.url, lane=lane))
    sizes = [10, 100_001, 100_000, 250_000, 1]

    async def main() -> None:
        async with opened(queue) as sink:
            with pytest.raises(PartialWriteError) as caught:
                await sink.write(Outgoing([b"x" * size for size in sizes]))
            assert sorted(caught.value.errors) == [1, 3]
            assert all(isinstance(each, EncodeError) for each in caught.value.errors.values())
            assert re.fullmatch(
                r"message \S+ has 250,000 bytes and the broker takes up to 100,000 \(max_message_size\): store the content "
                r"elsewhere and send where it is, or raise the limit",
                str(caught.value.errors[3]),
            )
            await sink.write(Outgoing([b"after"]))
        got = {len(each.body) for each in await drain(queue)}
        assert got == {10, 100_000, 1, 5}

    run(main)


@LANES
def test_headers_that_fit_into_no_frame(rabbitmq_43: Node, lane: bool) -> None:
    with rabbitmq_43.vhost() as url:
        queue = rabbitmq.queue("q", broker=broker(url, lane=lane))

        async def main() -> None:
            async with opened(queue) as sink:
                known = [Metadata(id="small"), Metadata(id="large", headers={"a": "x" * 140_000}), Metadata(id="last")]
                with pytest.raises(PartialWriteError) as caught:
                    await sink.write(Outgoing([b"1", b"2", b"3"], known.__getitem__))
                (told,) = caught.value.errors.values()
                assert re.search(
                    r"message large has 140,\d{3} bytes of headers and the broker takes up to 131,052", str(told)
                )
                assert sink.sink.publisher.link.reconnects == 0
            assert [each.metadata.id for each in await drain(queue)] == ["small", "last"]

        run(main)


def test_an_error_with_a_long_text_fits_into_a_dead_letter(vhost: str, name: str) -> None:
    def fail(value: int) -> int:
        raise ValueError("x" * 1_000_000)

    source = rabbitmq.queue(name, int, broker=broker(vhost))
    run(lambda: write(source, 1))
    Pipeline(name, source | map(fail) | memory.into([])).run(until_empty=True)
    (letter,) = run(lambda: drain(rabbitmq.queue(f"{name}.dead", broker=broker(vhost))))
    assert letter.body == b"1" and letter.metadata.headers["warren-reason"].startswith("xxx")


def _missing(value: int) -> str:
    raise KeyError("region")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (_missing, "routing_key= of the exchange raised KeyError('region') for 2; let it give text for each"),
        (lambda value: None, "routing_key= of the exchange answered None for 2; let it give text for each"),
        (lambda value: 7, "routing_key= of the exchange answered 7 for 2; let it give text for each"),
        (lambda value: "x" * 256, "a message cannot be sent over AMQP: .* has 256 bytes, and AMQP allows 255"),
    ],
)
def test_a_routing_key_that_is_none(vhost: str, name: str, bad: Callable[[int], Any], reason: str) -> None:
    async def main() -> None:
        there = broker(vhost)
        bound = rabbitmq.queue(name, broker=there, bind=[rabbitmq.Binding(f"{name}-out")])
        await write(bound)
        out = rabbitmq.exchange(f"{name}-out", broker=there, routing_key=lambda value: bad(value) if value == 2 else "k")
        async with opened(out) as sink:
            for values in ([1, 2, 3], [2]):
                with pytest.raises(PartialWriteError) as caught:
                    await sink.write(Outgoing(values))
                ((position, told),) = caught.value.errors.items()
                assert position == values.index(2) and isinstance(told, EncodeError)
                assert re.fullmatch(f"{reason}.*" if ".*" in reason else re.escape(reason), str(told))
        assert bodies_of(await drain(bound)) == [b"1", b"3"]

    run(main)


# Queues and exchanges that others have or remove


def stops(flow: Any, meanwhile: Callable[[], Any]) -> str:
    """Run a pipeline, do something to it, and give the sentence that it ends with."""

    async def main() -> str:
        running = Pipeline("p", flow).start()
        await meanwhile()
        with pytest.raises(TopologyError) as caught:
            await running
        return str(caught.value)

    return run(main)


@LANES
def test_a_queue_that_is_deleted_while_it_is_read_is_declared_again(rabbitmq_each: Node, lane: bool) -> None:
    async def main(url: str) -> None:
        queue = rabbitmq.queue("in", broker=broker(url, lane=lane))
        async with Foreign.at(url) as others, opened(queue, credit=10) as source:
            await others.send("in", b"before")
            await source.acknowledge(handles_of(await take(source, 1)))
            receiving = asyncio.ensure_future(take(source, 1))
            await others.delete("in")

            async def sent() -> bool:
                # Where the queue is not there yet, this leads nowhere.
                with contextlib.suppress(aio_pika.exceptions.DeliveryError):
                    await others.send("in", b"after")
                return receiving.done()

            await eventually(sent)
            assert bodies_of(receiving.result()) == [b"after"]

    with rabbitmq_each.vhost() as url:
        run(lambda: main(url))


@LANES
def test_a_passive_queue_that_is_deleted_while_it_is_read_stops_the_pipeline(rabbitmq_each: Node, lane: bool) -> None:
    out: list[Any] = []
    with rabbitmq_each.vhost() as url:
        there = broker(url, lane=lane)
        run(lambda: write(rabbitmq.queue("in", broker=there), b"1"))

        async def delete() -> None:
            await eventually(lambda: _is(bool(out)))
            async with Foreign.at(url) as others:
                await others.delete("in")

        told = stops(rabbitmq.queue("in", broker=there, passive=True) | memory.into(out), delete)
    assert told.startswith("queue 'in' on amqp://guest@127.0.0.1:")
    assert told.endswith(" is not there: create it, or leave passive=True out so that it is declared")


@LANES
@pytest.mark.parametrize("passive", [False, True])
def test_an_exchange_that_is_deleted_while_it_is_written_to(vhost: str, name: str, lane: bool, passive: bool) -> None:
    async def main() -> None:
        there = broker(vhost, lane=lane)
        bound = rabbitmq.queue(f"{name}-bound", broker=there, bind=[rabbitmq.Binding(name, "#")])
        await write(bound, b"0")
        async with opened(rabbitmq.exchange(name, broker=there, passive=passive, routing_key="k")) as sink:
            await sink.write(Outgoing([b"1"]))
            async with Foreign.at(vhost) as others:
                await others.channel.exchange_delete(name)
            if passive:
                with pytest.raises(
                    TopologyError, match=rf"exchange '{name}' on .* is not there: create it, or leave passive"
                ):
                    await sink.write(Outgoing([b"2"]))
            else:
                # It is declared again, but nobody is bound to it any more, which the sentence says.
                with pytest.raises(
                    PartialWriteError, match=f"the exchange '{name}' with the routing key 'k' leads to no queue"
                ):
                    await sink.write(Outgoing([b"2"]))
        assert bodies_of(await drain(rabbitmq.queue(f"{name}-bound", broker=there))) == [b"0", b"1"]

    run(main)


@LANES
def test_a_queue_that_is_deleted_while_it_is_written_to_is_declared_again(vhost: str, name: str, lane: bool) -> None:
    async def main() -> None:
        queue = rabbitmq.queue(name, broker=broker(vhost, lane=lane))
        async with opened(queue) as sink, Foreign.at(vhost) as others:
            await sink.write(Outgoing([b"1"]))
            await others.delete(name)
            await sink.write(Outgoing([b"2", b"3"]))
        assert bodies_of(await drain(queue)) == [b"2", b"3"]

    run(main)


@LANES
def test_a_passive_queue_that_is_deleted_while_it_is_written_to(vhost: str, name: str, lane: bool) -> None:
    async def main() -> None:
        there = broker(vhost, lane=lane)
        await write(rabbitmq.queue(name, broker=there), b"1")
        async with opened(rabbitmq.queue(name, broker=there, passive=True)) as sink, Foreign.at(vhost) as others:
            await others.delete(name)
            with pytest.raises(
                PartialWriteError, match=rf"the queue '{name}' leads to no queue .*: declare the queue, or check"
            ):
                await sink.write(Outgoing([b"2"]))

    run(main)


@LANES
def test_an_exclusive_queue_of_another_connection(rabbitmq_each: Node, lane: bool) -> None:
    async def main(url: str) -> None:
        async with Foreign.at(url) as others:
            await others.channel.declare_queue("mine", exclusive=True)
            for passive in (False, True):
                with pytest.raises(TopologyError, match=r"queue 'mine' on \S+ belongs to another connection alone"):
                    await rabbitmq.queue("mine", broker=broker(url, lane=lane), kind="classic", passive=passive).open()

    with rabbitmq_each.vhost() as url:
        run(lambda: main(url))


@LANES
def test_a_queue_with_an_exclusive_consumer(vhost: str, name: str, lane: bool) -> None:
    async def main() -> None:
        queue = rabbitmq.queue(name, broker=broker(vhost, lane=lane), kind="classic")
        await write(queue)
        async with Foreign.at(vhost) as others:
            taken: aio_pika.abc.AbstractQueue = await others.channel.get_queue(name)
            await taken.consume(_nothing, exclusive=True)
            with pytest.raises(
                TopologyError, match=rf"queue '{name}' on \S+ has a consumer that lets no other in \(exclusive\)"
            ):
                await queue.open_ahead(1)

    run(main)
