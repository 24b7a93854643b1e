"""What was published and confirmed, what arrived, what was dead-lettered: and that nothing confirmed is missing."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from tests.chaos.worker import BROKEN_EVERY, DEAD, SINK, SOURCE
from warren.connectors import rabbitmq
from warren.connectors.rabbitmq.delays import LEVELS, delay_queue
from warren.connectors.rabbitmq.queues import look
from warren.core.errors import BrokerError
from warren.core.message import Metadata, Outgoing

__all__ = ["Ledger"]

_NUMBER = msgspec.json.Decoder(dict[str, int], strict=False)


class Ledger:
    """Publishes numbered messages and collects what comes out, over connections of its own."""

    def __init__(self, broker: rabbitmq.Broker) -> None:
        self.broker = broker
        self.published = 0
        self.confirmed: set[int] = set()
        self.arrived: Counter[int] = Counter()
        self.dead: Counter[int] = Counter()
        self._stop = asyncio.Event()

    @contextlib.asynccontextmanager
    async def publishing(self, size: int = 10, pause: float = 0.004) -> AsyncIterator[None]:
        """Publish ``size`` messages at a time while the block runs; each is confirmed before it is written down."""
        self._stop.clear()
        task = asyncio.get_running_loop().create_task(self._publish(size, pause))
        try:
            yield
        finally:
            self._stop.set()
            await task

    async def _publish(self, size: int, pause: float) -> None:
        connection = await rabbitmq.queue(SOURCE, broker=self.broker, max_deliveries=None).open()
        try:
            while not self._stop.is_set():
                numbers = range(self.published, self.published + size)
                self.published += size
                metadata = [Metadata(id=str(number), content_type="application/json") for number in numbers]
                await connection.write(Outgoing([_body(number) for number in numbers], metadata.__getitem__))
                self.confirmed.update(numbers)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), pause)
        finally:
            await connection.close()

    async def collect(self, deadline: float) -> None:
        """Take what is in the sink and in the dead letters until nothing that was confirmed is missing, or time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                async with asyncio.TaskGroup() as group:
                    readers = [
                        group.create_task(self._read(SINK, self.arrived)),
                        group.create_task(self._read(DEAD, self.dead)),
                    ]
                    while self.missing:
                        await asyncio.sleep(0.05)
                    for reader in readers:
                        reader.cancel()

    async def _read(self, queue: str, found: Counter[int]) -> None:
        connection = await rabbitmq.queue(queue, broker=self.broker, max_deliveries=None).open_ahead(1000)
        try:
            while (batch := await connection.receive(1000)) is not None:
                found.update(_number(batch.metadata(i), body) for i, body in enumerate(batch.bodies))
                await connection.acknowledge(batch.handles)
        finally:
            await connection.close()

    @property
    def missing(self) -> set[int]:
        """What was confirmed and has not come out."""
        return self.confirmed - self.arrived.keys() - self.dead.keys()

    @property
    def duplicates(self) -> int:
        """How many came out more than once."""
        return sum(self.arrived.values()) - len(self.arrived)

    async def depth(self, queue: str) -> int:
        """How many messages of a queue are ready."""
        found = await look(queue, self.broker)
        return found.ready if found is not None else 0

    async def queued(self) -> dict[str, Any]:
        """How many messages still wait where, for the report of a failure."""
        depths: dict[str, Any] = {}
        delays = [delay_queue(SOURCE, each).name for each in LEVELS[:12]]
        for queue in (SOURCE, SINK, DEAD, *delays):
            try:
                depths[queue] = await self.depth(queue)
            except BrokerError as error:
                depths[queue] = str(error)
        return {queue: depth for queue, depth in depths.items() if depth}


def _body(number: int) -> bytes:
    return b'{"id": broken' if number % BROKEN_EVERY == 0 else b'{"id":%d}' % number


def _number(metadata: Metadata, body: bytes) -> int:
    try:
        return _NUMBER.decode(body)["id"]
    except msgspec.DecodeError:
        return int(metadata.id)
