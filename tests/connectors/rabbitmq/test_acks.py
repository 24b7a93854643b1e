"""Acknowledgements that wait for their neighbours: every settled message is acknowledged, and no other."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import broker, eventually, opened, run, take, write
from warren.connectors import rabbitmq
from warren.connectors.rabbitmq.acks import LINGER, Acks
from warren.connectors.rabbitmq.port import Port

COUNT = 3_000


@given(st.data())
def test_what_is_settled_is_acknowledged_once_and_nothing_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 40))
    order = data.draw(st.permutations(range(1, size + 1)))
    most = data.draw(st.integers(0, size))
    # How many are open decides whether acknowledgements may wait.
    pretended = data.draw(st.sampled_from([10, 5000]))
    acks, settled, open_at_broker, floor = Acks(), set[int](), set(order), 0

    def send(due: list[tuple[int, bool]]) -> None:
        for tag, multiple in due:
            assert tag in open_at_broker, "a broker closes the channel for a tag that it does not know"
            gone = {each for each in open_at_broker if each <= tag} if multiple else {tag}
            assert gone <= settled
            open_at_broker.difference_update(gone)

    while order:
        length = data.draw(st.integers(1, len(order)))
        tags, order = order[:length], order[length:]
        settled.update(tags)
        while floor + 1 in settled:
            floor += 1
        send(acks.due(tags, floor, pretended, most))
        assert len(open_at_broker & settled) == len(acks) <= (most if pretended > 1024 else 0)
        if data.draw(st.booleans()):
            send(acks.ripe())
    send(acks.rest())
    assert not open_at_broker and not acks


def test_scattered_acknowledgements_go_together(rabbitmq_each: Node) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            queue = rabbitmq.queue("q", broker=broker(url), max_deliveries=None)
            await write(queue, *[b"x"] * COUNT)
            async with opened(queue, credit=COUNT) as connection:
                handles = [got.handle for got in await take(connection, COUNT)]
                sent = _counted(connection.source._port)
                # As the rows of three airports are written, one after the other.
                for third in range(3):
                    await connection.acknowledge(handles[third::3])
                assert sent == [(1, True), (2, True), (COUNT, True)]
            assert await _left(queue) == 0

    run(main)


def test_what_waits_goes_after_a_while_and_at_the_end(vhost: str) -> None:
    async def main() -> None:
        queue = rabbitmq.queue("q", broker=broker(vhost), max_deliveries=None)
        await write(queue, *[b"x"] * COUNT)
        async with opened(queue, credit=COUNT) as connection:
            handles = [got.handle for got in await take(connection, COUNT)]
            sent = _counted(connection.source._port)
            begun = time.monotonic()
            await connection.acknowledge(handles[10:20])
            assert sent == []

            async def came() -> bool:
                return len(sent) == 10

            await eventually(came)
            assert time.monotonic() - begun >= LINGER - 0.1
            await connection.acknowledge(handles[30:40])
        assert sorted(sent[10:]) == [(tag, False) for tag in range(31, 41)]
        assert await _left(queue) == COUNT - 20

    run(main)


def test_among_few_nothing_waits(vhost: str) -> None:
    async def main() -> None:
        queue = rabbitmq.queue("q", broker=broker(vhost), max_deliveries=None)
        await write(queue, *[b"x"] * 10)
        async with opened(queue, credit=10) as connection:
            handles = [got.handle for got in await take(connection, 10)]
            sent = _counted(connection.source._port)
            await connection.acknowledge(handles[5:7])
            assert sent == [(6, False), (7, False)]

    run(main)


def _counted(port: Port) -> list[tuple[int, bool]]:
    """What is acknowledged over a port from now on."""
    sent: list[tuple[int, bool]] = []
    settle = port.settle

    async def settled(acks: list[tuple[int, bool]]) -> None:
        sent.extend(acks)
        await settle(acks)

    port.settle = settled  # type: ignore[method-assign, assignment]
    return sent


async def _left(queue: rabbitmq.Queue) -> int:
    """How many messages come again."""
    count = 0
    async with opened(queue, until_empty=True) as connection:
        while (batch := await connection.receive(COUNT)) is not None:
            count += len(batch)
    return count
