"""The two ways of waiting that are the broker's own: delayed retry of quorum queues, and the delayed-message plugin."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest

from tests.brokers.model import ModelBroker, play
from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import broker, drain, eventually, opened, run, take, write
from warren.connectors import rabbitmq
from warren.connectors.rabbitmq.queues import look
from warren.core.errors import GraphError, TopologyError
from warren.operators import exponential, map, retry
from warren.pipelines.pipeline import Pipeline

LANES = pytest.mark.parametrize("lane", [True, False], ids=["lane", "plain"])


class Failing:
    """A step that fails so many times for each value, and notes when it was called."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.calls: dict[Any, list[float]] = defaultdict(list)

    def __call__(self, value: Any) -> Any:
        self.calls[value].append(asyncio.get_running_loop().time())
        if len(self.calls[value]) <= self.times:
            raise ConnectionError("busy")
        return value


def pauses(times: list[float]) -> list[float]:
    return [b - a for a, b in pairwise(times)]


@LANES
def test_the_queue_itself_delays_what_failed(rabbitmq_43: Node, lane: bool) -> None:
    with rabbitmq_43.vhost() as url:
        there = broker(url, lane=lane)
        source = rabbitmq.queue("in", int, broker=there, delayed_retry=("300ms", "500ms"))
        out = rabbitmq.queue("out", int, broker=there)
        run(lambda: write(source, *range(5)))
        step = Failing(3)
        again = retry(exponential("1h", attempts=4), park="0s")
        Pipeline("p", source | map(step) | again | out).run(until_empty=True)
        assert sorted(each.body for each in run(lambda: drain(out))) == [b"0", b"1", b"2", b"3", b"4"]
        for times in step.calls.values():
            first, second, third = pauses(times)
            assert first >= 0.28 and second >= 0.48 and third >= 0.48
            assert third < 10, "the policy's hour is not asked"
        assert run(lambda: look("in.delay", there)) is None


@LANES
def test_attempts_are_the_brokers_count_and_survive_the_worker(rabbitmq_43: Node, lane: bool) -> None:
    async def main(url: str) -> None:
        queue = rabbitmq.queue("q", broker=broker(url, lane=lane), delayed_retry=("50ms", "100ms"))
        await write(queue, b"a")
        for attempt in (1, 2, 3):
            async with opened(queue, credit=10) as connection:
                batch = await connection.receive(1)
                assert batch is not None and batch.metadata(0).attempt == attempt
                await connection.release(batch.handles, 60.0, attempt + 1)
        async with opened(queue, credit=10) as connection:
            await take(connection, 1)
        # It was taken and not settled, which is an attempt too.
        async with opened(queue, credit=10) as connection:
            batch = await connection.receive(1)
            assert batch is not None and batch.metadata(0).attempt == 5
            await connection.release(batch.handles)
            again = await connection.receive(1)
            assert again is not None and again.metadata(0).attempt == 5, "given back untouched, so it is no attempt"
            await connection.acknowledge(again.handles)

    with rabbitmq_43.vhost() as url:
        run(lambda: main(url))


def test_what_fails_too_often_is_a_dead_letter(rabbitmq_43: Node) -> None:
    with rabbitmq_43.vhost() as url:
        there = broker(url)
        source = rabbitmq.queue("in", int, broker=there, delayed_retry=("50ms", "50ms"))
        run(lambda: write(source, 1))
        step = Failing(100)
        again = retry(exponential("1s", attempts=3), park="0s")
        Pipeline("p", source | map(step) | again | rabbitmq.queue("out", broker=there)).run(until_empty=True)
        (letter,) = run(lambda: drain(rabbitmq.queue("p.dead", broker=there)))
        assert len(step.calls[1]) == 3
        assert letter.metadata.headers["warren-attempts"] == "3"


@pytest.mark.parametrize("version", ["3.10", "4.0"])
def test_an_older_broker_says_what_it_lacks(version: str, request: pytest.FixtureRequest) -> None:
    node = request.getfixturevalue(f"rabbitmq_{version.replace('.', '')}")
    with (
        node.vhost() as url,
        pytest.raises(TopologyError, match=r"came with RabbitMQ 4\.3, and this is"),
    ):
        run(lambda: write(rabbitmq.queue("q", broker=broker(url), delayed_retry=("1s", "1m")), b"a"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"delayed_retry": ("1m", "1s")}, "the longest one, which is not shorter"),
        ({"delayed_retry": ("0s", "1s")}, "give the delay after the first"),
        ({"delayed_retry": ("1s", "1m"), "kind": "classic"}, "only a quorum queue delays by itself"),
        ({"delayed_retry": ("1s", "1m"), "delayed_exchange": "later"}, "leave one of the two out"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(GraphError, match=said):
        rabbitmq.queue("q", **options)


def test_a_broker_without_the_plugin_says_how_to_get_it(rabbitmq_each: Node) -> None:
    with rabbitmq_each.vhost() as url, pytest.raises(TopologyError, match="rabbitmq_delayed_message_exchange"):
        run(lambda: write(rabbitmq.queue("q", broker=broker(url), delayed_exchange="later"), b"a"))


@LANES
def test_the_plugin_keeps_what_waits(lane: bool) -> None:
    async def main(model: ModelBroker) -> None:
        model.delays = True
        there = rabbitmq.Broker(model.url, lane=lane)
        source = rabbitmq.queue("in", broker=there, delayed_exchange="later")
        await write(source, b"a", b"b")
        step = Failing(2)
        again = retry(exponential("30s", attempts=4, jitter="none"), park="0s")
        flow = source | map(step) | again | rabbitmq.queue("out", broker=there)
        running = Pipeline("p", flow, credit=8).start()
        out = model.vhosts["/"].queues

        async def arrived() -> bool:
            return "out" in out and len(out["out"].ready) == 2

        await eventually(arrived)
        running.stop()
        await running
        for times in step.calls.values():
            first, second = pauses(times)
            assert first == pytest.approx(30, abs=0.5) and second == pytest.approx(60, abs=0.5)
        assert not [name for name in out if ".delay" in name]
        assert {copy.message.body for copy in out["out"].ready} == {b"a", b"b"}

    play(main)
