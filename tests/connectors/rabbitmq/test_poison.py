"""Messages that kill their worker: counted by the broker, never dropped by it, and put aside by the pipeline."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path

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


WORKER = """
import os, sys
from warren import Pipeline
from warren.connectors import rabbitmq
from warren.operators import map

def handle(value):
    if value in POISON:
        os.kill(os.getpid(), 9)
    return value

url, limit, *poison = sys.argv[1:]
POISON = {int(each) for each in poison}
at = rabbitmq.Broker(url)
flow = rabbitmq.queue("in", int, broker=at, max_deliveries=int(limit)) | map(handle) | rabbitmq.queue("out", broker=at)
Pipeline("p", flow, credit=300).run(until_empty=True)
"""

ROOT = Path(__file__).resolve().parents[3]


def work(url: str, limit: int, poison: list[int]) -> list[int]:
    """Start a worker again and again until it ends by itself; returns how each of them ended."""
    ends: list[int] = []
    while not ends or ends[-1] != 0:
        command = [sys.executable, "-c", WORKER, url, str(limit), *map(str, poison)]
        ends.append(subprocess.run(command, cwd=ROOT / "src", timeout=60, check=False).returncode)
        assert ends[-1] in (0, -9)
        assert len(ends) <= 2 * limit * len(poison) + 2, "it is never done"
    return ends


@pytest.mark.parametrize(("limit", "poison"), [(2, [150]), (4, [0, 77, 199])])
def test_a_message_that_kills_its_worker_is_put_aside_and_no_other(
    rabbitmq_each: Node, limit: int, poison: list[int]
) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            at = broker(url)
            await write(rabbitmq.queue("in", broker=at), *range(200))
            ends = await asyncio.to_thread(work, url, limit, poison)
            letters = await drain(rabbitmq.queue("p.dead", broker=at))
            assert sorted(int(each.body) for each in letters) == poison
            assert {each.metadata.headers["warren-error"] for each in letters} == {"PoisonError"}
            assert f"max_deliveries={limit}" in letters[0].metadata.headers["warren-reason"]
            out = Counter(int(each.body) for each in await drain(rabbitmq.queue("out", broker=at)))
            assert sorted(out) == [i for i in range(200) if i not in poison]
            assert len(ends) - 1 <= limit * len(poison)

    run(main, 300)


@pytest.mark.slow
def test_workers_side_by_side_put_aside_what_kills_them_and_no_other(rabbitmq_each: Node) -> None:
    poison = [20, 90]

    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            at = broker(url)
            await write(rabbitmq.queue("in", broker=at), *range(400))
            await asyncio.gather(*(asyncio.to_thread(work, url, 8, poison) for _ in range(2)))
            letters = await drain(rabbitmq.queue("p.dead", broker=at))
            assert sorted({int(each.body) for each in letters}) == poison
            out = {int(each.body) for each in await drain(rabbitmq.queue("out", broker=at))}
            assert sorted(out) == [i for i in range(400) if i not in poison]

    run(main, 300)
