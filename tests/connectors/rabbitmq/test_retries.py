"""Retries: messages that fail, wait with the broker, and come back, with their attempts counted durably."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from tests.brokers.rabbitmq import VERSIONS, Node
from tests.connectors.rabbitmq.hands import broker, drain, opened, run, write
from warren.connectors import rabbitmq
from warren.operators import exponential, map, retry
from warren.pipelines.pipeline import Pipeline

EACH = pytest.mark.parametrize("version", VERSIONS)
MESSAGES, ROUNDS = 1000, 3


@pytest.mark.slow
@EACH
def test_a_thousand_messages_fail_three_times_while_the_broker_is_killed(
    version: str, start_node: Callable[..., Node]
) -> None:
    node = start_node(version)
    queue = rabbitmq.queue("q", broker=broker(node.url, patience="60s"))
    seen: dict[bytes, set[int]] = defaultdict(set)
    done: set[bytes] = set()
    half = asyncio.Event()

    async def work(connection: Any) -> None:
        while len(done) < MESSAGES:
            batch = await connection.receive(100)
            for i, handle in enumerate(batch.handles):
                attempt = batch.metadata(i).attempt
                seen[batch.bodies[i]].add(attempt)
                if attempt > ROUNDS:
                    await connection.acknowledge([handle])
                    done.add(batch.bodies[i])
            again = [
                (h, batch.metadata(i).attempt) for i, h in enumerate(batch.handles) if batch.metadata(i).attempt <= ROUNDS
            ]
            for attempt in {attempt for _, attempt in again}:
                await connection.release([h for h, a in again if a == attempt], 0.5, attempt + 1)
            if sum(len(attempts) for attempts in seen.values()) > MESSAGES * 2:
                half.set()

    async def kill() -> None:
        await half.wait()
        await asyncio.to_thread(node.sync)
        await asyncio.to_thread(node.restart)

    async def main() -> None:
        await write(queue, *[b"%d" % i for i in range(MESSAGES)])
        async with opened(queue, credit=200) as connection, asyncio.TaskGroup() as group:
            group.create_task(kill())
            group.create_task(work(connection))
        rest = await drain(queue)
        assert {each.body for each in rest} <= done, "what is left may only be what came twice"

    run(main, 180)
    assert len(done) == MESSAGES
    assert {frozenset(attempts) for attempts in seen.values()} == {frozenset(range(1, ROUNDS + 2))}


class Flaky:
    """A step that fails so many times for each value."""

    def __init__(self, times: int, error: Callable[[], Exception]) -> None:
        self.times = times
        self.error = error
        self.calls: dict[Any, int] = defaultdict(int)

    def __call__(self, value: Any) -> Any:
        self.calls[value] += 1
        if self.calls[value] <= self.times:
            raise self.error()
        return value


def test_every_delay_can_be_left_to_the_broker(rabbitmq_each: Node) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            at = broker(url)
            await write(rabbitmq.queue("in", broker=at), *range(50))
            flaky = Flaky(3, ConnectionError)
            flow = (
                rabbitmq.queue("in", int, broker=at)
                | map(flaky)
                | retry(exponential("50ms", attempts=4), park=0)
                | rabbitmq.queue("out", broker=at)
            )
            await Pipeline("p", flow).start(until_empty=True)
            assert sorted(int(each.body) for each in await drain(rabbitmq.queue("out", broker=at))) == list(range(50))
            assert set(flaky.calls.values()) == {4}
            assert await drain(rabbitmq.queue("p.dead", broker=at)) == []

    # Each length of delay is declared when it is first used, and takes a second to settle.
    run(main, 120)
