"""The broker of the demonstration, named by an address: its queues, how much waits there, and its dead letters."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

from warren.connectors import sqlite
from warren.connectors.address import parse, source
from warren.connectors.memory import Queue as MemoryQueue
from warren.connectors.memory.broker import DEFAULT
from warren.connectors.sqlite import Queue as FileQueue
from warren.core.errors import AddressError

__all__ = ["Broker", "Letter"]


class Letter(NamedTuple):
    """A dead letter: the body as it came, the class of its error, and the reason in words."""

    body: bytes
    error: str
    reason: str


class Broker:
    """Queues behind one address, such as ``memory:`` or ``sqlite:///path/to/file``.

    Raises `AddressError` where the address leads nowhere.
    """

    def __init__(self, address: str) -> None:
        parts = parse(address)
        self.address = address
        self._memory = parts.scheme == "memory"
        if parts.options:
            raise AddressError(f"{address}: the demo names the queues itself; leave out what follows the '?'")
        try:
            self.queue("check", None)
        except AddressError as error:
            raise AddressError(str(error).replace("?queue=check", "")) from error

    @property
    def durable(self) -> bool:
        """Whether messages outlive the process."""
        return not self._memory

    def queue(self, name: str, type: Any) -> MemoryQueue[Any] | FileQueue[Any]:
        """A queue to read from and to write to."""
        queue = source(f"{self.address}{name}" if self._memory else f"{self.address}?queue={name}", type)
        if not isinstance(queue, MemoryQueue | FileQueue):
            raise AddressError(f"{self.address}: the demo works with memory: and sqlite:///path/to/file")
        return queue

    def depth(self, name: str) -> int:
        """How many messages of a queue wait or are not settled."""
        if self._memory:
            return DEFAULT.depth(name)
        queue = self.queue(name, None)
        assert isinstance(queue, FileQueue)
        return sqlite.depth(queue.path, name) if Path(queue.path).exists() else 0

    def letters(self, name: str) -> list[Letter]:
        """The dead letters of a queue, which stay where they are."""
        return asyncio.run(self._letters(name))

    async def _letters(self, name: str) -> list[Letter]:
        letters: list[Letter] = []
        connection = await self.queue(name, None).open(until_empty=True)
        try:
            while (batch := await connection.receive(1000)) is not None:
                headers = batch.headers or [None] * len(batch)
                for body, about in zip(batch.bodies, headers, strict=True):
                    about = about or {}
                    letters.append(Letter(body, about.get("warren-error", ""), about.get("warren-reason", "")))
        finally:
            # What was received and is not acknowledged goes back.
            await connection.close()
        return letters
