"""A stream keeps what every queue has to keep, as far as a log can: on each version, over the fast lane and without it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers.rabbitmq import Node
from warren.connectors import rabbitmq
from warren.connectors.conformance import Conformance
from warren.connectors.conformance.kit import Kit, bodies_of, handles_of, unpack


class TestStream(Conformance):
    lane = True

    @pytest.fixture(autouse=True)
    def _place(self, rabbitmq_each: Node, tmp_path: Path) -> Iterator[None]:
        self.offsets = tmp_path / "offsets.db"
        with rabbitmq_each.vhost() as url:
            self.broker = rabbitmq.Broker(url, lane=self.lane)
            yield

    def queue(self, name: str) -> Any:
        if name.endswith(".dead"):
            return rabbitmq.queue(name, broker=self.broker)
        return self.stream(name)

    def stream(self, name: str, consumer: str = "test") -> Any:
        return rabbitmq.stream(name, broker=self.broker, offsets=self.offsets, consumer=consumer)

    async def crash(self, connection: Any) -> None:
        # What a killed process leaves behind: the file as it is, and its lock gone.
        source = connection.source
        offsets, source._offsets = source._offsets, None
        await offsets.close()
        source.link._session.transport._writer_task.get_coro().cr_frame.f_locals["writer"].transport.abort()

    # Every reader of a stream sees all of it, so there is nothing that another one could hold, or share.

    def test_until_empty_waits_for_what_others_hold(self) -> None:
        async def main() -> None:
            kit = Kit(self)
            try:
                await kit.write(b"a")
                other = await kit.source()
                await kit.take(other, 1)
                source = await self.stream("q", "another").open(until_empty=True)
                kit.opened.append(source)
                assert bodies_of(await kit.take(source, 1)) == [b"a"]
                assert await kit.soon(source.receive(5)) is None, "what another one holds must not keep it waiting"
            finally:
                await kit.close()

        asyncio.run(main())

    def test_receivers_share_without_overlap(self) -> None:
        async def main() -> None:
            kit = Kit(self)
            bodies = [b"%d" % i for i in range(200)]

            async def work(number: int) -> list[bytes]:
                source = await self.stream("q", f"reader {number}").open(until_empty=True)
                kit.opened.append(source)
                got = []
                while (batch := await kit.soon(source.receive(9))) is not None:
                    got += unpack(batch)
                    await source.acknowledge(batch.handles)
                assert handles_of(got) == list(range(200)), "a message is known by its offset"
                return bodies_of(got)

            try:
                await kit.write(*bodies)
                assert await asyncio.gather(*map(work, range(3))) == [bodies] * 3
            finally:
                await kit.close()

        asyncio.run(main())


class TestStreamWithoutTheLane(TestStream):
    lane = False
