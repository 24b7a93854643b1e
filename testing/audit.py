"""Checking that every message a source hands over is settled exactly once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import msgspec

from warren.core.errors import shorten
from warren.core.graph import SourceConnection
from warren.core.message import Batch

__all__ = ["Audit"]

_MOST = 5


class _Message(msgspec.Struct):
    id: str
    body: object
    handed: int = 0
    ended: int = 0


class Audit:
    """A source connection that keeps account of the one it stands around; `problems` says what does not add up."""

    def __init__(self, name: str, connection: SourceConnection) -> None:
        self.name = name
        self.connection = connection
        self.messages: dict[Hashable, _Message] = {}
        self._strange: list[str] = []

    async def receive(self, limit: int) -> Batch | None:
        batch = await self.connection.receive(limit)
        if batch is None:
            return None
        for i, handle in enumerate(batch.handles):
            message = self.messages.get(handle)
            if message is None:
                message = self.messages[handle] = _Message(batch.metadata(i).id, batch.bodies[i])
            message.handed += 1
        return batch

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        self._end(handles, "acknowledged")
        await self.connection.acknowledge(handles)

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        self._end(handles, "given back")
        await self.connection.release(handles, delay, attempts)

    def _end(self, handles: Sequence[Hashable], how: str) -> None:
        for handle in handles:
            message = self.messages.get(handle)
            if message is None:
                self._strange.append(f"{shorten(handle)}, which it never handed over, was {how}")
                continue
            message.ended += 1
            if message.ended > message.handed:
                self._strange.append(f"message {message.id} was {how} although it was settled before: {_shown(message)}")

    def problems(self) -> list[str]:
        """A sentence for each message that was settled more than once, or not at all; none is as it should be."""
        left = [message for message in self.messages.values() if message.ended < message.handed]
        never = [f"message {message.id} was handed over and never settled: {_shown(message)}" for message in left]
        found = [f"{self.name}: {sentence}" for sentence in [*self._strange, *never]]
        return found if len(found) <= _MOST else [*found[:_MOST], f"… and {len(found) - _MOST} more"]

    async def close(self) -> None:
        await self.connection.close()


def _shown(message: _Message) -> str:
    return shorten(message.body)
