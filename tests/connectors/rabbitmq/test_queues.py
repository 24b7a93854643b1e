"""Looking at queues and removing them, with what the connector keeps beside them."""

from __future__ import annotations

import pytest

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import broker, eventually, opened, run, take, write
from warren.connectors import rabbitmq as connector
from warren.connectors.rabbitmq.queues import Look, look
from warren.core.errors import TopologyError


def test_a_queue_goes_with_all_that_stands_beside_it(rabbitmq_each: Node) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            queue, other = connector.queue("q", broker=broker(url)), connector.queue("q2", broker=broker(url))
            await write(other, b"x")
            await write(queue, b"a", b"b")
            async with opened(queue) as connection:
                first, _ = await take(connection, 2)
                await connection.release([first.handle], delay=20.0)
            names = {each["name"] for each in rabbitmq_each.api("GET", f"queues/{url.rpartition('/')[2]}")}
            assert names == {"q", "q.delay", "q.delay.20s", "q.holders", "q2"}
            await connector.delete("q", "q3", broker=broker(url))
            assert [each["name"] for each in rabbitmq_each.api("GET", f"queues/{url.rpartition('/')[2]}")] == ["q2"]

    run(main)


def test_a_look_counts_what_waits_and_who_consumes(vhost: str) -> None:
    async def main() -> None:
        queue = connector.queue("q", broker=broker(vhost), max_deliveries=None)
        assert await look("q", broker(vhost)) is None
        await write(queue, b"a", b"b", b"c")
        assert await look("q", broker(vhost)) == Look(3, 0)
        async with opened(queue, credit=2):

            async def consumed() -> bool:
                return await look("q", broker(vhost)) == Look(1, 1)

            await eventually(consumed)

    run(main)


def test_what_may_not_be_removed_is_told(rabbitmq: Node) -> None:
    async def main() -> None:
        with rabbitmq.vhost() as url:
            await write(connector.queue("q", broker=broker(url)), b"a")
            reader = rabbitmq.add_user("reader", "s3cret", vhost=url.rpartition("/")[2], configure="", write="")
            with pytest.raises(TopologyError, match=r"queue 'q' on .* may not be touched") as refused:
                await connector.delete("q", broker=broker(reader))
            assert "s3cret" not in str(refused.value)
            assert await look("q", broker(reader)) == Look(1, 0)

    run(main)
