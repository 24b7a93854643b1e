"""Connections that are lost and come back, move to another broker and return, are blocked, and end when they are told to."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import secrets
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.brokers.model import ModelBroker, Schedule, play
from tests.brokers.proxy import Proxy
from tests.brokers.rabbitmq import Cluster, Node
from tests.connectors.rabbitmq import fake
from tests.connectors.rabbitmq.hands import broker, drain, eventually, opened, run, take, write
from warren import Pipeline
from warren.connectors import memory, rabbitmq
from warren.connectors.conformance.kit import bodies_of, handles_of
from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq import lane as lanes
from warren.connectors.rabbitmq import session as sessions
from warren.connectors.rabbitmq.broker import servers
from warren.connectors.rabbitmq.link import Link
from warren.connectors.rabbitmq.port import Port
from warren.core.breaker import State
from warren.core.errors import BrokerError, ShutdownError
from warren.core.message import Outgoing
from warren.operators import map

LANES = pytest.mark.parametrize("lane", [True, False], ids=["lane", "plain"])

RECONNECTS = int(os.environ.get("WARREN_RECONNECTS", "30"))
"""How often the soak reconnects; a chaos run asks for 200."""


@pytest.fixture
def name() -> str:
    """One that no queue has yet, as a broker that is not ours gives no vhost of our own."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def proxied(vhost: str, start_proxy: Callable[[int], Proxy]) -> tuple[Proxy, str]:
    """A proxy before a broker, and the address of a vhost through it."""
    (server,) = servers(vhost)
    if server.host not in ("127.0.0.1", "localhost"):
        pytest.skip(f"The proxy leads to ports of this machine, and the broker that WARREN_AMQP_URL names is at {server}.")
    proxy = start_proxy(server.port)
    return proxy, proxy.url(server.url)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Without what the tests' own log keeps, where memory is measured."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def until(condition: Callable[[], object], patience: float = 30.0) -> None:
    async def met() -> bool:
        return bool(condition())

    await eventually(met, patience)


async def acknowledged(source: Any, count: int) -> list[bytes]:
    got = await take(source, count)
    await source.acknowledge(handles_of(got))
    return bodies_of(got)


async def comes(source: Any, body: bytes) -> bool:
    """Receive until a message comes; others may come again, as their acknowledgement was lost with the connection."""
    while body not in await acknowledged(source, 1):
        pass
    return True


# Lost and found


@LANES
def test_a_connection_that_is_cut_comes_back(proxied: tuple[Proxy, str], name: str, lane: bool) -> None:
    proxy, url = proxied

    async def main() -> None:
        queue = rabbitmq.queue(name, broker=broker(url, lane=lane))
        async with opened(queue, credit=10) as source, opened(queue) as sink:
            for turn in range(4):
                await sink.write(Outgoing([b"%d" % turn]))
                assert await comes(source, b"%d" % turn)
                proxy.cut(reset=turn % 2 == 0)
            await sink.write(Outgoing([b"last"]))
            assert await comes(source, b"last")
            assert (source.source.link.reconnects, sink.sink.publisher.link.reconnects) == (4, 4)

    run(main)


@LANES
def test_what_was_not_acknowledged_comes_again(proxied: tuple[Proxy, str], name: str, lane: bool) -> None:
    proxy, url = proxied

    async def main() -> None:
        queue = rabbitmq.queue(name, broker=broker(url, lane=lane))
        await write(queue, *(b"%d" % i for i in range(10)))
        async with opened(queue, credit=10) as source:
            got = await take(source, 10)
            await source.acknowledge(handles_of(got[:5]))
            proxy.cut(reset=False)
            missing = set(bodies_of(got[5:]))
            while missing:
                again = await take(source, 1)
                # Acknowledging by what a lost channel gave does nothing.
                await source.acknowledge(handles_of(got))
                await source.acknowledge(handles_of(again))
                missing -= set(bodies_of(again))

    run(main)


