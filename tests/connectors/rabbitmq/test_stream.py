"""Streams on real brokers: read again from anywhere, and on from where the last reader was, whatever happened to it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.brokers.proxy import Proxy
from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import Foreign, broker, drain, eventually, opened, run, take, write
from warren import Pipeline
from warren.connectors import memory, rabbitmq
from warren.connectors.conformance.kit import Got, bodies_of, handles_of, unpack
from warren.connectors.rabbitmq.ends import Look
from warren.connectors.rabbitmq.link import Link
from warren.core.errors import GraphError, StorageError, TopologyError
from warren.operators import exponential, map, retry


@pytest.fixture
def place(rabbitmq_each: Node) -> Iterator[rabbitmq.Broker]:
    """A vhost of this test alone, on each version."""
    with rabbitmq_each.vhost() as url:
        yield broker(url)


@pytest.fixture
def newest(vhost: str) -> rabbitmq.Broker:
    return broker(vhost)


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last)]


async def ends(connection: Any) -> bool:
    async with asyncio.timeout(30):
        return await connection.receive(10) is None


async def settle(connection: Any, got: list[Got]) -> None:
    await connection.acknowledge(handles_of(got))


def test_it_is_read_again_from_the_first_the_last_an_offset_and_a_time(place: rabbitmq.Broker) -> None:
    async def main() -> None:
        def stream(start: Any) -> Any:
            return rabbitmq.stream("s", broker=place, start=start)

        await write(stream("first"), *numbers(0, 50))
        # The broker tells times by whole seconds.
        between = datetime.now(UTC) + timedelta(seconds=1)
        await eventually(lambda: asyncio.sleep(0.02, datetime.now(UTC) >= between + timedelta(seconds=0.2)))
        await write(stream("first"), *numbers(50, 60))
        for start, first in (("first", 0), (0, 0), (17, 17), ("last", 59), (60, 60), (datetime(2000, 1, 1, tzinfo=UTC), 0)):
            assert bodies_of(await drain(stream(start))) == numbers(first, 60), start
        assert bodies_of(await drain(stream(between)))[-10:] == numbers(50, 60)
        assert len(await drain(stream(between))) < 60
        assert await drain(stream(datetime.now(UTC) + timedelta(days=1))) == []

    run(main)


def test_next_is_what_comes_after_opening(place: rabbitmq.Broker) -> None:
    async def main() -> None:
        stream = rabbitmq.stream("s", broker=place, start="next")
        async with opened(stream, until_empty=True) as connection:
            assert await ends(connection)
        await write(stream, b"a")
        async with opened(stream, credit=10, until_empty=True) as connection:
            assert await ends(connection)
            await write(stream, b"b", b"c")
            assert bodies_of(await take(connection, 2)) == [b"b", b"c"]

    run(main)


@pytest.mark.parametrize("start", ["next", "last", datetime(2000, 1, 1, tzinfo=UTC)])
def test_what_comes_while_the_connection_is_lost_is_read(newest: rabbitmq.Broker, start: Any) -> None:
    async def main() -> None:
        with Proxy(newest.servers[0].port) as proxy:
            through = broker(newest.servers[0].url.replace(f":{newest.servers[0].port}/", f":{proxy.port}/"))
            await write(rabbitmq.stream("s", broker=newest))
            async with opened(rabbitmq.stream("s", broker=through, start=start), credit=10) as connection:
                await asyncio.to_thread(proxy.refuse)
                await write(rabbitmq.stream("s", broker=newest), *numbers(0, 5))
                await asyncio.to_thread(proxy.accept)
                assert bodies_of(await take(connection, 5)) == numbers(0, 5)

    run(main)


def test_a_lost_connection_brings_nothing_twice_and_loses_nothing(place: rabbitmq.Broker) -> None:
    async def main() -> None:
        with Proxy(place.servers[0].port) as proxy:
            through = broker(place.servers[0].url.replace(f":{place.servers[0].port}/", f":{proxy.port}/"))
            await write(rabbitmq.stream("s", broker=place), *numbers(0, 3000))
            async with opened(rabbitmq.stream("s", broker=through), credit=200) as connection:
                got: list[Got] = []
                for _ in range(6):
                    got += await take(connection, 400)
                    await settle(connection, got[::2])
                    await asyncio.to_thread(proxy.cut)
                # What was handed out before stays with the pipeline, to be settled or given back.
                await settle(connection, got[1:-1:2])
                await connection.release([got[-1].handle])
                again = await take(connection, 1)
                assert (again[0].handle, again[0].deliveries) == (2399, 2)
                got += await take(connection, 600)
                assert handles_of(got) == list(range(3000))
                assert bodies_of(got) == numbers(0, 3000)
                assert connection.source.unsettled == 601

    run(main)


def test_a_restart_goes_on_behind_what_was_acknowledged(place: rabbitmq.Broker, tmp_path: Path) -> None:
    async def main() -> None:
        def stream(consumer: str) -> Any:
            return rabbitmq.stream("s", broker=place, offsets=tmp_path / "offsets.db", consumer=consumer)

        await write(stream("billing"), *numbers(0, 10))
        async with opened(stream("billing"), credit=100) as connection:
            await settle(connection, (await take(connection, 10))[:4])
        assert bodies_of(await drain(stream("billing"))) == numbers(4, 10)
        assert bodies_of(await drain(stream("shipping"))) == numbers(0, 10), "each consumer has a position of its own"
        assert await drain(stream("billing")) == []
        await write(stream("billing"), b"10")
        assert bodies_of(await drain(stream("billing"))) == [b"10"]

    run(main)


def test_without_a_file_each_start_begins_anew(newest: rabbitmq.Broker) -> None:
    async def main() -> None:
        stream = rabbitmq.stream("s", broker=newest)
        await write(stream, b"a", b"b")
        assert bodies_of(await drain(stream)) == [b"a", b"b"]
        assert bodies_of(await drain(stream)) == [b"a", b"b"]

    run(main)


@pytest.mark.parametrize("start", ["next", "last", 1])
def test_the_first_position_is_kept_too(newest: rabbitmq.Broker, tmp_path: Path, start: Any) -> None:
    async def main() -> None:
        stream = rabbitmq.stream("s", broker=newest, start=start, offsets=tmp_path / "offsets.db")
        await write(stream, *numbers(0, 2))
        async with opened(stream, credit=10):
            pass
        await write(stream, b"2")
        assert bodies_of(await drain(stream)) == (numbers(2, 3) if start == "next" else numbers(1, 3))

    run(main)


def test_a_time_is_no_position_until_something_has_come(newest: rabbitmq.Broker, tmp_path: Path) -> None:
    async def main() -> None:
        def stream(start: Any) -> Any:
            return rabbitmq.stream("s", broker=newest, start=start, offsets=tmp_path / "offsets.db")

        await write(stream("first"), b"a")
        assert await drain(stream(datetime.now(UTC) + timedelta(days=1))) == []
        assert bodies_of(await drain(stream(datetime(2000, 1, 1, tzinfo=UTC)))) == [b"a"]
        assert await drain(stream("first")) == []

    run(main)


def test_what_was_delayed_and_counted_outlives_the_reader(place: rabbitmq.Broker, tmp_path: Path) -> None:
    async def main() -> None:
        stream = rabbitmq.stream("s", broker=place, offsets=tmp_path / "offsets.db")
        await write(stream, *numbers(0, 5))
        async with opened(stream, credit=10) as connection:
            got = await take(connection, 4)
            await connection.release([got[0].handle], delay=3600.0, attempts=2)
            await connection.release([got[1].handle], delay=0.3, attempts=3)
            await settle(connection, got[2:3])
        async with opened(stream, credit=10) as connection:
            assert bodies_of(await take(connection, 3)) == [b"3", b"4", b"1"]
            assert connection.source.unsettled == 4
            database = sqlite3.connect(tmp_path / "offsets.db")
            assert database.execute("SELECT consumer, stream, floor FROM offsets").fetchall() == [("warren", "s", -1)]
            database.close()
        async with opened(stream, credit=10) as connection:
            got = await take(connection, 3)
            assert [(each.body, each.metadata.attempt, each.deliveries) for each in got] == [
                (b"1", 3, 3),
                (b"3", 1, 3),
                (b"4", 1, 2),
            ]

    run(main)


def test_one_reader_of_a_name_at_a_time(newest: rabbitmq.Broker, tmp_path: Path) -> None:
    async def main() -> None:
        stream = rabbitmq.stream("s", broker=newest, offsets=tmp_path / "offsets.db", consumer="billing")
        async with opened(stream, credit=10):
            with pytest.raises(StorageError, match=r"'billing' of stream 's' reads already.*consumer=\.\.\."):
                await stream.open_ahead(10)
        async with opened(stream, credit=10):
            pass

    run(main)
    assert sorted(each.suffix for each in tmp_path.iterdir()) == [".db"], "locks go with their readers"


def test_a_file_that_cannot_be_used_is_a_sentence(newest: rabbitmq.Broker, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "noise.db").write_bytes(b"noise" * 1000)
        with pytest.raises(StorageError, match=r"file of offsets .*noise\.db is damaged"):
            await rabbitmq.stream("s", broker=newest, offsets=tmp_path / "noise.db").open_ahead(10)
        with pytest.raises(StorageError, match=r"the folder .*nowhere does not exist; create it first"):
            await rabbitmq.stream("s", broker=newest, offsets=tmp_path / "nowhere" / "offsets.db").open_ahead(10)

    run(main)


def test_a_stream_that_was_made_anew_is_read_from_its_beginning(
    place: rabbitmq.Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        stream = rabbitmq.stream("s", broker=place, offsets=tmp_path / "offsets.db")
        await write(stream, *numbers(0, 20))
        assert len(await drain(stream)) == 20
        async with Foreign.at(place.servers[0].url) as other:
            await other.delete("s")
        await write(stream, *numbers(0, 5))
        with caplog.at_level(logging.WARNING):
            assert bodies_of(await drain(stream)) == numbers(0, 5)
        assert "stream 's' has no message 19 any more, which was read: it was deleted and made anew" in caplog.text

    run(main)


@pytest.mark.parametrize("at_once", [True, False], ids=["filled", "empty"])
def test_a_stream_that_is_made_anew_while_it_is_read_stops_the_reader(newest: rabbitmq.Broker, at_once: bool) -> None:
    async def main() -> None:
        stream = rabbitmq.stream("s", broker=newest)
        await write(stream, *numbers(0, 20))
        async with opened(stream, credit=100) as connection, Foreign.at(newest.servers[0].url) as other:
            await take(connection, 20)
            await other.delete("s")
            if at_once:
                await write(stream, b"new")
            taking = asyncio.ensure_future(take(connection, 1))
            if not at_once:
                # An empty stream might be the old one, of which all was removed.
                await eventually(lambda: asyncio.sleep(0, connection.source._doubtful and connection.source.consumers))
                await write(stream, b"new")
            with pytest.raises(
                TopologyError, match=r"stream 's' has no message 19 any more.*made anew meanwhile; start again"
            ):
                await taking

    run(main)


def test_a_stream_of_which_all_was_removed_is_still_the_same(newest: rabbitmq.Broker, tmp_path: Path) -> None:
    async def main() -> None:
        small = {"x-max-length-bytes": 20_000, "x-stream-max-segment-size-bytes": 10_000}
        stream = rabbitmq.stream("s", broker=newest, offsets=tmp_path / "offsets.db", arguments=small)
        await write(stream, b"0")
        assert bodies_of(await drain(stream)) == [b"0"]
        count = 1

        async def is_gone() -> bool:
            # A chunk that is larger than all that may be kept goes soon after it is whole, if it fills its file.
            nonlocal count
            await write(stream, *(b"x" * 1000 for _ in range(100)))
            count += 100
            return any([await look.read("first", 1, 0.05) is None for _ in range(20)])

        link = Link.acquire(newest, "consume")
        try:
            look = Look(await link.port(), "s")
            await eventually(is_gone)
        finally:
            await link.release()
        async with opened(stream, credit=10) as connection:
            await eventually(lambda: asyncio.sleep(0, connection.source.consumers))
            await write(stream, b"next")
            (got,) = await take(connection, 1)
            assert got.body == b"next"
            assert isinstance(got.handle, int) and got.handle >= count

    run(main)


def test_what_the_broker_has_removed_holds_nothing_up(newest: rabbitmq.Broker, tmp_path: Path) -> None:
    async def main() -> None:
        small = {"x-max-length-bytes": 20_000, "x-stream-max-segment-size-bytes": 10_000}
        stream = rabbitmq.stream("s", broker=newest, offsets=tmp_path / "offsets.db", arguments=small)
        await write(stream, *(b"%d" % number + b"x" * 1000 for number in range(10)))
        async with opened(stream, credit=10) as connection:
            await settle(connection, await take(connection, 1))

        async def is_gone() -> bool:
            await write(stream, *(b"%d" % number + b"x" * 1000 for number in range(100)))
            async with opened(rabbitmq.stream("s", broker=newest, arguments=small), credit=10) as connection:
                return bool((await take(connection, 1))[0].handle > 50)

        await eventually(is_gone)
        await write(stream, b"last")
        async with opened(stream, credit=10_000, until_empty=True) as connection:
            got = []
            while (batch := await connection.receive(100)) is not None:
                got += batch.handles
                await connection.acknowledge(batch.handles)
            assert got[0] > 50
            assert connection.source._progress.floor == got[-1]

    run(main)


def test_topology_is_checked(place: rabbitmq.Broker) -> None:
    async def main() -> None:
        with pytest.raises(TopologyError, match=r"'s' on .* is not there: create it"):
            await rabbitmq.stream("s", broker=place, passive=True).open_ahead(1)
        await write(rabbitmq.stream("s", broker=place, arguments={"x-max-length-bytes": 5_000_000}))
        with pytest.raises(TopologyError, match=r"x-max-length-bytes=5000000, and this pipeline declares .*=6000000"):
            await rabbitmq.stream("s", broker=place, arguments={"x-max-length-bytes": 6_000_000}).open_ahead(1)
        assert await drain(rabbitmq.stream("s", broker=place, passive=True)) == []
        with pytest.raises(GraphError, match=r"read it with rabbitmq.stream\('s'\)"):
            await rabbitmq.queue("s", broker=place, kind="stream").open_ahead(1)

    run(main)


@pytest.mark.parametrize("start", ["begin", -1, 1.5, None, datetime(2024, 5, 1)])
def test_a_start_that_is_none_is_refused(start: Any) -> None:
    with pytest.raises(GraphError, match=r"rabbitmq.stream\('s', start=.*(in which time zone|there are 'first')"):
        rabbitmq.stream("s", start=start)


def test_health_knows_what_is_still_to_be_read(newest: rabbitmq.Broker) -> None:
    async def main() -> None:
        stream = rabbitmq.stream("s", broker=newest)
        await write(stream, *numbers(0, 2000))
        async with opened(stream, credit=100) as connection:
            await take(connection, 10)
            health = await connection.health(0.0)
            depth, unacked = health.queues[0].depth, health.queues[0].unacked
            assert not health.live
            assert depth and unacked and depth + unacked == 2000
            await take(connection, 1990)
            health = await connection.health(0.0)
            assert (health.live, health.queues[0].depth) == (True, 0), health.reasons

    run(main)


def test_a_pipeline_reads_retries_and_dead_letters(place: rabbitmq.Broker, tmp_path: Path) -> None:
    tried: dict[int, int] = {}

    def handle(number: int) -> int:
        tried[number] = tried.get(number, 0) + 1
        if number % 10 == 3:
            raise ValueError("never")
        if number % 10 == 5 and tried[number] < 3:
            raise ConnectionError("busy")
        return number

    got: list[int] = []
    stream = rabbitmq.stream("s", int, broker=place, offsets=tmp_path / "offsets.db")
    flow = stream | map(handle) | retry(exponential("10ms", attempts=5), on=ConnectionError, park="1ms") | memory.into(got)
    pipeline = Pipeline("p", flow, dead_letters="s.dead")

    async def main() -> None:
        await write(stream, *range(100), b"no number")
        await pipeline.start(until_empty=True)
        assert sorted(got) == [number for number in range(100) if number % 10 != 3]
        letters = await drain(stream.dead_letters("s.dead"))
        assert len(letters) == 11
        got.clear()
        await pipeline.start(until_empty=True)
        assert got == []

    run(main)


async def crash(connection: Any) -> None:
    """What a killed process leaves behind: the file as it is, and its lock gone."""
    offsets, connection.source._offsets = connection.source._offsets, None
    await offsets.close()
    await connection.close()


def test_poison_takes_no_other_messages_along(newest: rabbitmq.Broker, tmp_path: Path) -> None:
    async def main() -> None:
        stream = rabbitmq.stream("s", broker=newest, offsets=tmp_path / "offsets.db", max_deliveries=5)
        await write(stream, *numbers(0, 10))
        counts: dict[bytes, int] = {}

        async def work() -> bool:
            """Handle messages as a pipeline does, until the poison kills the worker; whether it did not."""
            connection = await stream.open_ahead(10, until_empty=True)
            while (batch := await connection.receive(10)) is not None:
                got = unpack(batch)
                counts.update((each.body, each.deliveries) for each in got)
                if any(each.body == b"3" and each.deliveries <= 5 for each in got):
                    await crash(connection)
                    return False
                await settle(connection, got)
            await connection.close()
            return True

        killed = 0
        while not await work():
            killed += 1
        assert killed == 5
        assert counts.pop(b"3") == 6, "the pipeline dead-letters it then"
        assert len(counts) == 9 and max(counts.values()) == 3

    run(main)


def test_a_suspect_that_takes_long_keeps_the_others_waiting_for_a_moment_only(
    newest: rabbitmq.Broker, tmp_path: Path
) -> None:
    async def main() -> None:
        stream = rabbitmq.stream("s", broker=newest, offsets=tmp_path / "offsets.db", max_deliveries=2)
        await write(stream, *numbers(0, 3))
        connection = await stream.open_ahead(2)
        assert len(await take(connection, 3)) == 3
        await crash(connection)
        async with opened(stream, credit=2) as connection:
            sizes = [len(await connection.receive(10)) for _ in range(3)]
            assert sizes == [1, 1, 1]
            assert connection.source.unsettled == 3

    run(main)


WORKER = """
import sys
from warren import Pipeline
from warren.connectors import rabbitmq
from warren.operators import map

