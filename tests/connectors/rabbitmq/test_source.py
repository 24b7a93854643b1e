"""An open queue to read from: acknowledgements in runs, handles that are out of date, giving back, and closing."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import broker, drain, eventually, opened, run, take, write
from warren.connectors import rabbitmq
from warren.connectors.conformance.kit import unpack
from warren.connectors.rabbitmq.presence import Presence


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize("ahead", [True, False])
def test_no_acknowledgement_is_lost_by_closing(rabbitmq_each: Node, lane: bool, ahead: bool) -> None:
    async def main() -> None:
        with rabbitmq_each.vhost() as url:
            queue = rabbitmq.queue("q", broker=broker(url, lane=lane))
            for count in (33, 200, 500):
                await write(queue, *range(count))
                async with opened(queue, **({"credit": 1000} if ahead else {})) as connection:
                    got = await take(connection, count)
                    random.shuffle(got)
                    for each in got:
                        await connection.acknowledge([each.handle])
                assert await drain(queue) == []

    run(main)


def test_a_quorum_queue_that_is_too_busy_to_answer_is_not_taken_for_an_empty_one(
    rabbitmq_each: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, empty = [], Presence.empty

    async def asking(presence: Presence) -> bool:
        asked.append(await empty(presence))
        return asked[-1]

    async def answered() -> bool:
        return bool(asked)

    def each(what: str) -> str:
        names = '{registered_name, N} <- [process_info(P, registered_name)], lists:suffix("_busy", atom_to_list(N))'
        return rabbitmq_each.eval(f"[{what}(P) || P <- processes(), {names}].")

    async def main() -> None:
        got, held, again = [], [], asyncio.Event()

        async def all_of(connection: Any) -> None:
            while (batch := await connection.receive(1)) is not None:
                got.extend(unpack(batch))
                held.extend(batch.handles)
                if again.is_set():
                    await connection.acknowledge(held)
                    held.clear()

        with rabbitmq_each.vhost() as url:
            queue = rabbitmq.queue("busy", broker=broker(url))
            await write(queue, *range(50))
            async with opened(queue, credit=2, until_empty=True) as connection:
                got += await take(connection, 1)
                assert "ok" in each("sys:suspend")
                reading = asyncio.create_task(all_of(connection))
                await eventually(answered)
                each("sys:resume")
                assert (asked[0], len(got) < 50) == (False, True)
                again.set()
                await connection.acknowledge([got[0].handle, *held])
                held.clear()
                await reading
        assert len(got) == 50

    monkeypatch.setattr(Presence, "empty", asking)
    run(main)