@LANES
def test_a_half_open_connection_is_noticed_within_three_heartbeats(
    proxied: tuple[Proxy, str], name: str, lane: bool
) -> None:
    proxy, url = proxied

    async def main() -> None:
        queue = rabbitmq.queue(name, broker=broker(url, lane=lane, heartbeat="1s", handshake="500ms"))
        async with opened(queue, credit=10) as source, opened(queue) as sink:
            await sink.write(Outgoing([b"1"]))
            assert await comes(source, b"1")
            both = (source.source.link, sink.sink.publisher.link)
            before = [link._session for link in both]
            proxy.stall()
            start = time.monotonic()
            receiving = asyncio.ensure_future(comes(source, b"2"))
            writing = asyncio.ensure_future(sink.write(Outgoing([b"2"])))
            await until(lambda: not any(session.alive for session in before))
            assert time.monotonic() - start < 3.5
            assert all("nothing came for" in session.reason for session in before)
            await until(lambda: all(link.last_error is not None for link in both))
            proxy.flow()
            await writing
            assert await receiving

    run(main)


@LANES
def test_without_the_clients_extension_point_it_works_too(
    proxied: tuple[Proxy, str], name: str, monkeypatch: pytest.MonkeyPatch, lane: bool
) -> None:
    monkeypatch.setattr(sessions, "_seam", lambda: None)
    proxy, url = proxied

    async def main() -> None:
        queue = rabbitmq.queue(name, broker=broker(url, lane=lane))
        async with opened(queue, credit=10) as source, opened(queue) as sink:
            await sink.write(Outgoing([b"1", b"2"]))
            assert await acknowledged(source, 2) == [b"1", b"2"]
            proxy.cut()
            await sink.write(Outgoing([b"3"]))
            assert await comes(source, b"3")

    run(main)


def alive(*kinds: str) -> dict[str, int]:
    """How many objects of classes of these names there are."""
    gc.collect()
    counts = dict.fromkeys(kinds, 0)
    for each in gc.get_objects():
        if (kind := type(each).__name__) in counts:
            counts[kind] += 1
    return counts


KINDS = ("Session", "Lane", "Plain", "LaneProtocol", "Channel", "Connection", "StreamReader", "Task", "FutureStore")


@LANES
@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_reconnecting_leaves_nothing_behind(proxied: tuple[Proxy, str], name: str, lane: bool) -> None:
    proxy, url = proxied

    async def main() -> None:
        there = broker(url, lane=lane, backoff=("1ms", "5ms"))
        queue = rabbitmq.queue(name, broker=there)
        async with opened(queue, credit=50) as source, opened(queue) as sink:

            async def once(turn: int) -> None:
                proxy.cut(reset=turn % 2 == 0)
                await sink.write(Outgoing([b"%d" % turn]))
                await comes(source, b"%d" % turn)

            def more() -> dict[str, int]:
                return {kind: count - before[kind] for kind, count in alive(*KINDS).items() if count > before[kind]}

            async def memory_used() -> int:
                await until(lambda: proxy.open == 2)
                # Python remembers where it found attributes, each time anew for names that are put together.
                getattr(sys, "_clear_internal_caches", sys._clear_type_cache)()
                gc.collect()
                return tracemalloc.get_traced_memory()[0]

            for turn in range(5):
                await once(turn)
            tracemalloc.start()
            try:
                for turn in range(5, 10):
                    await once(turn)
                first, before = await memory_used(), alive(*KINDS)
                half = (10 + RECONNECTS) // 2
                for turn in range(10, half):
                    await once(turn)
                middle = await memory_used()
                for turn in range(half, RECONNECTS):
                    await once(turn)
                last = await memory_used()
            finally:
                tracemalloc.stop()
            # What is on its way out may take a while.
            await until(lambda: not more())
            # What is loaded once, such as the lines of a file for a traceback, comes in one half; what leaks comes in both.
            assert min(middle - first, last - middle) < 40_000
            for link in (source.source.link, sink.sink.publisher.link):
                assert link.reconnects == RECONNECTS
                assert len(link._session.ports) == 1
                assert len(link._session.transport.channels) == 1

    run(main, patience=60 + RECONNECTS)


