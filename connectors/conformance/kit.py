"""What the checks work with."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from warren.core.message import Batch, Metadata, Outgoing

__all__ = ["Got", "Kit", "bodies_of", "check", "handles_of", "unpack"]

S = TypeVar("S", bound="Suite")
T = TypeVar("T")


class Suite(Protocol):
    """What a check runs in."""

    @property
    def loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """Makes its event loop; the usual one unless given."""
        ...


class Got(NamedTuple):
    """One received message."""

    body: bytes
    handle: Hashable
    metadata: Metadata
    deliveries: int


def unpack(batch: Batch) -> list[Got]:
    """The messages of a batch, one by one."""
    assert len(batch.handles) == len(batch.bodies)
    deliveries = batch.deliveries if batch.deliveries is not None else [1] * len(batch)
    return [Got(batch.bodies[i], batch.handles[i], batch.metadata(i), deliveries[i]) for i in range(len(batch.bodies))]


class Kit:
    """Opens connections and closes them after the check."""

    def __init__(self, suite: Any) -> None:
        self.suite = suite
        self.opened: list[Any] = []

    async def source(self, name: str = "q", *, until_empty: bool = False) -> Any:
        """Open the queue to read from it."""
        connection = await self.suite.queue(name).open(until_empty=until_empty)
        self.opened.append(connection)
        return connection

    async def write(self, *values: Any, name: str = "q", metadata: Sequence[Metadata] | None = None) -> None:
        """Open the queue, and write to it."""
        connection = await self.suite.sink(name).open()
        self.opened.append(connection)
        await connection.write(Outgoing(values, metadata.__getitem__ if metadata is not None else None))

    async def take(self, connection: Any, count: int, limit: int | None = None) -> list[Got]:
        """Receive exactly ``count`` messages."""
        got: list[Got] = []
        while len(got) < count:
            asked = min(limit or count, count - len(got))
            batch = await self.soon(connection.receive(asked))
            assert batch is not None, f"the source ended after {len(got)} of {count} messages"
            assert 0 < len(batch) <= asked
            got += unpack(batch)
        return got

    async def drain(self, name: str = "q") -> list[Got]:
        """Receive and acknowledge all there is."""
        connection = await self.source(name, until_empty=True)
        got: list[Got] = []
        while (batch := await self.soon(connection.receive(100))) is not None:
            got += unpack(batch)
            await connection.acknowledge(batch.handles)
        return got

    async def soon(self, work: Awaitable[T]) -> T:
        """Await what must not take for ever."""
        async with asyncio.timeout(self.suite.deadline):
            return await work

    async def close(self) -> None:
        """Close everything that was opened."""
        for connection in self.opened:
            await connection.close()


def bodies_of(got: Sequence[Got]) -> list[bytes]:
    """The bodies of received messages."""
    return [each.body for each in got]


def handles_of(got: Sequence[Got]) -> list[Hashable]:
    """The handles of received messages."""
    return [each.handle for each in got]


def check(method: Callable[[S, Kit], Coroutine[Any, Any, None]]) -> Callable[[S], None]:
    """A check that runs in an event loop of its own, with a kit that is closed afterwards."""

    @functools.wraps(method)
    def run(self: S) -> None:
        async def main() -> None:
            kit = Kit(self)
            try:
                await method(self, kit)
            finally:
                await kit.close()

        with asyncio.Runner(loop_factory=self.loop_factory) as runner:
            runner.run(main())

    # pytest would take the wrapped function's parameters for fixtures.
    del run.__wrapped__
    return run
