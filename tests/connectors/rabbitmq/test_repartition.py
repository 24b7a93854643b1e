"""Changing the number of partitions while messages flow: each key keeps its order, and nothing is lost."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from contextlib import AsyncExitStack

import pytest

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.crew import Crew
from tests.connectors.rabbitmq.hands import broker, drain, eventually, opened, run, take, write
from warren.connectors import rabbitmq as connector
from warren.connectors.rabbitmq.plan import Layout
from warren.connectors.rabbitmq.queues import look
from warren.core.errors import BrokerError, GraphError


def keyed(url: str, n: int) -> connector.Partition[bytes]:
    return connector.partition("p", bytes, n=n, by=bytes.decode, broker=broker(url))


@pytest.mark.parametrize("version", ["3.10", "4.3"])
def test_workers_and_writers_go_on_while_the_number_changes(version: str, request: pytest.FixtureRequest) -> None:
    node: Node = request.getfixturevalue(f"rabbitmq_{version.replace('.', '')}")

    async def main() -> None:
        with node.vhost() as url:
            async with Crew.at(url, partitions=3, keys=30) as crew:
                crew.join("a")
                crew.join("b")
                await crew.shared_by("a", "b")
                told: list[str] = []
                await connector.repartition("events", to=5, broker=broker(url), progress=told.append)
                assert told[-1] == "events has 5 partitions now"
                await crew.reached(crew.rounds + 5)
                crew.join("c")
                await crew.reached(crew.rounds + 5)
                await connector.repartition("events", to=2, broker=broker(url))
                await crew.finish()
                for key, numbers in crew.first_times():
                    assert numbers == list(range(crew.rounds)), key
            names = {each["name"] for each in node.api("GET", f"queues/{url.rpartition('/')[2]}")}
            assert {name for name in names if re.fullmatch(r"events\.\d+\.\d+", name)} == {"events.3.0", "events.3.1"}

    run(main, 180)


def test_a_reader_that_starts_later_begins_where_the_others_are(vhost: str) -> None:
    async def main() -> None:
        queue = keyed(vhost, 2)
        await write(queue, b"a", b"b", b"c")
        changing = asyncio.create_task(connector.repartition("p", to=3, broker=broker(vhost)))

        async def led() -> bool:
            return 2 in (await Layout("p", 2, broker(vhost)).plan()).ready

        await eventually(led)
        await write(queue, b"d", b"e")
        got = [each.body for each in await drain(queue)]
        assert sorted(got[:3]) == [b"a", b"b", b"c"]
        assert sorted(got[3:]) == [b"d", b"e"]
        await changing
        await write(keyed(vhost, 2), b"f")
        assert [each.body for each in await drain(keyed(vhost, 7))] == [b"f"]
        assert await look("p.1.0", broker(vhost)) is None
        assert await look("p.2.2", broker(vhost)) is not None

    run(main)


def test_delayed_messages_are_waited_for(vhost: str) -> None:
    async def main() -> None:
        queue = keyed(vhost, 1)
        await write(queue, b"late")
        async with opened(queue, credit=10) as connection:
            got = await take(connection, 1)
            await connection.release([got[0].handle], delay=2.0)
            changing = asyncio.create_task(connector.repartition("p", to=2, broker=broker(vhost)))
            waiting = asyncio.create_task(take(connection, 1))
            again = await waiting
            assert again[0].body == b"late"
            assert not changing.done()
            await connection.acknowledge([again[0].handle])
            reading = asyncio.create_task(take(connection, 1))
            await changing
            await write(queue, b"new")
            assert [each.body for each in await reading] == [b"new"]

    run(main)


def test_a_change_that_was_interrupted_is_taken_up_and_no_other_begun(vhost: str) -> None:
    async def main() -> None:
        queue = keyed(vhost, 2)
        await write(queue, b"a", b"b")
        with pytest.raises(BrokerError, match=r"0 of 2 old partitions are drained, and the time is up; .* again with 3"):
            await connector.repartition("p", to=3, broker=broker(vhost), deadline="2s")
        with pytest.raises(GraphError, match="is being changed to 3 partitions: finish that first"):
            await connector.repartition("p", to=4, broker=broker(vhost))
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(opened(queue, credit=10))
            for each in await take(connection, 2):
                await connection.acknowledge([each.handle])
            reading = asyncio.create_task(take(connection, 1))
            await connector.repartition("p", to=3, broker=broker(vhost), deadline="20s")
            told: list[str] = []
            await connector.repartition("p", to=3, broker=broker(vhost), progress=told.append)
            assert told[-1].startswith("p has 3 partitions")
            await write(queue, b"c")
            assert [each.body for each in await reading] == [b"c"]

    run(main)


def test_what_is_not_there_cannot_be_changed(vhost: str) -> None:
    async def main() -> None:
        with pytest.raises(BrokerError, match=r"partition 'p' is not on .*: start what writes to it or reads it first"):
            await connector.repartition("p", to=3, broker=broker(vhost))
        with pytest.raises(GraphError, match="0 partitions cannot be; give 1 or more"):
            await connector.repartition("p", to=0, broker=broker(vhost))

    run(main)


def test_the_command_tells_how_far_it_is(vhost: str) -> None:
    run(lambda: write(keyed(vhost, 2)))

    async def main() -> str:
        async with opened(keyed(vhost, 2), credit=10) as connection:
            reading = asyncio.create_task(connection.receive(1))
            command = [
                sys.executable,
                "-c",
                "from warren.apps.cli import main; main()",
                "partitions",
                "p",
                "--to",
                "3",
                "--broker",
                vhost,
            ]
            told = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
            reading.cancel()
            return told.stderr

    told = run(main)
    assert "messages go to the new 3 partitions; the old 2 are read to their end" in told
    assert told.endswith("2 of 2 old partitions are drained\np has 3 partitions now\n")
