"""What the tests of the RabbitMQ connector take to hand: writing and reading queues, and a client of another make."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aio_pika

from warren.connectors import rabbitmq
from warren.connectors.conformance.kit import Got, unpack
from warren.core.message import Outgoing

T = TypeVar("T")

PATIENCE = 30.0


def run(main: Callable[[], Coroutine[Any, Any, T]], patience: float = 2 * PATIENCE) -> T:
    """Run a test's coroutine in a loop of its own, and give it up after a while."""

    async def bounded() -> T:
        async with asyncio.timeout(patience):
            return await main()

    return asyncio.run(bounded())


@asynccontextmanager
async def opened(queue: Any, **options: Any) -> AsyncIterator[Any]:
    """An open queue, closed afterwards; with ``credit`` it reads ahead."""
    connection = await (queue.open_ahead(**options) if "credit" in options else queue.open(**options))
    try:
        yield connection
    finally:
        await connection.close()


async def write(queue: Any, *values: Any) -> None:
    """Write to a queue, confirmed."""
    async with opened(queue) as connection:
        await connection.write(Outgoing(values))


async def take(connection: Any, count: int) -> list[Got]:
    """Receive exactly so many messages."""
    got: list[Got] = []
    while len(got) < count:
        async with asyncio.timeout(PATIENCE):
            batch = await connection.receive(count - len(got))
        assert batch is not None, f"the source ended after {len(got)} of {count} messages"
        got += unpack(batch)
    return got


async def drain(queue: Any) -> list[Got]:
    """Receive and acknowledge all there is."""
    got: list[Got] = []
    async with opened(queue, until_empty=True) as connection:
        while (batch := await connection.receive(1000)) is not None:
            got += unpack(batch)
            await connection.acknowledge(batch.handles)
    return got


async def eventually(condition: Callable[[], Coroutine[Any, Any, T]], patience: float = PATIENCE) -> T:
    """Ask until the answer is true, without hurry."""
    end = time.monotonic() + patience
    while not (answer := await condition()):
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.02)
    return answer


class Foreign:
    """A client of another make: what it sends and sees shows what the connector really does."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel) -> None:
        self.channel = channel

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str) -> AsyncIterator[Foreign]:
        async with await aio_pika.connect(url) as connection:
            yield cls(await connection.channel())

    async def declare(self, name: str, arguments: Mapping[str, Any] | None = None) -> None:
        await self.channel.declare_queue(name, durable=True, arguments=dict(arguments or {}))

    async def delete(self, name: str) -> None:
        await self.channel.queue_delete(name)

    async def send(self, queue: str, *bodies: bytes, **properties: Any) -> None:
        for body in bodies:
            await self.channel.default_exchange.publish(aio_pika.Message(body, **properties), routing_key=queue)

    async def depth(self, name: str) -> int:
        declared = await self.channel.declare_queue(name, passive=True)
        return declared.declaration_result.message_count or 0

    async def get(self, name: str) -> aio_pika.abc.AbstractIncomingMessage | None:
        """One message of a queue, acknowledged."""
        queue = await self.channel.get_queue(name, ensure=False)
        return await queue.get(no_ack=True, fail=False)

    async def wait(self, name: str, count: int = 1) -> Sequence[aio_pika.abc.AbstractIncomingMessage]:
        """So many messages of a queue, acknowledged, as they come."""
        got: list[aio_pika.abc.AbstractIncomingMessage] = []

        async def all_came() -> bool:
            while len(got) < count and (message := await self.get(name)) is not None:
                got.append(message)
            return len(got) == count

        await eventually(all_came)
        return got


def broker(url: str, **options: Any) -> rabbitmq.Broker:
    """A broker that is tried again soon, so that no test waits long for one that comes back."""
    return rabbitmq.Broker(url, **{"backoff": ("50ms", "500ms"), **options})