url, folder = sys.argv[1:]
broker = rabbitmq.Broker(url)

def tell(body):
    print(body.decode(), flush=True)
    return body

stream = rabbitmq.stream("s", broker=broker, offsets=folder + "/offsets.db")
Pipeline("copy", stream | map(tell) | rabbitmq.queue("out", broker=broker), credit=50).run()
"""


def start_worker(url: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, url, str(folder)],
        env={**os.environ, "PYTHONPATH": "src"},
        stdout=subprocess.PIPE,
    )


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(rabbitmq_each: Node, tmp_path: Path) -> None:
    with rabbitmq_each.vhost() as url:
        place, bodies = broker(url), numbers(0, 2000)
        stream, out = rabbitmq.stream("s", broker=place), rabbitmq.queue("out", broker=place)
        run(lambda: write(stream, *bodies))
        for kill in (1, 100, 300, 2):
            worker = start_worker(url, tmp_path)
            assert worker.stdout is not None
            for _ in range(kill):
                worker.stdout.readline()
            worker.kill()
            worker.communicate()
        worker = start_worker(url, tmp_path)
        assert worker.stdout is not None
        while worker.stdout.readline() != b"1999\n":
            assert worker.poll() is None, "it ended before it had read everything"
        worker.send_signal(signal.SIGTERM)
        worker.communicate()
        assert worker.returncode == 0

        async def main() -> None:
            arrived = bodies_of(await drain(out))
            assert set(arrived) == set(bodies)
            assert len(arrived) < len(bodies) + 4 * 100, "what was acknowledged does not come again"

        run(main)


@pytest.mark.slow
def test_a_broker_that_is_killed_loses_nothing(start_node: Callable[..., Node]) -> None:
    node = start_node()

    async def main() -> None:
        stream = rabbitmq.stream("s", broker=broker(node.url, patience="60s"))
        await write(stream)
        # A node that is killed within a second forgets what was just declared.
        await asyncio.to_thread(node.eval, "[ok = dets:sync(T) || T <- dets:all()].")
        async with opened(stream, credit=500) as connection:
            got: list[Got] = []
            for number in range(2):
                await write(stream, *numbers(number * 1000, number * 1000 + 1000))
                got += await take(connection, 500)
                await asyncio.to_thread(node.restart)
                got += await take(connection, 500)
            assert handles_of(got) == list(range(2000))
            assert bodies_of(got) == numbers(0, 2000)

    run(main, 150.0)