def test_lost_channels_are_forgotten(vhost: str, name: str) -> None:
    async def main() -> None:
        link = Link.acquire(broker(vhost), "consume")
        try:
            ports: list[Port] = [await link.port() for _ in range(3)]
            for port in ports:
                await port.close()
            kept = await link.port()
            assert link._session is not None
            assert link._session.ports == {kept}
            assert link._session.protocol is not None
            assert len(link._session.protocol.lanes) == 1
        finally:
            await link.release()

    run(main)


def test_links_are_shared_between_those_who_want_the_same(vhost: str) -> None:
    async def main() -> None:
        one, other = broker(vhost, connections=2), broker(vhost, connections=2)
        links = [Link.acquire(one, "publish") for _ in range(3)] + [Link.acquire(other, "publish")]
        consuming = Link.acquire(one, "consume")
        assert len({id(link) for link in links}) == 2
        assert [link.users for link in links] == [2, 2, 2, 2]
        assert consuming not in links
        session = await links[0].session()
        await asyncio.gather(*(link.release() for link in (*links, consuming)))
        assert not session.alive
        assert one not in {link.broker for link in Link.here()}
        with pytest.raises(ConnectionError, match="closed here"):
            await links[0].session()

    run(main)


# Several brokers


@LANES
def test_it_moves_to_the_next_address_and_back(proxied: tuple[Proxy, str], name: str, vhost: str, lane: bool) -> None:
    proxy, url = proxied

    async def main() -> None:
        queue = rabbitmq.queue(name, broker=broker([url, vhost], lane=lane, back="100ms"))
        async with opened(queue, credit=10) as source, opened(queue) as sink:
            both = (source.source.link, sink.sink.publisher.link)
            preferred, second = queue.broker.servers
            assert [link.server for link in both] == [preferred, preferred]
            proxy.refuse()
            proxy.cut()
            await sink.write(Outgoing([b"1"]))
            assert await comes(source, b"1")
            assert [link.server for link in both] == [second, second]
            proxy.accept()
            await until(lambda: [link.server for link in both] == [preferred, preferred])
            await sink.write(Outgoing([b"2"]))
            assert await comes(source, b"2")

    run(main)


def test_it_stays_where_it_is_when_told_so(proxied: tuple[Proxy, str], name: str, vhost: str) -> None:
    proxy, url = proxied

    async def main() -> None:
        proxy.refuse()
        queue = rabbitmq.queue(name, broker=broker([url, vhost], back=None))
        async with opened(queue) as sink:
            proxy.accept()
            link = sink.sink.publisher.link
            assert link.server == queue.broker.servers[1]
            assert link._returning is None

    run(main)


@pytest.mark.slow
@LANES
def test_two_brokers_one_after_the_other(start_node: Callable[..., Node], lane: bool) -> None:
    one, two = start_node("4.0"), start_node("3.10")

    async def main() -> None:
        queue = rabbitmq.queue("q", broker=broker([one.url, two.url], lane=lane, back="200ms"))
        async with opened(queue, credit=10) as source, opened(queue) as sink:
            await sink.write(Outgoing([b"1"]))
            assert await comes(source, b"1")
            # An older node that is killed within a second of a declaration does not get over it.
            await asyncio.to_thread(one.eval, "[ok = dets:sync(T) || T <- dets:all()].")
            await asyncio.to_thread(one.kill)
            # The other one knows nothing of the queue: it is declared there.
            await sink.write(Outgoing([b"2"]))
            assert await comes(source, b"2")
            assert source.source.link.server_version[:2] == (3, 10)
            await asyncio.to_thread(one.start)
            await until(lambda: source.source.link.server_version[:2] == (4, 0))
            await until(lambda: sink.sink.publisher.link.server_version[:2] == (4, 0))
            await sink.write(Outgoing([b"3"]))
            assert await comes(source, b"3")

    run(main, patience=120)


