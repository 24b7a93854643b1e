"""Delays: the table of lengths, and that a delayed message comes back in time, whatever waits beside it or happens."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from aio_pika.exceptions import DeliveryError
from hypothesis import given
from hypothesis import strategies as st

from tests.brokers.rabbitmq import VERSIONS, Node
from tests.connectors.rabbitmq.hands import Foreign, broker, drain, eventually, opened, run, take, write
from warren.connectors import rabbitmq
from warren.connectors.rabbitmq.delays import LEVELS, beside, delay_queue, level
from warren.core.errors import GraphError

EACH = pytest.mark.parametrize("version", VERSIONS)

SLACK = 2.0
"""Seconds by which a busy machine may be late."""


def test_the_lengths_grow_by_half_at_most() -> None:
    assert all(a < b <= 1.5 * a for a, b in pairwise(LEVELS))
    assert len(LEVELS) <= 53


def test_the_lengths_that_people_ask_for_are_there() -> None:
    seconds = [0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 15, 20, 30, 45]
    minutes, hours, days = [1, 2, 3, 5, 10, 15, 20, 30, 45], [1, 2, 4, 6, 12, 18], [1, 2, 3, 5, 7, 14, 28]
    wanted = [*seconds, *(60 * n for n in minutes), *(3600 * n for n in hours), *(86400 * n for n in days)]
    assert [level(each) for each in wanted] == [round(each * 1000) for each in wanted]


@given(st.floats(0.05, 28 * 86400))
def test_a_delay_is_never_shortened_and_lengthened_by_half_at_most(delay: float) -> None:
    assert delay - 1e-8 <= level(delay) / 1000 <= 1.5 * delay + 1e-8


def test_a_delay_beyond_the_table_is_refused_with_the_remedy() -> None:
    with pytest.raises(GraphError, match=r"cannot be delayed by 2.41921e\+06 s on RabbitMQ: the longest delay is 28 days"):
        level(28 * 86400 + 10)


def test_the_names_of_delay_queues_tell_the_length() -> None:
    names = [delay_queue("q", each).name for each in LEVELS]
    assert len(set(names)) == len(LEVELS)
    assert {"q.delay.50ms", "q.delay.1500ms", "q.delay.90s", "q.delay.2m", "q.delay.36h", "q.delay.28d"} <= set(names)


def test_a_name_without_room_for_another_beside_it_is_cut() -> None:
    long = ["ü" * 127 + end for end in "ab"]
    names = [delay_queue(each, 50).name for each in long]
    assert [len(each.encode()) <= 255 for each in names] == [True, True]
    assert names[0] != names[1]
    assert beside("q", ".delay") == "q.delay"


def test_many_delays_at_once_and_none_waits_behind_a_longer_one(rabbitmq_each: Node) -> None:
    wanted = [random.Random(7).choice([0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 1.5, 2.0]) * (1 + i % 5 / 10) for i in range(200)]

    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            queue = rabbitmq.queue("q", broker=broker(url))
            await write(queue, *wanted)
            async with opened(queue, credit=500) as connection:
                got = await take(connection, len(wanted))
                sent: dict[str, float] = {}
                for each in sorted(got, key=lambda each: -float(each.body)):
                    sent[each.metadata.id] = time.monotonic()
                    await connection.release([each.handle], float(each.body), 2)
                back = 0
                while back < len(wanted):
                    for each in await take(connection, 1):
                        waited, delay = time.monotonic() - sent[each.metadata.id], json.loads(each.body)
                        assert delay * 0.99 <= waited <= level(delay) / 1000 + SLACK
                        assert (each.metadata.attempt, each.deliveries) == (2, 2)
                        await connection.acknowledge([each.handle])
                        back += 1
            assert await drain(queue) == []

    run(main)


@EACH
def test_a_delayed_message_survives_a_broker_that_is_killed(version: str, start_node: Callable[..., Node]) -> None:
    node = start_node(version)

    async def main() -> None:
        queue = rabbitmq.queue("q", broker=broker(node.url, patience="60s"))
        await write(queue, b"a", b"b")
        async with opened(queue) as connection:
            got = await take(connection, 2)
            await connection.release([got[0].handle], 1.0, 2)
            await connection.release([got[1].handle], 1800.0, 3)
        await asyncio.to_thread(node.sync)
        await asyncio.to_thread(node.restart)
        (late,) = await take_late(queue)
        assert (late.body, late.metadata.attempt) == (b"a", 2)
        async with Foreign.at(node.url) as other:
            assert await other.depth("q.delay.30m") == 1

    async def take_late(queue: rabbitmq.Queue[object]) -> object:
        async with opened(queue) as connection:
            got = await take(connection, 1)
            await connection.acknowledge([each.handle for each in got])
            return got

    run(main, 120)


@pytest.fixture
def impatient(rabbitmq_each: Node) -> Iterator[Node]:
    """A broker that tries a queue which did not confirm again after a second, not after three minutes."""
    name = "rabbit, dead_letter_worker_publisher_confirm_timeout"
    usual = rabbitmq_each.eval(f"{{ok, Usual}} = application:get_env({name}), Usual.")
    rabbitmq_each.eval(f"application:set_env({name}, 1000).")
    yield rabbitmq_each
    rabbitmq_each.eval(f"application:set_env({name}, {usual}).")


async def expired(other: Foreign, queue: str) -> None:
    """Until the one message of a delay queue counts no more as waiting."""

    async def empty() -> bool:
        return await other.depth(queue) == 0

    await eventually(empty)


def test_a_delayed_message_waits_for_a_queue_that_is_gone(impatient: Node) -> None:
    async def main() -> None:
        with impatient.vhost() as url:
            queue = rabbitmq.queue("q", broker=broker(url))
            await write(queue, b"a")
            async with opened(queue) as connection, Foreign.at(url) as other:
                (got,) = await take(connection, 1)
                await connection.release([got.handle], 3.0, 2)
                await other.delete("q")
                await expired(other, "q.delay.3s")
            async with opened(queue) as connection:
                (got,) = await take(connection, 1)
                assert (got.body, got.metadata.attempt) == (b"a", 2)

    run(main)


def test_a_delayed_message_waits_for_a_queue_that_is_full(impatient: Node) -> None:
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}

    async def main() -> None:
        with impatient.vhost() as url:
            queue = rabbitmq.queue("q", broker=broker(url), arguments=full)
            await write(queue, b"a")
            async with opened(queue) as connection, Foreign.at(url) as other:
                (got,) = await take(connection, 1)
                await connection.release([got.handle], 3.0, 2)
                # A quorum queue takes a few more than its limit before it says so.
                with pytest.raises(DeliveryError):
                    await other.send("q", *[b"x"] * 100)
                await expired(other, "q.delay.3s")
                filled = await other.depth("q")
            async with opened(queue) as connection:
                got = await take(connection, filled)
                assert {each.body for each in got} == {b"x"}, "it was not full"
                await connection.acknowledge([each.handle for each in got])
                (late,) = await take(connection, 1)
                assert (late.body, late.metadata.attempt) == (b"a", 2)

    run(main)
