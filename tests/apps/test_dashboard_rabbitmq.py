"""Queues and dead letters of RabbitMQ, as a dashboard has them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from warren import Pipeline
from warren.apps.dashboard.queues import Caution, Queues, admins_at, admins_of
from warren.connectors import memory, rabbitmq
from warren.core.errors import AddressError
from warren.core.message import Outgoing
from warren.operators import map

pytestmark = pytest.mark.broker


def fail(order: dict[str, int]) -> Any:
    raise TimeoutError(f"no answer to {order['n']}")


def of_shop(vhost: str, count: int = 3) -> tuple[Queues, str]:
    """The queues of a pipeline that has failed with each of its messages."""
    orders = rabbitmq.queue("orders", dict, broker=rabbitmq.Broker(vhost))
    Pipeline("seed", memory.items([{"n": n} for n in range(count)]) | orders).run()
    shop = Pipeline("shop", orders | map(fail) | memory.into([]))
    shop.run(until_empty=True)
    (place,) = admins = admins_of(shop)
    return Queues(admins, lambda: {"orders", "shop.dead", "elsewhere"}), place


def test_letters_are_looked_at_and_go_back(vhost: str) -> None:
    queues, place = of_shop(vhost)

    async def main() -> None:
        found = await queues.all()
        assert [(each["name"], each["depth"]) for each in found] == [("orders", 0), ("shop.dead", 3)]
        rows = await queues.letters(place, "shop.dead", "reason~'to 1'", 100, aware=False)
        assert [(row["error"], row["source"]) for row in rows] == [("TimeoutError", "rabbitmq:orders")]
        letter = await queues.letter(place, "shop.dead", rows[0]["id"], aware=False)
        assert letter["body"] == {"n": 1}
        chosen: Any = (place, "shop.dead", "", [rows[0]["id"]])
        assert await queues.replay(*chosen, rate=None, rehearse=True, aware=False) == {"would": {"rabbitmq:orders": 1}}
        assert (await queues.replay(*chosen, rate=None, rehearse=False, aware=False))["moved"] == 1
        with pytest.raises(AddressError, match="any more"):
            await queues.letter(place, "shop.dead", rows[0]["id"], aware=False)
        assert await queues.drop(place, "shop.dead", "", None, aware=False) == {"dropped": 2}
        assert [(each["name"], each["depth"]) for each in await queues.all()] == [("orders", 1), ("shop.dead", 0)]

    asyncio.run(main())


def test_a_look_that_can_cost_messages_asks_first(vhost: str) -> None:
    short = rabbitmq.queue("short", broker=rabbitmq.Broker(vhost), arguments={"x-delivery-limit": 2})

    async def main() -> None:
        connection = await short.open()
        await connection.write(Outgoing([b"1"]))
        await connection.close()
        admins = admins_at([vhost])
        (place,) = admins
        queues = Queues(admins, lambda: {"short"})
        for look in (
            queues.letters(place, "short", "", 10, aware=False),
            queues.drop(place, "short", "", None, aware=False),
            queues.replay(place, "short", "", None, rate=None, rehearse=True, aware=False),
        ):
            with pytest.raises(Caution, match="more than 2 times"):
                await look
        assert len(await queues.letters(place, "short", "", 10, aware=True)) == 1

    asyncio.run(main())


def test_a_broker_that_is_away_is_a_sentence_beside_the_others() -> None:
    async def main() -> None:
        found = await Queues(admins_at(["amqp://guest@localhost:1/?patience=1ms"]), lambda: {"x"}).all()
        assert len(found) == 1 and "error" in found[0]

    asyncio.run(main())