@pytest.mark.slow
@LANES
def test_one_of_three_is_killed(start_cluster: Callable[..., Cluster], rabbitmq_version: str, lane: bool) -> None:
    # What consumers on the killed node held comes back after that time; older versions give it back at once.
    soon = {"consumer_disconnected_timeout": 1000} if rabbitmq_version == "4.3" else {}
    cluster = start_cluster(rabbitmq_version, config=soon)
    count = 3000

    async def main() -> None:
        there = broker(cluster.urls, lane=lane)
        source, out = rabbitmq.queue("in", int, broker=there), rabbitmq.queue("out", int, broker=there)
        await write(source)
        running = Pipeline("move", source | map(lambda value: value) | out).start()
        async with opened(source) as sink, opened(out, credit=1000) as read:
            got: set[bytes] = set()

            async def publish() -> None:
                for start in range(0, count, 100):
                    await sink.write(Outgoing(range(start, start + 100)))

            async def receive() -> None:
                while len(got) < count:
                    got.update(await acknowledged(read, 1))

            publishing, receiving = asyncio.ensure_future(publish()), asyncio.ensure_future(receive())
            await until(lambda: len(got) > 200)
            await asyncio.to_thread(cluster.nodes[0].kill)
            await publishing
            await receiving
            assert source.broker.servers[0] != sink.sink.publisher.link.server
        assert got == {b"%d" % i for i in range(count)}
        running.stop()
        await running

    run(main, patience=120)


# While nobody answers


def test_the_breaker_opens_and_closes_and_says_so(proxied: tuple[Proxy, str], name: str) -> None:
    proxy, url = proxied

    async def main() -> None:
        there = broker(url, failures=3, cooldown="200ms", backoff=("10ms", "20ms"))
        async with opened(rabbitmq.queue(name, broker=there)) as sink:
            link = sink.sink.publisher.link
            states: list[State] = []
            link.on_breaker = states.append
            assert (link.breaker.state, link.last_error) == ("closed", None)
            proxy.refuse()
            proxy.cut()
            writing = asyncio.ensure_future(sink.write(Outgoing([b"1"])))
            await until(lambda: states.count("open") == 2)
            assert (link.breaker.state, link.connected, link.server) == ("open", False, None)
            assert "cannot be reached" in str(link.last_error)
            proxy.accept()
            await writing
            assert states[:3] == ["open", "half-open", "open"] and states[-2:] == ["half-open", "closed"]
            assert (link.breaker.state, link.last_error, link.connected) == ("closed", None, True)

    run(main)


@LANES
@pytest.mark.usefixtures("quiet")
def test_what_waits_for_a_broker_is_bounded(proxied: tuple[Proxy, str], name: str, lane: bool) -> None:
    """A pipeline takes no more from its source than its credit, however long nothing can be written."""
    proxy, url = proxied
    count, credit = 5000, 100

    async def main() -> None:
        memory_broker = memory.Broker()
        source = memory.queue("in", broker=memory_broker)
        async with opened(source) as fill:
            await fill.write(Outgoing([b"%d" % i for i in range(count)]))
        there = broker(url, lane=lane, backoff=("10ms", "50ms"))
        out = rabbitmq.queue(name, broker=there)
        running = Pipeline(name, source | out, credit=credit).start()
        await until(lambda: any(link.connected for link in Link.here()))
        proxy.refuse()
        proxy.cut()
        (link,) = Link.here()
        attempts = link.breaker
        await until(lambda: link.last_error is not None)
        until_opened: list[State] = []
        link.on_breaker = until_opened.append
        link.breaker.cooldown = 0.05
        # What is loaded and cached on the first failures is not what grows.
        await until(lambda: until_opened.count("open") >= 3)
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        await until(lambda: until_opened.count("open") >= 13)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert running.in_flight <= credit
        assert after - before < 200_000
        assert attempts.state != "closed"
        proxy.accept()
        async with opened(out, credit=1000) as read:
            got: set[bytes] = set()
            while len(got) < count:
                got.update(await acknowledged(read, 1))
        running.stop()
        await running

    run(main)


