"""What is special about the sources and sinks in memory; what every queue keeps is in test_conformance."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any

import pytest

from warren import Pipeline
from warren.connectors import memory
from warren.connectors.conformance.kit import unpack
from warren.core.errors import GraphError
from warren.core.graph import Flow, Inlet, Outlet
from warren.core.message import Outgoing
from warren.operators import map
from warren.pipelines.virtual import VirtualLoop


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


def test_items_come_as_they_are_and_end() -> None:
    async def main() -> None:
        source = await memory.items([1, "a", None]).open()
        first = await source.receive(2)
        assert first is not None
        assert list(first.bodies) == [1, "a"]
        second = await source.receive(5)
        assert second is not None
        assert list(second.bodies) == [None]
        assert await source.receive(5) is None

    run(main())


def test_items_are_read_no_further_than_asked() -> None:
    async def main() -> None:
        count = itertools.count()
        source = await memory.items(count).open()
        await source.receive(10)
        assert next(count) == 10

    run(main())


def test_released_items_come_again_even_after_the_end() -> None:
    async def main() -> None:
        source = await memory.items("abc").open()
        batch = await source.receive(3)
        assert batch is not None
        assert await source.receive(1) is None
        await source.acknowledge([batch.handles[0]])
        await source.release([batch.handles[1]], delay=60, attempts=2)
        await source.release([batch.handles[2], "unknown"])
        now = asyncio.get_running_loop().time()
        again = [await source.receive(5), await source.receive(5)]
        assert [(got.body, got.metadata.attempt, got.deliveries) for b in again if b for got in unpack(b)] == [
            ("c", 1, 2),
            ("b", 2, 2),
        ]
        assert asyncio.get_running_loop().time() >= now + 60
        assert await source.receive(1) is None

    run(main())


def test_each_opening_of_items_starts_again() -> None:
    seen: list[int] = []
    pipeline = Pipeline("twice", memory.items([1, 2]) | memory.into(seen))
    pipeline.run()
    pipeline.run()
    assert seen == [1, 2, 1, 2]


def test_a_queue_is_a_source_on_the_left_and_a_sink_on_the_right() -> None:
    broker = memory.Broker()
    queue = memory.queue("q", int, broker=broker)
    assert isinstance(queue, Inlet)
    assert isinstance(queue, Outlet)
    assert isinstance(memory.items([1]) | queue, Flow)
    assert isinstance(queue | queue, Flow)
    Pipeline("in", memory.items([1, 2]) | queue).run()
    seen: list[int] = []
    Pipeline("out", queue | map(lambda n: n + 1) | memory.into(seen)).run(until_empty=True)
    assert seen == [2, 3]


def test_queues_of_one_name_are_one_per_broker() -> None:
    one, two = memory.Broker(), memory.Broker()
    Pipeline("fill", memory.items([1]) | memory.queue("q", broker=one)).run()
    assert (one.depth("q"), two.depth("q")) == (1, 0)
    assert (one.queues, two.queues) == (["q"], [])
    assert one.peek("q").bodies == [b"1"]
    assert two.peek("q").bodies == []
    one.clear()
    assert one.depth("q") == 0


def test_key_and_headers_are_computed_where_the_metadata_does_not_say() -> None:
    broker = memory.Broker(clock=lambda: 7.0)
    queue = memory.queue("q", dict, broker=broker, key=lambda o: o["id"], headers=lambda o: {"warren-tenant": o["t"]})

    async def main() -> None:
        sink = await queue.open()
        await sink.write(Outgoing([{"id": "a", "t": "acme"}]))

    run(main())
    metadata = broker.peek("q").metadata(0)
    assert (metadata.key, metadata.tenant, metadata.timestamp) == ("a", "acme", 7.0)


def test_a_key_function_that_fails_refuses_that_message_alone() -> None:
    broker = memory.Broker()
    source = memory.items([{"id": "a"}, {}], broker=broker)
    pipeline = Pipeline("p", source | memory.queue("q", broker=broker, key=lambda o: o["id"]))
    pipeline.run()
    assert broker.depth("q") == 1
    assert broker.peek("p.dead").bodies == [b"{}"]


def test_failures_go_to_a_dead_letter_queue_of_the_same_broker() -> None:
    broker = memory.Broker()
    source = memory.items([1, 0], broker=broker)
    Pipeline("p", source | map(lambda n: 1 // n) | memory.into([])).run()
    assert broker.peek("p.dead").bodies == [b"0"]
    assert broker.peek("p.dead").metadata(0).headers["warren-error"] == "ZeroDivisionError"


def test_a_delay_outlives_its_event_loop() -> None:
    broker = memory.Broker()
    queue = memory.queue("q", broker=broker)

    async def park() -> None:
        connection = await queue.open()
        await connection.write(Outgoing([b"a"]))
        await asyncio.sleep(1000)
        batch = await connection.receive(1)
        assert batch is not None
        await connection.release(batch.handles, delay=60)
        await connection.close()

    async def wait() -> None:
        connection = await queue.open()
        batch = await connection.receive(1)
        assert batch is not None
        assert asyncio.get_running_loop().time() == pytest.approx(60, abs=1)

    run(park())
    run(wait())


def test_a_queue_cannot_follow_a_sink() -> None:
    with pytest.raises(GraphError, match="cannot follow"):
        memory.into([]) | memory.queue("q")
