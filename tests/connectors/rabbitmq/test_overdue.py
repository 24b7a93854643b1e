"""What a broker never confirms is sent again over another channel or to another queue; what it forgets is asked for."""

from __future__ import annotations

import asyncio

import pytest

from tests.brokers.model import ModelBroker, Schedule, play
from warren.connectors import rabbitmq
from warren.connectors.rabbitmq.sink import OVERDUE
from warren.connectors.rabbitmq.source import SILENCE
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


@pytest.mark.parametrize("lane", [True, False])
def test_a_delay_queue_that_confirms_nothing_is_left_for_a_longer_one(lane: bool) -> None:
    async def main(model: ModelBroker) -> None:
        queue = rabbitmq.queue("in", broker=rabbitmq.Broker(model.url, lane=lane))
        connection = await queue.open_ahead(10)
        await connection.write(Outgoing([b"first", b"second"]))
        for turn, places in enumerate((["in.delay.1s"], ["in.delay.1s", "in.delay.1500ms"])):
            batch = await connection.receive(1)
            assert batch is not None
            await connection.release(batch.handles, 1.0, 2 + turn)
            assert [name for name in places if model.queue(name).ready] == places[-1:]
            model.queue("in.delay.1s").leaderless = True
        found = [await connection.receive(1), await connection.receive(1)]
        assert sorted(batch.bodies[0] for batch in found if batch is not None) == [b"first", b"second"]
        await connection.close()

    play(main, Schedule.calm())


@pytest.mark.parametrize("lane", [True, False])
def test_a_consumer_that_the_broker_forgets_to_serve_is_registered_anew(lane: bool) -> None:
    async def main(model: ModelBroker) -> None:
        queue = rabbitmq.queue("in", broker=rabbitmq.Broker(model.url, lane=lane))
        connection = await queue.open_ahead(10)
        waiting = asyncio.ensure_future(connection.receive(1))
        await asyncio.sleep(3 * SILENCE)
        consumers = model.consumers()
        for consumer in consumers:
            consumer.forgotten = True
        await connection.write(Outgoing([b"a"]))
        async with asyncio.timeout(3 * SILENCE):
            batch = await waiting
        assert batch is not None
        assert list(batch.bodies) == [b"a"]
        assert model.consumers() != consumers
        await connection.close()

    play(main, Schedule.calm())
