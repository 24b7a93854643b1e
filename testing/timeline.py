"""What reached the sinks and the dead letters of a trial, and when."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from warren.core.graph import SinkConnection
from warren.core.message import Outgoing
from warren.pipelines.trial import Ends

__all__ = ["Happening", "Timeline"]


class Happening(NamedTuple):
    """One value that is safe in a sink, or a message in a queue of dead letters: when, where, and the value of the sink."""

    at: float
    place: str
    value: Any
    dead: bool


class Timeline(Ends):
    """Stands around the sinks of one trial, and notes what they have written; faults stand around it."""

    def __init__(self) -> None:
        self.happened: list[Happening] = []

    def sink(self, name: str, connection: SinkConnection, *, dead: bool) -> SinkConnection:
        return _Noted(self.happened, name, connection, dead)


class _Noted:
    def __init__(self, happened: list[Happening], name: str, connection: SinkConnection, dead: bool) -> None:
        self.happened = happened
        self.name = name
        self.connection = connection
        self.dead = dead

    async def write(self, messages: Outgoing) -> None:
        await self.connection.write(messages)
        now = asyncio.get_running_loop().time()
        for value in messages.originals():
            self.happened.append(Happening(now, self.name, None if self.dead else value, self.dead))

    async def close(self) -> None:
        await self.connection.close()
