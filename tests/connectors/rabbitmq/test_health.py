"""What a running pipeline and queues tell of themselves, while real brokers do what brokers do."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.brokers.ports import free_port
from tests.brokers.proxy import Proxy
from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import eventually, opened, run, write
from warren import Pipeline
from warren.connectors import memory, rabbitmq
from warren.connectors.rabbitmq.health import health, link_health
from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.queues import delete
from warren.core.errors import ShutdownError
from warren.core.health import Health, QueueHealth
from warren.operators import map
from warren.pipelines import Running

WITHIN = 30.0

HELD = (19, 20)
"""What is left of 30 messages when a credit of 10 is used up: reading begins with a consumer for one message alone."""


def looped(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that runs in an event loop of its own."""

    @functools.wraps(test)
    def call(**fixtures: Any) -> None:
        run(lambda: test(**fixtures))

    return call


async def until(ask: Callable[[], Awaitable[Health]], wanted: Callable[[Health], Any], within: float = WITHIN) -> Health:
    """Ask again and again until the answer is as wanted."""
    found: list[Health] = []

    async def asked() -> bool:
        found.append(await ask())
        return bool(wanted(found[-1]))

    try:
        await eventually(asked, within)
    except AssertionError:
        raise AssertionError(f"it did not come true in time: {found[-1]}") from None
    return found[-1]


def says(found: Health, *parts: str) -> bool:
    return any(all(part in reason for part in parts) for reason in found.reasons)


@asynccontextmanager
async def running(pipeline: Pipeline) -> AsyncIterator[Running]:
    started = pipeline.start()
    try:
        yield started
    except BaseException:
        # Its own end may take long, and is not what went wrong.
        started.stop()
        with contextlib.suppress(ShutdownError):
            await started
        raise
    started.stop()
    await started


async def publish(queue: Any, count: int) -> None:
    await write(queue, *[b"x"] * count)


def of(found: Health, name: str) -> QueueHealth:
    return next((queue for queue in found.queues if queue.name == name), QueueHealth(name=name))


class Gate:
    """A handler that lets messages through one after the other, and only while it is open."""

    def __init__(self, is_open: bool = False, pause: float = 0.0) -> None:
        self.pause = pause
        self.open = asyncio.Event()
        if is_open:
            self.open.set()

    async def __call__(self, value: bytes) -> bytes:
        await asyncio.sleep(self.pause)
        await self.open.wait()
        return value


@looped
async def test_a_pipeline_that_does_its_work_is_live_and_ready(vhost: str) -> None:
    broker = rabbitmq.Broker(vhost)
    orders, bills = rabbitmq.queue("orders", broker=broker), rabbitmq.queue("bills", broker=broker)
    await publish(orders, 5)
    async with running(Pipeline("shop", orders | bills, credit=10, shutdown="5s")) as shop:
        first = await shop.health()
        assert first.name == "shop" and says(first, "still connecting") and not first.ready and first.live
        found = await until(shop.health, lambda found: found.ready and of(found, "bills").depth == 5)
        assert found.live and found.reasons == ()
        assert (found.reconnects, found.unconfirmed) == (0, 0)
        assert of(found, "bills").consumers == 0
        await until(shop.health, lambda found: (of(found, "orders").consumers, of(found, "orders").unacked) == (1, 0))
        shop.stop()
        assert says(await shop.health(), "it is stopping")
    ended = await shop.health()
    assert (ended.live, ended.ready, ended.reasons) == (False, False, ("it has ended",))


@looped
async def test_ends_that_cannot_tell_are_left_out(vhost: str) -> None:
    exchange = rabbitmq.exchange("events", broker=rabbitmq.Broker(vhost), routing_key="a")
    async with running(Pipeline("p", memory.queue("quiet", broker=memory.Broker()) | exchange)) as shop:
        found = await until(shop.health, lambda found: found.ready)
        assert found.live and found.queues == ()