@LANES
def test_writes_wait_while_the_broker_is_away(proxied: tuple[Proxy, str], name: str, lane: bool) -> None:
    proxy, url = proxied

    async def main() -> None:
        queue = rabbitmq.queue(name, broker=broker(url, lane=lane))
        async with opened(queue) as sink:
            proxy.refuse()
            proxy.cut()
            writes = [asyncio.ensure_future(sink.write(Outgoing([b"%d" % i]))) for i in range(20)]
            await until(lambda: sink.sink.publisher.link.last_error is not None)
            assert not any(each.done() for each in writes)
            proxy.accept()
            await asyncio.gather(*writes)
        assert {each.body for each in await drain(queue)} == {b"%d" % i for i in range(20)}

    run(main)


def test_a_password_that_no_longer_holds_is_told_and_tried_again(rabbitmq_43: Node) -> None:
    async def main(url: str, vhost: str) -> None:
        user = f"user-{vhost}"
        address = rabbitmq_43.add_user(user, "old", vhost=vhost)
        queue = rabbitmq.queue("q", broker=broker(address, backoff=("20ms", "50ms"), cooldown="100ms"))
        async with opened(queue) as sink:
            link = sink.sink.publisher.link
            rabbitmq_43.api("PUT", f"users/{user}", {"password": "new", "tags": ""})
            link._session.protocol.transport.abort()
            writing = asyncio.ensure_future(sink.write(Outgoing([b"1"])))
            await until(lambda: link.breaker.state == "open")
            assert str(link.last_error).endswith(f"refused user '{user}': check user and password")
            assert not writing.done()
            rabbitmq_43.api("PUT", f"users/{user}", {"password": "old", "tags": ""})
            await writing
            assert link.last_error is None
        assert bodies_of(await drain(queue)) == [b"1"]

    with rabbitmq_43.vhost() as url:
        run(lambda: main(url, url.rsplit("/", 1)[1]))


# Stopping


async def ended(running: Any, within: float) -> float:
    start = time.monotonic()
    running.stop()
    async with asyncio.timeout(within):
        await running
    return time.monotonic() - start


@LANES
def test_stopping_while_the_broker_is_away(proxied: tuple[Proxy, str], name: str, lane: bool) -> None:
    proxy, url = proxied

    async def main() -> None:
        there = broker(url, lane=lane)
        queue = rabbitmq.queue(name, broker=there)
        out: list[Any] = []
        await write(queue, b"1")
        running = Pipeline(name, queue | memory.into(out)).start()
        await until(lambda: out)
        proxy.refuse()
        proxy.cut()
        (link,) = [each for each in Link.here() if each.role == "consume"]
        await until(lambda: link.last_error is not None)
        assert await ended(running, 5) < 2
        assert Link.here() == []

    run(main)


@LANES
@pytest.mark.parametrize("how", ["refused", "stalled"])
def test_stopping_while_what_is_in_flight_cannot_be_written(
    proxied: tuple[Proxy, str], name: str, lane: bool, how: str
) -> None:
    """What is in flight goes back at the deadline, and comes again."""
    proxy, url = proxied

    async def main() -> None:
        source = memory.queue("in", broker=memory.Broker())
        async with opened(source) as fill:
            await fill.write(Outgoing([b"1", b"2", b"3"]))
        out = rabbitmq.queue(name, broker=broker(url, lane=lane))
        async with opened(out):
            pass
        hold = asyncio.Event()

        async def held(value: bytes) -> bytes:
            await hold.wait()
            return value

        running = Pipeline(name, source | map(held, concurrency=3) | out, shutdown="500ms").start()
        await until(lambda: running.in_flight == 3)
        if how == "refused":
            proxy.refuse()
            proxy.cut()
        else:
            proxy.stall()
        hold.set()
        with pytest.raises(ShutdownError, match=r"3 message\(s\) were still in flight after 0.5 s"):
            await ended(running, 10)
        assert Link.here() == []
        assert {each.body for each in await drain(source)} == {b"1", b"2", b"3"}
        proxy.cut()

    start = time.monotonic()
    run(main)
    assert time.monotonic() - start < 10


@LANES
@pytest.mark.parametrize("talk", [fake.silent, fake.absent])
def test_stopping_while_the_first_connection_is_being_made(talk: fake.Talk, lane: bool) -> None:
    async def main() -> None:
        async with fake.serving(talk) as server:
            there = broker(server.url, lane=lane, patience="60s", handshake="60s")
            flow = rabbitmq.queue("in", broker=there) | rabbitmq.queue("out", broker=there)
            running = Pipeline("p", flow).start()
            await until(lambda: server.connections)
            assert await ended(running, 5) < 2
            assert Link.here() == []
            await until(lambda: len(asyncio.all_tasks()) <= 2)

    run(main)


