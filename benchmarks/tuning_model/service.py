"""A service of ours on a socket, whose calls share a resource as a regime says; they wait and do not compute."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass
from random import Random
from struct import Struct
from typing import NamedTuple, cast

from benchmarks.tuning_model.plant import Regime, work_of

__all__ = ["Client", "Load", "Now", "served"]

_HEAD = Struct("!II")


@dataclass(frozen=True)
class Load(Regime):
    """A regime with messages of so many bytes; its ``delay`` is that of the proxy."""

    size: int = 200


@dataclass
class Now:
    """The regime that holds now."""

    load: Load


class _Call(NamedTuple):
    until: float
    order: int
    number: int
    body: bytes


class _Frames(asyncio.Protocol):
    """Messages with a number, each after its length."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        data, start = self._rest + data, 0
        while len(data) - start >= _HEAD.size:
            length, number = _HEAD.unpack_from(data, start)
            end = start + _HEAD.size + length
            if end > len(data):
                break
            self.received(number, data[start + _HEAD.size : end])
            start = end
        self._rest = data[start:]

    def send(self, number: int, body: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(_HEAD.pack(len(body), number) + body)

    def received(self, number: int, body: bytes) -> None:
        raise NotImplementedError


class _Served(_Frames):
    """One connection with a resource of its own, which is shared out evenly.

    With ``served`` as what each call there has been given, the next to end is the one that needs the least in all. What
    was due is done at its time although this is called later, so that a busy machine takes nothing from the resource.
    """

    def __init__(self, now: Now, seed: int) -> None:
        super().__init__()
        self.now = now
        self.random = Random(seed)
        self.loop = asyncio.get_running_loop()
        self.calls: list[_Call] = []
        self.served = 0.0
        self.order = 0
        self.at = self.loop.time()
        self.timer: asyncio.TimerHandle | None = None

    def received(self, number: int, body: bytes) -> None:
        self.advance()
        self.order += 1
        heapq.heappush(self.calls, _Call(self.served + work_of(self.random, self.now.load), self.order, number, body))
        self.plan()

    def advance(self) -> None:
        now = self.loop.time()
        while self.calls:
            speed = self.now.load.speed(len(self.calls))
            first = self.calls[0]
            ends = self.at + (first.until - self.served) / speed
            if ends > now:
                self.served += (now - self.at) * speed
                break
            self.at, self.served = ends, first.until
            heapq.heappop(self.calls)
            self.send(first.number, first.body)
        self.at = now

    def plan(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self.calls:
            left = (self.calls[0].until - self.served) / self.now.load.speed(len(self.calls))
            self.timer = self.loop.call_at(self.at + left, self.due)

    def due(self) -> None:
        self.advance()
        self.plan()

    def connection_lost(self, error: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Client(_Frames):
    """Calls the service; any number of calls share its connection."""

    def __init__(self, now: Now) -> None:
        super().__init__()
        self.now = now
        self.answers: dict[int, asyncio.Future[bytes]] = {}
        self.number = 0

    async def __call__(self, value: bytes) -> bytes:
        """The answer, which has the size that holds now."""
        self.number = (self.number + 1) % (1 << 32)
        answer = self.answers[self.number] = asyncio.get_running_loop().create_future()
        self.send(self.number, bytes(self.now.load.size))
        return await answer

    def received(self, number: int, body: bytes) -> None:
        answer = self.answers.pop(number)
        if not answer.done():
            answer.set_result(body)


async def served(now: Now) -> asyncio.Server:
    """The service on a free port of loopback."""
    seeds = iter(range(1, 1 << 20))
    return await asyncio.get_running_loop().create_server(lambda: _Served(now, next(seeds)), "127.0.0.1", 0)