@looped
async def test_a_killed_broker_makes_it_not_live_until_it_is_back(start_node: Callable[..., Node]) -> None:
    node = start_node()
    broker = rabbitmq.Broker(node.url, failures=2, cooldown="300ms", backoff=("20ms", "100ms"))
    orders, bills = rabbitmq.queue("orders", broker=broker), rabbitmq.queue("bills", broker=broker)
    async with running(Pipeline("shop", orders | bills)) as shop:
        await until(shop.health, lambda found: found.ready)
        await asyncio.to_thread(node.kill)
        found = await until(shop.health, lambda found: says(found, "circuit breaker is", "next is made in"))
        assert not found.live and not found.ready
        assert says(found, "rabbitmq:orders: not connected: the broker at amqp://guest@127.0.0.1:", "cannot be reached")
        assert says(found, "rabbitmq:bills: not connected")
        await asyncio.to_thread(node.restart)
        found = await until(shop.health, lambda found: found.ready)
        assert found.live and found.reconnects == 2


@looped
async def test_a_memory_alarm_makes_it_not_ready(start_node: Callable[..., Node]) -> None:
    node = start_node()
    broker = rabbitmq.Broker(node.url)
    orders, bills = rabbitmq.queue("orders", broker=broker), rabbitmq.queue("bills", broker=broker)
    await publish(orders, 50)
    gate = Gate()
    async with running(Pipeline("shop", orders | map(gate) | bills, credit=10, shutdown="5s")) as shop:
        await until(shop.health, lambda found: found.ready)
        await asyncio.to_thread(node.alarm, True)
        gate.open.set()
        found = await until(
            shop.health, lambda found: says(found, "rabbitmq:bills: the broker takes no messages (", "memory")
        )
        assert found.live and not found.ready and found.unconfirmed > 0
        # What cannot go out fills the credit, and a restart would not help.
        ask = functools.partial(shop.health, "200ms")
        found = await until(ask, lambda found: says(found, "none was settled for", "as a broker takes no messages"))
        assert found.live
        await asyncio.to_thread(node.alarm, False)
        found = await until(shop.health, lambda found: found.ready and of(found, "bills").depth == 50)
        assert found.live


@looped
async def test_a_slow_handler_shows_in_depth_rates_and_drain_time(vhost: str) -> None:
    broker = rabbitmq.Broker(vhost)
    orders, bills = rabbitmq.queue("orders", broker=broker), rabbitmq.queue("bills", broker=broker)
    await publish(orders, 2000)
    async with running(
        Pipeline("shop", orders | map(Gate(True, pause=0.02), concurrency=4) | bills, credit=20, shutdown="5s")
    ) as shop:
        await until(shop.health, lambda found: of(found, "bills").depth)
        begun = asyncio.get_running_loop().time()
        before = of(await shop.health(), "orders")
        found = await until(shop.health, lambda found: (of(found, "bills").depth or 0) >= 300)
        passed = asyncio.get_running_loop().time() - begun
        seen, out = of(found, "orders"), of(found, "bills")
        assert (
            seen.depth is not None and seen.unacked is not None and before.depth is not None and before.unacked is not None
        )
        assert seen.unacked <= 20 and seen.consumers == 1
        assert 0 <= seen.depth + seen.unacked + (out.depth or 0) - 2000 <= 20
        rate = (before.depth + before.unacked - seen.depth - seen.unacked) / passed
        assert seen.acknowledged == pytest.approx(rate, rel=0.3)
        assert seen.delivered == pytest.approx(rate, rel=0.3)
        assert seen.growth == pytest.approx(-rate, rel=0.3)
        assert seen.published == pytest.approx(0, abs=0.2 * rate)
        assert seen.drain == pytest.approx((seen.depth + seen.unacked) / rate, rel=0.3)
        assert out.growth == pytest.approx(rate, rel=0.3) and out.drain is None


