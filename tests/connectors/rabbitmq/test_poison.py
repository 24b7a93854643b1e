"""Messages that kill their worker: counted by the broker, never dropped by it, and put aside by the pipeline."""

from __future__ import annotations

import pytest

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import Foreign, broker, drain, opened, run, take, write
from warren.connectors import rabbitmq
from warren.core.errors import TopologyError

TIMES = 30
"""More often than the 20 after which RabbitMQ 4 drops a message of a queue that says nothing of it."""


def test_a_quorum_queue_drops_nothing_however_often_it_is_given_back(rabbitmq_each: Node) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            queue = rabbitmq.queue("q", broker=broker(url))
            await write(queue, b"a")
            async with opened(queue) as connection:
                for i in range(TIMES):
                    (got,) = await take(connection, 1)
                    assert got.deliveries == i + 1
                    await connection.release([got.handle])
            assert [each.deliveries for each in await drain(queue)] == [TIMES + 1]

    run(main)


def test_a_quorum_queue_drops_nothing_however_often_its_consumer_is_lost(rabbitmq_each: Node) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            queue = rabbitmq.queue("q", broker=broker(url))
            await write(queue, b"a")
            for i in range(TIMES):
                async with opened(queue) as connection:
                    (got,) = await take(connection, 1)
                    assert got.deliveries == i + 1
            assert [each.deliveries for each in await drain(queue)] == [TIMES + 1]

    run(main)


def test_a_queue_keeps_a_limit_of_its_own(rabbitmq_each: Node) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "limit", "x-delivery-limit": 2}
            queue = rabbitmq.queue("q", broker=broker(url), arguments=letters)
            limit = rabbitmq.queue("limit", broker=broker(url))
            await write(limit)
            await write(queue, b"a")
            for _ in range(3):
                async with opened(queue) as connection:
                    await take(connection, 1)
            async with opened(limit) as connection:
                assert [each.body for each in await take(connection, 1)] == [b"a"]

    run(main)


def test_a_queue_that_others_declared_without_a_limit_can_be_declared_as_it_is(vhost: str) -> None:
    async def main() -> None:
        async with Foreign.at(vhost) as other:
            await other.declare("q", {"x-queue-type": "quorum"})
        with pytest.raises(TopologyError, match=r"x-delivery-limit=nothing.*arguments=\{'x-delivery-limit': None\}"):
            await write(rabbitmq.queue("q", broker=broker(vhost)))
        await write(rabbitmq.queue("q", broker=broker(vhost), arguments={"x-delivery-limit": None}), b"a")
        await write(rabbitmq.queue("q", broker=broker(vhost), passive=True), b"b")

    run(main)
