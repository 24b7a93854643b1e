"""What a broker never confirms is sent again over another channel."""

from __future__ import annotations

import asyncio

import pytest

from tests.brokers.model import ModelBroker, Schedule, play
from warren.connectors import rabbitmq
from warren.connectors.rabbitmq.sink import OVERDUE
from warren.core.message import Outgoing


@pytest.mark.parametrize("lane", [True, False])
def test_what_is_never_confirmed_is_sent_again(lane: bool) -> None:
    async def main(model: ModelBroker) -> None:
        queue = rabbitmq.queue("out", broker=rabbitmq.Broker(model.url, lane=lane), kind="classic")
        connection = await queue.open()
        await connection.write(Outgoing([b"before"]))
        model.schedule.slowness = 1e6
        writing = asyncio.ensure_future(connection.write(Outgoing([b"a", b"b"])))
        await asyncio.sleep(OVERDUE - 1)
        assert not writing.done()
        model.schedule.slowness = 0.0
        async with asyncio.timeout(5):
            await writing
        await connection.close()
        assert len(model.messages("out")) == 5

    play(main, Schedule.calm())