@looped
async def test_a_queue_that_is_too_busy_to_answer_is_as_it_was(rabbitmq_each: Node) -> None:
    names = '{registered_name, N} <- [process_info(P, registered_name)], lists:suffix("_busy", atom_to_list(N))'

    async def each(what: str) -> str:
        return await asyncio.to_thread(rabbitmq_each.eval, f"[sys:{what}(P) || P <- processes(), {names}].")

    with rabbitmq_each.vhost() as url:
        busy, gate = rabbitmq.queue("busy", broker=rabbitmq.Broker(url)), Gate()
        await publish(busy, 30)
        async with running(Pipeline("shop", busy | map(gate) | memory.into([]), credit=10, shutdown="5s")) as shop:
            await until(shop.health, lambda found: found.ready and of(found, "busy").depth in HELD)
            assert "ok" in await each("suspend")
            try:
                found = await shop.health()
                assert found.live and of(found, "busy").depth in HELD and of(found, "busy").consumers
            finally:
                await each("resume")
            gate.open.set()
            await until(shop.health, lambda found: found.live and of(found, "busy").unacked == 0)


@looped
async def test_a_used_up_credit_makes_it_not_ready_and_a_stuck_handler_not_live(vhost: str) -> None:
    broker = rabbitmq.Broker(vhost)
    orders, bills = rabbitmq.queue("orders", broker=broker), rabbitmq.queue("bills", broker=broker)
    await publish(orders, 30)
    gate = Gate()
    async with running(Pipeline("shop", orders | map(gate) | bills, credit=10, shutdown="5s")) as shop:
        await until(shop.health, lambda found: found.ready and of(found, "orders").depth in HELD)
        assert (await shop.health("1m")).live
        found = await until(functools.partial(shop.health, "300ms"), lambda found: not found.live)
        assert says(found, "message(s) wait in queue 'orders' and none was settled for", "a step or a sink is stuck")
        assert says(found, "rabbitmq:orders: the credit of 10 has been used up for")
        gate.open.set()
        found = await until(functools.partial(shop.health, "300ms"), lambda found: found.ready)
        assert found.live


@looped
async def test_a_cancelled_consumer_makes_it_not_live_until_it_is_registered_again(vhost: str) -> None:
    broker = rabbitmq.Broker(vhost)
    orders, bills = rabbitmq.queue("orders", broker=broker), rabbitmq.queue("bills", broker=broker)
    await publish(orders, 30)
    gate = Gate()
    async with running(Pipeline("shop", orders | map(gate) | bills, credit=10, shutdown="5s")) as shop:
        await until(shop.health, lambda found: found.ready and of(found, "orders").depth in HELD)
        # With its credit used up it reads no more, and so does not notice before messages are settled.
        await delete("orders", broker=broker)
        found = await until(shop.health, lambda found: not found.live)
        assert says(found, "queue 'orders' is not there")
        await publish(orders, 1)
        found = await until(shop.health, lambda found: says(found, "no consumer is registered at queue 'orders'"))
        assert not found.live
        gate.open.set()
        found = await until(shop.health, lambda found: found.live)
        assert of(found, "orders").consumers == 1


@looped
async def test_a_half_open_connection_makes_it_not_live_within_three_heartbeats(
    rabbitmq_43: Node, start_proxy: Callable[[int], Proxy]
) -> None:
    heartbeat = 1.0
    proxy = start_proxy(rabbitmq_43.amqp_port)
    with rabbitmq_43.vhost() as url:
        broker = rabbitmq.Broker(proxy.url(url), heartbeat=heartbeat, handshake="1s", backoff=("20ms", "100ms"))
        orders, bills = rabbitmq.queue("orders", broker=broker), rabbitmq.queue("bills", broker=broker)
        async with running(Pipeline("shop", orders | bills)) as shop:
            await until(shop.health, lambda found: found.ready)
            await asyncio.to_thread(proxy.stall)
            begun = asyncio.get_running_loop().time()
            found = await until(shop.health, lambda found: not found.live)
            assert asyncio.get_running_loop().time() - begun < 3 * heartbeat + 0.5
            assert says(found, "not connected")
            await asyncio.to_thread(proxy.cut)
            await asyncio.to_thread(proxy.flow)
            assert (await until(shop.health, lambda found: found.ready)).live


