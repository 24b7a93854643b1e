"""Looking after queues from outside: what was looked at is there afterwards, in its order."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any

import pytest
from click.testing import CliRunner

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import Foreign, broker, drain, eventually, run, write
from warren.apps.cli import main as warren
from warren.connectors import rabbitmq
from warren.connectors.address import admin as admin_of
from warren.connectors.rabbitmq.admin import BrokerAdmin
from warren.core.admin import ERROR, SOURCE
from warren.core.errors import BrokerError, TopologyError
from warren.core.message import Metadata, Outgoing

BODIES = [str(i).encode() for i in range(30)]


async def look(admin: BrokerAdmin, queue: str, most: int, ahead: int = 1000) -> list[bytes]:
    seen: list[bytes] = []
    async with aclosing(admin.peek(queue, ahead)) as batches:
        async for batch in batches:
            seen += batch.bodies
            if len(seen) >= most:
                break
    return seen[:most]


async def filled(url: str, kind: str) -> BrokerAdmin:
    async with Foreign.at(url) as other:
        await other.declare("in", {"x-queue-type": kind})
        await other.send("in", *BODIES)

    async def all_there() -> bool:
        return (await admin.queue("in")).depth == len(BODIES)

    admin = BrokerAdmin(broker(url))
    await eventually(all_there)
    return admin


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_what_was_looked_at_is_there_in_its_order(rabbitmq_each: Node, kind: str) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            admin = await filled(url, kind)
            # The second look takes fewer than the first gave back, and the third takes several parts.
            for most, ahead in [(9, 9), (2, 2), (30, 4), (1, 1), (30, 1000)]:
                assert await look(admin, "in", most, ahead) == BODIES[:most], (most, ahead)
            async with Foreign.at(url) as other:
                got = await other.wait("in", len(BODIES))
            assert [each.body for each in got] == BODIES

    run(main)


def test_a_stream_is_read_as_it_is(rabbitmq_each: Node) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            admin = await filled(url, "stream")
            assert await look(admin, "in", 30, 7) == BODIES
            assert await look(admin, "in", 3, 3) == BODIES[:3]

    run(main)


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_what_is_meant_is_dropped_and_the_rest_keeps_its_order(rabbitmq_43: Node, kind: str) -> None:
    async def main() -> None:
        with rabbitmq_43.vhost() as url:
            admin = await filled(url, kind)
            ids = iter(range(len(BODIES)))
            assert await admin.drop("in", lambda _: next(ids) % 3 == 0) == 10
            kept = [body for i, body in enumerate(BODIES) if i % 3]
            assert await look(admin, "in", 30) == kept
            assert await admin.purge("in") == 20
            assert await look(admin, "in", 30) == []

    run(main)


def test_queues_are_made_listed_and_removed(rabbitmq_43: Node) -> None:
    async def main() -> None:
        with rabbitmq_43.vhost() as url:
            port = rabbitmq_43.management_port
            admin, queue = admin_of(f"{url}?queue=new&management=http://127.0.0.1:{port}")
            assert queue == "new"
            assert await admin.create("new") and not await admin.create("new")
            assert (await admin.queue("new")).depth == 0

            async def listed() -> bool:
                return [each.name for each in await admin.queues()] == ["new"]

            await eventually(listed)
            await admin.delete("new")
            for call in (admin.queue, admin.delete, admin.purge):
                with pytest.raises(TopologyError, match="there is no queue 'new'"):
                    await call("new")
            with pytest.raises(BrokerError, match="AMQP cannot list"):
                await BrokerAdmin(broker(url)).queues()

    run(main)


def test_a_queue_that_drops_what_was_looked_at_too_often_says_so(rabbitmq_each: Node) -> None:
    newer = not rabbitmq_each.version.startswith("3.")
    usual = "more than 20 times" if newer else ""
    # Arguments of a queue, and what is said of it by AMQP and by the management API.
    expected: list[tuple[dict[str, Any], str, str]] = [
        ({}, usual, usual),
        ({"x-delivery-limit": 2}, "more than 2 times", "more than 2 times"),
        ({"x-delivery-limit": -1}, *(["" if newer else "more than 0 times"] * 2)),
        ({"x-delivery-limit": 2**31 - 1}, "", ""),
        ({"x-max-length": 1000}, "the management API tells", usual),
        ({"x-queue-type": "classic"}, "", ""),
        ({"x-queue-type": "stream"}, "", ""),
    ]

    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            plain = BrokerAdmin(broker(url))
            asking = BrokerAdmin(broker(url, management=f"http://127.0.0.1:{rabbitmq_each.management_port}"))
            async with Foreign.at(url) as other:
                for i, (arguments, amqp, api) in enumerate(expected):
                    await other.declare(f"q{i}", {"x-queue-type": "quorum", **arguments})
                    for admin, part in ((plain, amqp), (asking, api)):
                        said = await admin.caution(f"q{i}")
                        assert part in said and bool(part) is bool(said), (arguments, said)
            with pytest.raises(TopologyError, match="there is no queue 'none'"):
                await plain.caution("none")

    run(main)


def test_a_look_that_may_cost_messages_asks_first(rabbitmq_43: Node) -> None:
    with rabbitmq_43.vhost() as url:
        address = f"{url}?queue=in"

        async def fill() -> None:
            async with Foreign.at(url) as other:
                await other.declare("in", {"x-queue-type": "quorum", "x-delivery-limit": 1})
                await other.send("in", *BODIES[:3])

        async def all_there() -> bool:
            return (await BrokerAdmin(broker(url)).queue("in")).depth == 3

        run(fill)
        run(lambda: eventually(all_there))
        for command in (["peek"], ["dlq", "ls"], ["dlq", "stats"], ["dlq", "drop"], ["dlq", "replay", "--dry-run"]):
            result = CliRunner().invoke(warren, [*command, address])
            assert result.exit_code == 2, (command, result.output)
            assert "more than 1 times (x-delivery-limit). Look all the same? Nobody can be asked" in result.stderr
        assert CliRunner().invoke(warren, ["dlq", "show", address, "7"]).exit_code == 2
        # Two looks are what the limit lets through: none of those before was one.
        for _ in range(2):
            result = CliRunner().invoke(warren, ["peek", address, "--yes", "--json"])
            assert [json.loads(line)["body"] for line in result.stdout.splitlines()] == [0, 1, 2]


def test_letters_go_back_at_a_rate_and_a_second_replay_finds_nothing(rabbitmq_43: Node) -> None:
    async def main() -> None:
        with rabbitmq_43.vhost() as url:
            at = broker(url)
            await write(rabbitmq.queue("orders", broker=at))
            headers = {ERROR: "TimeoutError", SOURCE: "rabbitmq:orders"}
            known: list[Any] = [Metadata(id=str(i), headers=headers, content_type="application/json") for i in range(20)]
            letters = await rabbitmq.queue("orders.dead", broker=at).open()
            await letters.write(Outgoing(BODIES[:20], known.__getitem__))
            await letters.close()
            admin = BrokerAdmin(at)
            start = asyncio.get_running_loop().time()
            done = await admin.replay("orders.dead", lambda each: int(each.id) < 15, limit=None, rate=50)
            assert asyncio.get_running_loop().time() - start > 0.25
            assert (done.moved, dict(done.left), done.repeated) == (15, {"not chosen": 5}, 0)
            again = await admin.replay("orders.dead", lambda each: int(each.id) < 15, limit=None, rate=None)
            assert (again.moved, dict(again.left)) == (0, {"not chosen": 5})
            assert [got.body for got in await drain(rabbitmq.queue("orders", broker=at))] == BODIES[:15]

    run(main)


def test_letters_are_named_and_counted_by_class(rabbitmq_43: Node) -> None:
    with rabbitmq_43.vhost() as url:
        address = f"{url}?queue=orders.dead"

        async def main() -> None:
            letters = await rabbitmq.queue("orders.dead", broker=broker(url)).open()
            reasons = ("TimeoutError", "no answer from 10.0.0.{}"), ("ValueError", "order {} has no customer")
            headers = [
                {ERROR: error, "warren-reason": reason.format(i), SOURCE: "rabbitmq:orders"}
                for i in range(3)
                for error, reason in reasons
            ]
            known: list[Any] = [Metadata(id=str(i), headers=each) for i, each in enumerate(headers)]
            await letters.write(Outgoing(BODIES[:6], known.__getitem__))
            await letters.close()

        run(main)
        for command, times in (("stats", 1), ("ls", 3)):
            said = CliRunner().invoke(warren, ["dlq", command, address, "--yes", "--json"]).stdout.splitlines()
            found = [(each["class"], each["kind"]) for each in map(json.loads, said)]
            expected = (
                ("TimeoutError: no answer from <host>", "transient"),
                ("ValueError: order <n> has no customer", "poison"),
            )
            assert sorted(found) == sorted(expected * times)
