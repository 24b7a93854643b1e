"""The nodes that the other tests run against."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aio_pika

from tests.brokers.rabbitmq import Node


async def put(url: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")


async def get(url: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue("kept")
        message = await queue.get(no_ack=True)
        assert message is not None
        return message.body


def test_each_version_answers(rabbitmq_each: Node) -> None:
    assert rabbitmq_each.version.startswith(f"{rabbitmq_each.series}.")
    with rabbitmq_each.vhost() as url:
        asyncio.run(put(url, b"here"))
        assert asyncio.run(get(url)) == b"here"


def test_a_durable_queue_outlives_a_kill(start_node: Callable[..., Node]) -> None:
    node = start_node()
    asyncio.run(put(node.url, b"safe"))
    node.restart()
    assert asyncio.run(get(node.url)) == b"safe"
