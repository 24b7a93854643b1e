"""A pipeline on queues of the embedded broker, whose sinks show what comes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from warren.apps.dev.samples import Sample
from warren.core import clock
from warren.core.admin import ERROR
from warren.core.graph import Inlet, Outlet, SinkConnection, SourceConnection
from warren.core.message import Batch, Outgoing
from warren.core.receipt import Delivery, Kind, Outcome
from warren.pipelines import Pipeline
from warren.pipelines.trial import Apart

__all__ = ["Bench", "Make", "Tell", "queue_of"]

Make = Callable[[str, Any], Any]
"""Makes the queue of a name, whose messages are decoded to a type."""
Tell = Callable[[str, Any, dict[str, str]], None]
"""Hears where a value went; of a dead letter with its headers."""


def queue_of(inlet: Inlet[Any]) -> str:
    """The name of the queue that stands for a source.

    >>> from warren.connectors import memory
    >>> queue_of(memory.queue("orders"))
    'orders'
    """
    return inlet.name.partition(":")[2] or inlet.name


class Bench(Apart):
    """A runtime on queues of the embedded broker in place of its own; sources that end are read, up to a limit."""

    def __init__(self, pipeline: Pipeline, make: Make, samples: dict[str, list[Sample]], limit: int, tell: Tell) -> None:
        super().__init__(pipeline, clock=clock.system)
        self.make = make
        self.samples = samples
        self.limit = limit
        self.tell = tell
        self.outcomes: Counter[str] = Counter()
        self.on_settled: Callable[[], None] = lambda: None
        self.ready = asyncio.Event()
        """Set once its sources are read."""
        self._queues: list[tuple[str, SinkConnection]] = []

    async def open_source(self, inlet: Inlet[Any]) -> SourceConnection:
        if inlet.bounded and inlet.name not in self.samples:
            return _Some(await inlet.open_ahead(self.credit), self.limit)
        # What reads values of its own has no bytes to decode; samples in place of them do.
        queue = self.make(queue_of(inlet), Any if inlet.bounded and inlet.type is None else inlet.type)
        self._queues.append((inlet.name, await queue.open()))
        connection: SourceConnection = await queue.open_ahead(self.credit)
        return connection

    async def open_sink(self, outlet: Outlet[Any]) -> SinkConnection:
        return _Shown(self.tell, outlet.name)

    async def open_dead_letters(self, inlet: Inlet[Any], queue: str) -> SinkConnection:
        return _Shown(self.tell, queue, await self.make(queue, None).open())

    async def feed(self) -> int:
        """Send the samples to the queues, one of each in turn; returns how many."""
        sent = 0
        for i in range(max(map(len, self.samples.values()), default=0)):
            for name, queue in self._queues:
                if i < len(self.samples[name]):
                    body, known = self.samples[name][i]
                    await queue.write(Outgoing([body], [known].__getitem__))
                    sent += 1
        return sent

    def _settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        self.outcomes[Kind(outcome.kind).name.lower().replace("_", "-")] += len(tokens)
        super()._settled(delivery, tokens, outcome)
        self.on_settled()

    async def _open(self) -> None:
        await super()._open()
        self.ready.set()

    async def _close(self) -> None:
        await super()._close()
        for _, queue in self._queues:
            await queue.close()


class _Shown:
    """A sink connection that shows what is written, and writes it on where there is somewhere."""

    def __init__(self, tell: Tell, name: str, to: SinkConnection | None = None) -> None:
        self.tell = tell
        self.name = name
        self.to = to

    async def write(self, messages: Outgoing) -> None:
        if self.to is not None:
            await self.to.write(messages)
        for i, value in enumerate(messages.values):
            headers = dict(messages.metadata(i).headers) if self.to is not None else {}
            self.tell(self.name, value, headers if ERROR in headers else {})

    async def close(self) -> None:
        if self.to is not None:
            await self.to.close()


class _Some:
    """The first messages of a source that ends; behind them it waits, so that what they lead to is seen."""

    def __init__(self, connection: SourceConnection, limit: int) -> None:
        self.connection = connection
        self.left = limit

    async def receive(self, limit: int) -> Batch | None:
        batch = await self.connection.receive(min(limit, self.left)) if self.left else None
        if batch is not None:
            self.left -= len(batch)
        return batch

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        await self.connection.acknowledge(handles)

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        self.left += len(handles)
        await self.connection.release(handles, delay, attempts)

    async def close(self) -> None:
        await self.connection.close()
