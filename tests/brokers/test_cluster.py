"""Three nodes that are one RabbitMQ."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aio_pika
import pytest

from tests.brokers.rabbitmq import Cluster

PATIENCE = 60.0


async def put(url: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(body), "kept")


async def get(url: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue("kept")
        message = await queue.get(timeout=20)
        await message.ack()
        return message.body


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline


@pytest.mark.slow
def test_a_quorum_queue_outlives_its_leader(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster()
    asyncio.run(put(cluster.urls[1], b"safe"))
    leader = cluster.leader("kept")
    assert leader is not None
    leader.kill()
    rest = [node for node in cluster.nodes if node is not leader]
    wait_for(lambda: cluster.leader("kept") in rest)
    assert asyncio.run(get(rest[0].url)) == b"safe"
    leader.start()
    cluster.await_online()
