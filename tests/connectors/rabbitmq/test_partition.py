"""Partitions: order within a key over several workers, who shares them, and what every queue has to keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.crew import Crew, in_order
from tests.connectors.rabbitmq.hands import broker, drain, opened, run, take, write
from warren.connectors import rabbitmq as connector
from warren.connectors.conformance import Conformance
from warren.core.errors import GraphError, TopologyError
from warren.core.message import Metadata, Outgoing


class TestOnePartition(Conformance):
    @pytest.fixture(autouse=True)
    def _vhost(self, vhost: str) -> None:
        self.broker = connector.Broker(vhost)

    def queue(self, name: str) -> connector.Queue[object]:
        if name.endswith(".dead"):
            return connector.queue(name, broker=self.broker)
        return connector.partition(name, broker=self.broker, n=1)

    async def crash(self, connection: object) -> None:
        connection.source.link._session.transport._writer_task.get_coro().cr_frame.f_locals["writer"].transport.abort()  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", ["3.10", "4.3"])
def test_workers_join_leave_and_die_and_each_key_keeps_its_order(version: str, request: pytest.FixtureRequest) -> None:
    node: Node = request.getfixturevalue(f"rabbitmq_{version.replace('.', '')}")

    async def main() -> None:
        with node.vhost() as url:
            async with Crew.at(url, partitions=4, keys=40) as crew:
                crew.join("a")
                await crew.shared_by("a")
                crew.join("b")
                await crew.shared_by("a", "b")
                crew.join("c")
                await crew.shared_by("a", "b", "c")
                await crew.leave("b")
                await crew.shared_by("a", "c")
                assert crew.repeated() == 0
                for _, numbers in crew.first_times():
                    assert in_order(numbers)
                crew.kill("a")
                await crew.shared_by("c")
                await crew.finish()
                for key, numbers in crew.first_times():
                    assert numbers == list(range(crew.rounds)), key

    run(main, 180)


def test_a_key_has_one_partition_whoever_writes(vhost: str) -> None:
    async def main() -> None:
        one = connector.partition("p", bytes, n=4, by=bytes.decode, broker=broker(vhost))
        other = connector.partition("p", bytes, n=9, broker=broker(vhost))
        keys = [b"key-%d" % i for i in range(40)]
        await write(one, *keys)
        async with opened(other) as connection:
            await connection.write(Outgoing(keys, [Metadata(key=key.decode()) for key in keys].__getitem__))
        async with opened(one, credit=1000) as connection:
            got = await take(connection, 80)
            await connection.acknowledge([each.handle for each in got])
        places = {(each.body, each.handle >> 80) for each in got if isinstance(each.handle, int)}
        assert len(places) == 40
        assert {partition for _, partition in places} == {0, 1, 2, 3}
        assert {each.metadata.key for each in got} == {key.decode() for key in keys}
        assert await drain(one) == []

    run(main)


def test_part_of_what_came_from_several_partitions_can_be_settled(vhost: str) -> None:
    async def main() -> None:
        queue = connector.partition("p", bytes, n=3, by=bytes.decode, broker=broker(vhost))
        bodies = [b"%d" % i for i in range(30)]
        await write(queue, *bodies)
        async with opened(queue, credit=100) as connection:
            got = await take(connection, 30)
            await connection.acknowledge([each.handle for each in got[:10]])
            await connection.release([each.handle for each in got[10:20]])
            again = await take(connection, 10)
            assert {each.body for each in again} == {each.body for each in got[10:20]}
            assert {each.deliveries for each in again} == {2}
            await connection.acknowledge([*[each.handle for each in again], "no such handle", 1 << 90])
            health = await connection.health()
            assert health.live
            assert len(health.queues) == 3
        assert {each.body for each in await drain(queue)} == {each.body for each in got[20:]}

    run(main)


def test_a_batch_may_take_the_whole_credit_from_one_partition(vhost: str) -> None:
    async def main() -> None:
        queue = connector.partition("p", bytes, n=4, broker=broker(vhost))
        await write(queue, *[b"same key"] * 100)
        async with opened(queue, credit=100) as connection:
            assert len(await take(connection, 100)) == 100

    run(main)


@pytest.mark.parametrize("hash", ["consistent", "modulus", "slots"])
def test_other_hashes_work_too(hash: Any, rabbitmq_43: Node) -> None:
    async def main() -> None:
        with rabbitmq_43.vhost() as url:
            queue = connector.partition("p", bytes, n=3, by=bytes.decode, hash=hash, broker=broker(url))
            await write(queue, *[b"%d" % i for i in range(30)])
            assert {each.body for each in await drain(queue)} == {b"%d" % i for i in range(30)}
            plan = await connector.partition("p", bytes, n=3, broker=broker(url)).layout.plan()
            assert plan.hash == hash, "who does not name one takes the one that is there"
            other = connector.partition(
                "p", bytes, n=3, hash="slots" if hash == "modulus" else "modulus", broker=broker(url)
            )
            with pytest.raises(TopologyError, match=f"is there with hash='{hash}', and hash=.* leave hash= out"):
                await write(other, b"a")

    run(main)


def test_the_hash_is_the_best_that_the_broker_has(rabbitmq_each: Node) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            queue = connector.partition("p", bytes, n=2, broker=broker(url))
            await write(queue, b"a")
            assert (await queue.layout.plan()).hash == ("modulus" if rabbitmq_each.series == "4.3" else "slots")

    run(main)


@pytest.mark.parametrize(
    ("version", "hash", "plugin"),
    [
        ("3.10", "modulus", "rabbitmq_sharding"),
        ("4.0", "modulus", "rabbitmq_sharding"),
    ],
)
def test_a_broker_without_the_exchange_is_told_with_the_remedy(
    version: str, hash: Any, plugin: str, request: pytest.FixtureRequest
) -> None:
    node: Node = request.getfixturevalue(f"rabbitmq_{version.replace('.', '')}")

    async def main() -> None:
        with node.vhost() as url:
            queue = connector.partition("p", bytes, n=3, hash=hash, broker=broker(url))
            with pytest.raises(TopologyError, match=f"x-{hash}-hash.*rabbitmq-plugins enable {plugin}"):
                await write(queue, b"a")
            with pytest.raises(TopologyError, match=f"x-{hash}-hash.*rabbitmq-plugins enable {plugin}"):
                await drain(queue)

    run(main)


def test_keys_keep_their_partition_over_a_restart(start_node: Callable[..., Node]) -> None:
    node = start_node("3.10")

    async def places() -> dict[bytes, int]:
        queue = connector.partition("p", bytes, n=4, by=bytes.decode, broker=broker(node.url))
        await write(queue, *[b"%d" % i for i in range(50)])
        async with opened(queue, credit=100) as connection:
            got = await take(connection, 50)
            await connection.acknowledge([each.handle for each in got])
        return {each.body: each.handle >> 80 for each in got if isinstance(each.handle, int)}

    before = run(places)
    assert set(before.values()) == {0, 1, 2, 3}
    node.sync()
    node.terminate()
    node.start()
    assert run(places) == before


def test_partitions_can_be_taken_as_they_are(rabbitmq: Node) -> None:
    async def main() -> None:
        with rabbitmq.vhost() as url:
            await write(connector.partition("p", n=2, broker=broker(url)), b"a")
            locked = rabbitmq.add_user("locked", "s3cret", vhost=url.rpartition("/")[2], configure="")
            queue = connector.partition("p", n=2, passive=True, broker=broker(locked))
            await write(queue, b"b")
            async with opened(queue, credit=10) as connection:
                got = await take(connection, 2)
                await connection.acknowledge([each.handle for each in got])
            assert sorted(each.body for each in got) == [b"a", b"b"]
            with pytest.raises(TopologyError, match=r"'other\.plan' .* is not there"):
                await write(connector.partition("other", n=2, passive=True, broker=broker(locked)), b"a")

    run(main)


def test_senseless_numbers_and_hashes_are_refused() -> None:
    with pytest.raises(GraphError, match=r"n=0.*from 1 to 1000"):
        connector.partition("p", n=0)
    with pytest.raises(GraphError, match=r"hash='md5'.*'consistent', 'modulus', 'slots'"):
        connector.partition("p", n=2, hash="md5")  # type: ignore[call-overload]