@looped
async def test_a_broker_that_sends_nothing_though_there_is_room_is_told(vhost: str) -> None:
    broker = rabbitmq.Broker(vhost)
    single = rabbitmq.queue("orders", broker=broker, single_active=True, max_deliveries=None)
    async with opened(single, credit=2):
        await publish(single, 5)
        # A second consumer gets nothing while the first is there. Where that is known, it is no fault.
        for queue, live in ((single, True), (rabbitmq.queue("orders", broker=broker, passive=True), False)):
            async with running(Pipeline("shop", queue | rabbitmq.queue("bills", broker=broker))) as shop:
                await until(shop.health, lambda found: found.ready)
                found = await until(functools.partial(shop.health, "300ms"), lambda found, live=live: found.live is live)
                assert live or says(found, "3 message(s) wait in queue 'orders' and none has come for", "there is room")


@looped
async def test_the_management_api_gives_what_others_hold_and_all_rates(start_node: Callable[..., Node]) -> None:
    node = start_node(plugins=("rabbitmq_management",), config={"collect_statistics_interval": 500})
    api = f"http://guest:guest@127.0.0.1:{node.management_port}"
    plain, broker = rabbitmq.Broker(node.url), rabbitmq.Broker(node.url, management=api)
    # Without a limit of deliveries, it reads ahead from the beginning.
    orders = rabbitmq.queue("orders", broker=plain, max_deliveries=None)
    async with opened(orders, credit=7):
        await publish(orders, 40)
        told = await health("orders", broker=plain, over="0s")
        assert (told.live, of(told, "orders").depth, of(told, "orders").unacked) == (True, 33, None)
        ask = functools.partial(health, "orders", broker=broker, over="100ms")
        found = await until(
            ask, lambda found: of(found, "orders").unacked == 7 and of(found, "orders").published is not None
        )
        assert found.live and found.reasons == () and of(found, "orders").consumers == 1
        # Without a login in its address, the broker's own is used; a pipeline's source asks too where others consume.
        broker = rabbitmq.Broker(node.url, management=f"http://127.0.0.1:{node.management_port}")
        gate = Gate()
        flow = rabbitmq.queue("orders", broker=broker) | map(gate) | rabbitmq.queue("bills", broker=plain)
        async with running(Pipeline("shop", flow, credit=5, shutdown="5s")) as shop:
            await until(shop.health, lambda found: of(found, "orders").unacked in (12, 13))
            gate.open.set()


@looped
async def test_queues_are_judged_by_name(vhost: str) -> None:
    broker = rabbitmq.Broker(vhost, management=f"http://guest:s3cret@127.0.0.1:{free_port()}")
    await publish(rabbitmq.queue("orders", broker=broker), 3)
    found = await health("orders", "nowhere", broker=broker, over="0s")
    assert not found.live and not found.ready
    assert says(found, "queue 'orders' has 3 message(s) waiting and no consumer")
    assert says(found, "queue 'nowhere' is not there")
    assert says(found, "the management API at http://127.0.0.1:", "cannot be asked") and not says(found, "s3cret")
    assert of(found, "orders").depth == 3 and of(found, "nowhere") == QueueHealth(name="nowhere")


@looped
async def test_a_queue_that_grows_has_no_drain_time(vhost: str) -> None:
    broker = rabbitmq.Broker(vhost)
    orders = rabbitmq.queue("orders", broker=broker)
    await publish(orders, 1)
    asking = asyncio.ensure_future(health("orders", broker=broker, over="1s"))
    await publish(orders, 100)
    found = of(await asking, "orders")
    assert found.drain is None and (found.growth or 0) >= 0
    assert Link.here() == []


@looped
async def test_a_broker_that_is_not_there_is_a_reason() -> None:
    broker = rabbitmq.Broker(f"amqp://me:s3cret@127.0.0.1:{free_port()}", patience="1ms")
    found = await health("orders", broker=broker)
    assert (found.live, found.ready, len(found.reasons)) == (False, False, 1)
    assert says(found, "cannot be reached") and not says(found, "s3cret")


@looped
async def test_a_connection_has_a_health_of_its_own(vhost: str) -> None:
    link = Link.acquire(rabbitmq.Broker(vhost), "publish")
    try:
        assert link_health(link).reasons == ("not connected: the connection is being made",)
        await link.session()
        assert link_health(link) == Health(name="rabbitmq (publish)")
    finally:
        await link.release()
