from __future__ import annotations

import asyncio

from warren.connectors import memory
from warren.pipelines.given import Arrival, Given, Script
from warren.testing.audit import Audit


def audit(*values: str) -> Audit:
    return Audit("orders", Given(memory.queue("q"), Script([Arrival(value) for value in values])))


def test_what_is_settled_once_each_time_it_was_handed_over_is_well() -> None:
    async def main() -> list[str]:
        source = audit("a", "b")
        assert source.problems() == []
        batch = await source.receive(5)
        assert batch is not None
        await source.acknowledge(batch.handles[:1])
        await source.release(batch.handles[1:], 0.0, 2)
        again = await source.receive(5)
        assert again is not None
        await source.acknowledge(again.handles)
        assert await source.receive(5) is None
        await source.close()
        return source.problems()

    assert asyncio.run(main()) == []


def test_what_is_never_settled_is_told() -> None:
    async def main() -> list[str]:
        source = audit("a", "b")
        batch = await source.receive(5)
        assert batch is not None
        await source.acknowledge(batch.handles[:1])
        return source.problems()

    assert asyncio.run(main()) == ["orders: message 1 was handed over and never settled: 'b'"]


def test_what_is_settled_twice_or_was_never_there_is_told() -> None:
    async def main() -> list[str]:
        source = audit("a")
        batch = await source.receive(5)
        assert batch is not None
        await source.acknowledge(batch.handles)
        await source.release(batch.handles)
        await source.acknowledge(["stranger"])
        return source.problems()

    assert asyncio.run(main()) == [
        "orders: message 0 was given back although it was settled before: 'a'",
        "orders: 'stranger', which it never handed over, was acknowledged",
    ]


def test_of_very_many_the_first_are_told() -> None:
    async def main() -> list[str]:
        source = audit(*"abcdefgh")
        await source.receive(8)
        return source.problems()

    found = asyncio.run(main())
    assert len(found) == 6
    assert found[-1] == "… and 3 more"
