"""Plain aio-pika on the model: what a user of RabbitMQ may rely on, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import aiormq
import pytest
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from tests.brokers.model import ModelBroker, Schedule, play


@asynccontextmanager
async def opened(broker: ModelBroker, **options: Any) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(broker.url) as connection, connection.channel(**options) as channel:
        yield channel


async def publish(channel: AbstractChannel, queue: str, *bodies: bytes, **options: Any) -> None:
    for body in bodies:
        message = Message(body, message_id=body[:9].decode(), delivery_mode=DeliveryMode.PERSISTENT, **options)
        await channel.default_exchange.publish(message, queue)


async def consume(queue: AbstractQueue, count: int) -> list[AbstractIncomingMessage]:
    got: list[AbstractIncomingMessage] = []
    enough = asyncio.Event()

    async def take(message: AbstractIncomingMessage) -> None:
        got.append(message)
        if len(got) == count:
            enough.set()

    tag = await queue.consume(take)
    await enough.wait()
    await queue.cancel(tag)
    return got


def test_publish_confirm_consume_acknowledge() -> None:
    async def main(broker: ModelBroker) -> None:
        async with opened(broker) as channel:
            queue = await channel.declare_queue("q", durable=True)
            await publish(channel, "q", b"a", b"b", b"c")
            assert broker.ledger.confirmed("q") == {"a": 1, "b": 1, "c": 1}
            got = await consume(queue, 3)
            assert [message.body for message in got] == [b"a", b"b", b"c"]
            await got[0].ack()
            await got[1].nack()
            await got[2].reject(requeue=False)
        assert broker.ledger.acknowledged("q") == {"a": 1}
        assert broker.messages("q") == ["b"]
        assert [(copy.message.identity, copy.why) for copy in broker.ledger.lost()] == [("c", "rejected")]

    play(main)


def test_an_unroutable_message_comes_back() -> None:
    async def main(broker: ModelBroker) -> None:
        async with opened(broker, on_return_raises=True) as channel:
            with pytest.raises(aio_pika.exceptions.PublishError, match="NO_ROUTE"):
                await publish(channel, "nowhere", b"a")

    play(main)


def test_a_deleted_queue_cancels_its_consumers() -> None:
    async def main(broker: ModelBroker) -> None:
        async with opened(broker) as channel:
            queue = await channel.declare_queue("q")
            cancelled = asyncio.get_running_loop().create_future()
            underlay = await channel.get_underlay_channel()
            underlay.on_consumer_cancel_callbacks.add(lambda frame: cancelled.set_result(frame.consumer_tag))
            messages: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
            tag = await queue.consume(messages.put)
            await queue.delete(if_unused=False, if_empty=False)
            assert await cancelled == tag

    play(main)


def test_a_delay_queue_in_virtual_time() -> None:
    async def main(broker: ModelBroker) -> None:
        loop = asyncio.get_running_loop()
        async with opened(broker) as channel:
            work = await channel.declare_queue("work", durable=True)
            arguments = {"x-message-ttl": 3600_000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "work"}
            await channel.declare_queue("hour", durable=True, arguments=arguments)
            await publish(channel, "hour", b"later")
            began = loop.time()
            (message,) = await consume(work, 1)
            assert loop.time() - began == pytest.approx(3600, abs=0.001)
            (death,) = message.headers["x-death"]
            assert (death["queue"], death["reason"], death["count"]) == ("hour", "expired", 1)
            await message.ack()
        assert broker.ledger.acknowledged("work") == {"later": 1}
        assert broker.ledger.lost() == []

    play(main, limit=7200)


def test_what_is_promised_survives_a_crash_and_the_rest_may_not() -> None:
    async def main(broker: ModelBroker) -> None:
        connection = await aio_pika.connect(broker.url)
        channel = await connection.channel()
        queue = await channel.declare_queue("q", durable=True)
        await publish(channel, "q", b"a", b"b", b"c")
        await channel.default_exchange.publish(Message(b"t", message_id="t"), "q")
        got = await consume(queue, 2)
        await got[0].ack()
        await asyncio.sleep(0.1)
        broker.crash()
        with pytest.raises(aiormq.AMQPError):
            await channel.declare_queue("q", durable=True)
        await connection.close()
        with pytest.raises(aiormq.AMQPConnectionError):
            await aio_pika.connect(broker.url)
        broker.start()
        async with opened(broker) as channel:
            queue = await channel.get_queue("q")
            assert queue.declaration_result.message_count == 2
            assert [(message.body, message.redelivered) for message in await consume(queue, 2)] == [
                (b"b", True),
                (b"c", True),
            ]
        assert [copy.why for copy in broker.ledger.lost()] == ["a crash"]

    play(main)


def test_a_robust_connection_comes_back() -> None:
    async def main(broker: ModelBroker) -> None:
        async with await aio_pika.connect_robust(broker.url, reconnect_interval=1) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("q", durable=True)
            bodies: asyncio.Queue[bytes] = asyncio.Queue()

            async def take(message: AbstractIncomingMessage) -> None:
                bodies.put_nowait(message.body)
                await message.ack()

            await queue.consume(take)
            for body, harm in (
                (b"a", lambda: next(iter(broker.connections.values())).reset()),
                (b"b", broker.stop),
                (b"c", broker.crash),
            ):
                await publish(channel, "q", body)
                assert await bodies.get() == body
                await asyncio.sleep(1)
                harm()
                await asyncio.sleep(5)
                broker.start()
                await asyncio.sleep(5)
            await publish(channel, "q", b"d")
            assert await bodies.get() == b"d"

    play(main)


def test_a_silent_broker_is_found_out_by_its_heartbeats() -> None:
    async def main(broker: ModelBroker) -> None:
        connection = await aio_pika.connect(broker.url + "?heartbeat=10")
        lost = asyncio.Event()
        connection.close_callbacks.add(lambda *_: lost.set())
        await asyncio.sleep(100)
        assert not lost.is_set()
        broker.crash(silent=True)
        await lost.wait()
        assert 120 < asyncio.get_running_loop().time() < 160

    play(main)


def test_a_silent_client_is_found_out_by_its_heartbeats() -> None:
    async def main(broker: ModelBroker) -> None:
        connection = await aio_pika.connect(broker.url + "?heartbeat=10")
        channel = await connection.channel()
        queue = await channel.declare_queue("q", durable=True)
        await publish(channel, "q", b"a")
        await consume(queue, 1)
        (seen,) = broker.connections.values()
        broker.stall(seen, 3000, to_client=False)
        await asyncio.sleep(15)
        assert broker.queue("q").held
        await asyncio.sleep(10)
        assert not broker.connections
        assert broker.messages("q") == ["a"] and not broker.queue("q").held
        await connection.close()

    play(main)


def test_blocked_while_the_alarm_lasts() -> None:
    async def main(broker: ModelBroker) -> None:
        loop = asyncio.get_running_loop()
        async with opened(broker) as channel:
            await channel.declare_queue("q", durable=True)
            broker.block()
            # The first one is still read; it is what the broker answers with the news.
            await publish(channel, "q", b"a")
            began = loop.time()
            loop.call_later(30, broker.unblock)
            await publish(channel, "q", b"b")
            assert loop.time() - began >= 30

    play(main)


def test_wrong_passwords_and_vhosts_are_refused() -> None:
    async def main(broker: ModelBroker) -> None:
        with pytest.raises(aiormq.exceptions.ProbableAuthenticationError, match="ACCESS_REFUSED"):
            await aio_pika.connect(broker.url.replace("guest:guest", "guest:wrong"))
        with pytest.raises(aiormq.exceptions.InvalidFrameError, match=r"got <Connection\.Close"):
            await aio_pika.connect(broker.url + "missing")
        with pytest.raises(aiormq.AMQPConnectionError):
            await aio_pika.connect("amqp://127.0.0.1:1/")

    play(main)


def test_a_message_that_is_too_large_closes_the_channel() -> None:
    async def main(broker: ModelBroker) -> None:
        broker.largest_message = 1000
        async with opened(broker) as channel:
            await channel.declare_queue("q", durable=True)
            await publish(channel, "q", b"x" * 100)
            with pytest.raises(aiormq.exceptions.ChannelPreconditionFailed, match="1001 is larger than configured"):
                await publish(channel, "q", b"y" * 1001)

    play(main)


def test_large_messages_go_through_in_frames() -> None:
    async def main(broker: ModelBroker) -> None:
        broker.frame_max = 4096
        body = bytes(range(256)) * 2000
        async with opened(broker) as channel:
            queue = await channel.declare_queue("q", durable=True)
            await channel.default_exchange.publish(Message(body), "q")
            (message,) = await consume(queue, 1)
            assert message.body == body
            await message.ack()

    schedule = Schedule(5, kinds=())
    schedule.cuts, schedule.small_cuts, schedule.base = 0.3, 0, 0.002
    play(main, schedule)


def test_a_consumer_that_is_taken_for_dead_has_no_say_any_more() -> None:
    async def main(broker: ModelBroker) -> None:
        async with opened(broker) as first, opened(broker) as second:
            queue = await first.declare_queue("q", durable=True, arguments={"x-queue-type": "quorum"})
            await publish(first, "q", b"a")
            got: list[AbstractIncomingMessage] = []

            async def take(message: AbstractIncomingMessage) -> None:
                got.append(message)

            await queue.consume(take)
            await asyncio.sleep(1)
            await (await second.get_queue("q")).consume(take)
            broker.deliver_again(broker.consumers()[0])
            await asyncio.sleep(1)
            before, after = got
            assert (before.redelivered, after.redelivered) == (False, True)
            assert after.headers["x-delivery-count"] == 1
            await before.ack()
            await asyncio.sleep(1)
            assert broker.messages("q") == ["a"]
            await after.ack()
            await asyncio.sleep(1)
            assert broker.messages("q") == []

    play(main)


def test_a_cancelled_consumer_keeps_what_it_holds() -> None:
    async def main(broker: ModelBroker) -> None:
        async with opened(broker) as channel:
            queue = await channel.declare_queue("q", durable=True)
            await publish(channel, "q", b"a")
            got: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
            await queue.consume(got.put)
            message = await got.get()
            (consumer,) = broker.consumers()
            broker.cancel(consumer)
            await asyncio.sleep(1)
            assert broker.consumers() == []
            await message.ack()
        assert broker.ledger.acknowledged("q") == {"a": 1}

    play(main)


def test_confirms_of_all_kinds() -> None:
    """Late, joined, out of order, and refusals among them: each publish hears of itself."""

    async def main(broker: ModelBroker) -> None:
        async with opened(broker) as channel:
            await channel.declare_queue("q", durable=True)
            broker.schedule.refusing = 0.2
            names = [b"%d" % number for number in range(100)]
            outcomes = await asyncio.gather(*(publish(channel, "q", name) for name in names), return_exceptions=True)
            refused = {name.decode() for name, outcome in zip(names, outcomes, strict=True) if outcome is not None}
            assert 5 < len(refused) < 50
            assert set(broker.ledger.confirmed("q")) == {name.decode() for name in names} - refused
            assert refused & set(broker.messages("q")) and refused - set(broker.messages("q"))

    schedule = Schedule(7, kinds=())
    schedule.base, schedule.confirm_delay, schedule.together, schedule.joined = 0.002, 0.3, 0.02, False
    play(main, schedule)


def test_the_ledger_finds_what_the_model_loses() -> None:
    async def main(broker: ModelBroker) -> None:
        async with opened(broker) as channel:
            await channel.declare_queue("q", durable=True)
            await publish(channel, "q", b"a", b"b")
        broker.queue("q").ready.pop()

    with pytest.raises(AssertionError, match=r"b in q: queued.* is in no queue"):
        play(main)


def test_errors_that_nobody_saw_are_seen() -> None:
    async def main(broker: ModelBroker) -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="division by zero") as caught:
        play(main, Schedule(3))
    assert "schedule 3" in caught.value.__notes__[0]
