"""Worker processes that share the partitions of one queue, and what they wrote."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from tests.connectors.rabbitmq.hands import PATIENCE, broker, eventually, opened
from warren.connectors import rabbitmq
from warren.connectors.conformance.kit import unpack
from warren.core.message import Outgoing

WORKER = """
import sys
from warren import Pipeline
from warren.connectors import rabbitmq
from warren.operators import map

name, url, partitions = sys.argv[1:]
broker = rabbitmq.Broker(url)
source = rabbitmq.partition("events", n=int(partitions), broker=broker)
Pipeline(
    "crew",
    source | map(lambda body: f"{name}:{body.decode()}".encode()) | rabbitmq.queue("out", broker=broker),
    credit=50,
    shutdown="10s",
).run()
"""


class Crew:
    """Workers, and a writer of numbered messages of several keys that goes on until it is told to stop."""

    def __init__(self, url: str, partitions: int, keys: int) -> None:
        self.url = url
        self.partitions = partitions
        self.keys = [f"k{i}" for i in range(keys)]
        self.queue = rabbitmq.partition(
            "events", n=partitions, broker=broker(url), by=lambda body: body.split(b":")[0].decode()
        )
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.rounds = 0
        self.got: list[tuple[str, str, int]] = []
        """Worker, key and number of all that was written, in its order."""
        self._writing = True
        self._writer: asyncio.Task[None] | None = None

    def join(self, name: str) -> None:
        """Start a worker."""
        self.workers[name] = subprocess.Popen([sys.executable, "-c", WORKER, name, self.url, str(self.partitions)])

    def kill(self, name: str) -> None:
        """End a worker at once."""
        self.workers[name].kill()
        self.workers.pop(name).wait()

    async def leave(self, name: str) -> None:
        """Ask a worker to end, and wait until it has."""
        worker = self.workers.pop(name)
        worker.terminate()
        assert await asyncio.to_thread(worker.wait, PATIENCE) == 0

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str, *, partitions: int, keys: int) -> AsyncIterator[Crew]:
        """A crew whose writer writes, and whose output is read."""
        crew = cls(url, partitions, keys)
        crew._writer = asyncio.create_task(crew._write())
        tasks = [crew._writer, asyncio.create_task(crew._read())]
        try:
            yield crew
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            for worker in crew.workers.values():
                worker.kill()
                worker.wait()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _write(self) -> None:
        async with opened(self.queue) as connection:
            while self._writing:
                await connection.write(Outgoing([f"{key}:{self.rounds}".encode() for key in self.keys]))
                self.rounds += 1
                await asyncio.sleep(0.01)

    async def _read(self) -> None:
        async with opened(rabbitmq.queue("out", broker=broker(self.url)), credit=1000) as connection:
            while (batch := await connection.receive(1000)) is not None:
                for each in unpack(batch):
                    worker, key, number = each.body.decode().split(":")
                    self.got.append((worker, key, int(number)))
                await connection.acknowledge(batch.handles)

    async def shared_by(self, *names: str) -> None:
        """Wait until each of these workers, and nobody else, has its share of the partitions: of each key, the last few."""
        least = max(1, self.partitions // len(names))

        async def fair() -> bool:
            since = self.rounds
            await self.reached(since + 5)
            last = {key: worker for worker, key, number in self.got if number >= since}
            owners = self.owners(last)
            return set(owners) == set(names) and all(len(owned) >= least for owned in owners.values())

        await eventually(fair)

    def owners(self, last: dict[str, str]) -> dict[str, set[str]]:
        """The keys of each worker."""
        owners: dict[str, set[str]] = {}
        for key, worker in last.items():
            owners.setdefault(worker, set()).add(key)
        return owners

    async def reached(self, round: int) -> None:
        """Wait until the messages of a round have come out."""

        async def came() -> bool:
            return {key for _, key, number in self.got[-20 * len(self.keys) :] if number >= round} == set(self.keys)

        await eventually(came)

    async def finish(self) -> None:
        """Stop writing, and wait until everything has come out."""
        self._writing = False
        assert self._writer is not None
        await self._writer
        wanted = {(key, number) for key in self.keys for number in range(self.rounds)}

        async def complete() -> bool:
            return self.numbers() >= wanted

        await eventually(complete)

    def numbers(self) -> set[tuple[str, int]]:
        """What has come out."""
        return {(key, number) for _, key, number in self.got}

    def first_times(self) -> Iterator[tuple[str, list[int]]]:
        """Each key's numbers in the order in which they came out for the first time."""
        for key in self.keys:
            yield key, list(dict.fromkeys(number for _, its, number in self.got if its == key))

    def repeated(self) -> int:
        """How many came more than once."""
        return len(self.got) - len(self.numbers())


def in_order(numbers: Iterable[Any]) -> bool:
    """Whether numbers grow."""
    numbers = list(numbers)
    return numbers == sorted(numbers)