def test_closing_a_source_ends_its_wait(proxied: tuple[Proxy, str], name: str) -> None:
    proxy, url = proxied

    async def main() -> None:
        queue = rabbitmq.queue(name, broker=broker(url))
        source = await queue.open_ahead(10)
        proxy.refuse()
        proxy.cut()
        receiving = asyncio.ensure_future(source.receive(1))
        await until(lambda: source.source.link.last_error is not None)
        async with asyncio.timeout(3):
            await source.close()
            assert await receiving is None

    run(main)


# Blocked by the broker


@pytest.mark.slow
@LANES
def test_a_memory_alarm_stops_publishers_and_not_consumers(start_node: Callable[..., Node], lane: bool) -> None:
    node = start_node()

    async def main() -> None:
        there = broker(node.url, lane=lane, heartbeat="1s")
        queue = rabbitmq.queue("q", broker=there)
        async with opened(queue, credit=5) as source, opened(queue) as sink:
            await sink.write(Outgoing([b"%d" % i for i in range(20)]))
            await asyncio.to_thread(node.alarm, True)
            link = sink.sink.publisher.link
            writing = asyncio.ensure_future(sink.write(Outgoing([b"late"])))
            await until(lambda: link.blocked is not None)
            assert link.blocked == "low on memory"
            # Consumers go on, over a connection of their own, with the heartbeats of both alive.
            seen = [body for _ in range(20) for body in await acknowledged(source, 1)]
            assert seen == [b"%d" % i for i in range(20)]
            start = asyncio.get_running_loop().time()
            await until(lambda: asyncio.get_running_loop().time() - start > 3.5)
            assert not writing.done()
            assert (source.source.link.blocked, link.reconnects, source.source.link.reconnects) == (None, 0, 0)
            await asyncio.to_thread(node.alarm, False)
            await writing
            assert link.blocked is None
            assert await comes(source, b"late")

    run(main)


@pytest.mark.slow
def test_stopping_during_a_memory_alarm(start_node: Callable[..., Node]) -> None:
    node = start_node()

    async def main() -> None:
        source, out = rabbitmq.queue("in", broker=broker(node.url)), rabbitmq.queue("out", broker=broker(node.url))
        await write(source, *(b"%d" % i for i in range(10)))
        await write(out, b"before")
        await asyncio.to_thread(node.alarm, True)
        running = Pipeline("p", source | out, shutdown="500ms").start()
        await until(lambda: any(link.blocked for link in Link.here()))
        with pytest.raises(ShutdownError, match="were still in flight"):
            await ended(running, 10)
        await asyncio.to_thread(node.alarm, False)
        got = {each.body for queue in (source, out) for each in await drain(queue)}
        assert got == {b"before", *(b"%d" % i for i in range(10))}

    run(main)


# In a time of its own


def watched(main: Callable[[ModelBroker], Awaitable[None]]) -> None:
    play(main, Schedule.calm())  # type: ignore[arg-type]  # any coroutine will do


@LANES
def test_an_idle_connection_stays(lane: bool) -> None:
    async def main(model: ModelBroker) -> None:
        queue = rabbitmq.queue("q", broker=broker(model.url, lane=lane), kind="classic")
        async with opened(queue, credit=10) as source, opened(queue) as sink:
            for turn in range(5):
                await asyncio.sleep(600)
                await sink.write(Outgoing([b"%d" % turn]))
                assert await comes(source, b"%d" % turn)
            assert (source.source.link.reconnects, sink.sink.publisher.link.reconnects) == (0, 0)

    watched(main)


