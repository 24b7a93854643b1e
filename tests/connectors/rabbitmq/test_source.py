"""An open queue to read from: acknowledgements in runs, handles that are out of date, giving back, and closing."""

from __future__ import annotations

import random

import pytest

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import broker, drain, opened, run, take, write
from warren.connectors import rabbitmq


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize("ahead", [True, False])
def test_no_acknowledgement_is_lost_by_closing(rabbitmq_each: Node, lane: bool, ahead: bool) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            queue = rabbitmq.queue("q", broker=broker(url, lane=lane))
            for count in (33, 200, 500):
                await write(queue, *range(count))
                async with opened(queue, **({"credit": 1000} if ahead else {})) as connection:
                    got = await take(connection, count)
                    random.shuffle(got)
                    for each in got:
                        await connection.acknowledge([each.handle])
                assert await drain(queue) == []

    run(main)