def test_a_connection_that_is_not_read_on_purpose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "_MOST_AHEAD", 1000)

    async def main(model: ModelBroker) -> None:
        queue = rabbitmq.queue("q", broker=broker(model.url), kind="classic")
        async with opened(queue, credit=100) as source, opened(queue) as sink:
            # In frames of more than one, as only those count that are not whole.
            await sink.write(Outgoing([bytes((i,)) * 200_000 for i in range(50)]))
            await until(lambda: source.source.link._session.protocol.paused)
            await asyncio.sleep(300)
            assert len(await acknowledged(source, 50)) == 50
            assert source.source.link.reconnects == 0

    watched(main)


@LANES
def test_a_silent_broker_is_noticed_in_time(lane: bool) -> None:
    async def main(model: ModelBroker) -> None:
        loop = asyncio.get_running_loop()
        queue = rabbitmq.queue("q", broker=broker(model.url, lane=lane, heartbeat="10s"), kind="classic")
        async with opened(queue, credit=10) as source:
            await asyncio.sleep(100)
            session = source.source.link._session
            for connection in list(model.connections.values()):
                model.stall(connection, 1000)
            start = loop.time()
            await asyncio.wait((session.lost,))
            assert 15 < loop.time() - start < 30

    watched(main)


def test_what_has_lived_for_long_comes_back_at_once_and_what_has_not_slowly() -> None:
    async def main(model: ModelBroker) -> None:
        loop = asyncio.get_running_loop()
        link = Link.acquire(broker(model.url, backoff=("100ms", "10s")), "consume")

        async def again(lived: float) -> float:
            session = await link.session()
            await asyncio.sleep(lived)
            start = loop.time()
            session.protocol.transport.abort()  # type: ignore[union-attr]  # there is one
            await asyncio.wait((session.lost,))
            await link.session()
            return loop.time() - start

        try:
            assert [await again(5) < 0.05 for _ in range(3)] == [True, True, True]
            pauses = [await again(0.01) for _ in range(12)]
            assert pauses[0] < 0.05
            assert 0.5 <= pauses[-1] <= 1.1
            assert sum(pauses) > 4
            assert await again(5) < 0.05
        finally:
            await link.release()

    watched(main)


def test_the_delays_between_attempts_grow_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(model: ModelBroker) -> None:
        loop = asyncio.get_running_loop()
        there = broker(model.url, backoff=("1s", "8s"), failures=100)
        link = Link.acquire(there, "consume")
        times: list[float] = []
        attempt = link.breaker.attempt
        monkeypatch.setattr(link.breaker, "attempt", lambda: (times.append(loop.time()), attempt()))
        try:
            session = await link.session()
            model.crash()
            await asyncio.wait((session.lost,))
            times.clear()
            waiting = asyncio.ensure_future(link.session())
            await asyncio.sleep(60)
            model.start()
            await waiting
        finally:
            await link.release()
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        for pause, longest in zip(pauses, (1, 2, 4, 8, 8, 8, 8), strict=False):
            assert longest / 2 <= pause <= longest + 0.1
        assert len({round(pause, 6) for pause in pauses[3:]}) > 1

    watched(main)


def test_the_first_connection_is_given_up_after_its_patience() -> None:
    async def main(model: ModelBroker) -> None:
        loop = asyncio.get_running_loop()
        model.crash()
        start = loop.time()
        with pytest.raises(BrokerError, match="cannot be reached"):
            await rabbitmq.queue("q", broker=broker(model.url, patience="7s")).open()
        assert 5 < loop.time() - start <= 7.5

    watched(main)


def test_a_busy_process_does_not_give_a_healthy_connection_up() -> None:
    """After a time in which nothing ran, what has come meanwhile is read before anything is judged."""

    async def main(model: ModelBroker) -> None:
        link = Link.acquire(broker(model.url, heartbeat="1s"), "consume")
        try:
            session = await link.session()
            assert session.protocol is not None
            for connection in list(model.connections.values()):
                model.stall(connection, 1000, to_broker=False)
            for _ in range(3):
                await until(lambda: session._doubted)
                session.protocol.data_received(frames.HEARTBEAT)
                await until(lambda: not session._doubted)
                assert session.alive and not session.protocol.transport.is_closing()
            await asyncio.wait((session.lost,))
        finally:
            await link.release()

    watched(main)
