"""A world in which a worker dies between any two steps of its event loop; sources, sinks and state live on.

What a dead worker still does when it is cleared away reaches nobody.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from tests.pipelines.world import Violation
from warren.connectors import memory
from warren.core.graph import Inlet, Outlet, SinkConnection
from warren.core.message import Batch, Outgoing
from warren.core.state import Change, Kept
from warren.pipelines.checkpoints import Keeper
from warren.pipelines.pipeline import Pipeline
from warren.pipelines.runtime import Runtime
from warren.pipelines.virtual import VirtualLoop

__all__ = ["Out", "Source", "World"]


class _Killed(KeyboardInterrupt):
    """The worker is dead. asyncio lets it through."""


class _MortalLoop(VirtualLoop):
    """An event loop that dies instead of taking its ``left``th step; with 0 it lives on."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:
        return super().call_soon(self._step, callback, *args, context=context)

    def _step(self, callback: Callable[..., object], *args: Any) -> None:
        self.left -= 1
        if self.left == 0:
            super().call_soon(callback, *args)
            raise _Killed
        callback(*args)

    def clear_away(self) -> None:
        """End what a dead worker left."""
        self.left = 0
        while tasks := [task for task in asyncio.all_tasks(self) if not task.done()]:
            for task in tasks:
                task.cancel()
            self.run_until_complete(asyncio.wait(tasks))
        self.close()


class World:
    """What outlives a worker, and the lives that are lived in it."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.state = memory.state()
        self.life = 0
        self.faults = True
        self.began = 1e6
        self.reconnects = draw.choice([0.0, 0.0, 0.05])
        self.waits = draw.choice([[0.0], [None, 0.0, 0.0, 0.01, 1.0]])
        self.dead: list[_MortalLoop] = []
        self.on_commit: Callable[[Sequence[Change]], None] = lambda changes: None

    def now(self) -> float:
        return self.began + asyncio.get_running_loop().time()

    async def pause(self) -> None:
        wait = self.draw.choice(self.waits)
        if wait is not None:
            await asyncio.sleep(wait)

    def live(self, pipeline: Callable[[Lease], Pipeline], steps: int = 0, stop: float | None = None) -> bool:
        """One life of a worker, of so many steps of its loop at most; whether it came to its end."""
        loop = _MortalLoop(steps)
        lease = Lease(self)
        reported: list[str] = []
        loop.set_exception_handler(lambda _, context: reported.append(f"{context['message']} {context.get('exception')!r}"))

        async def main() -> None:
            run = _Mortal(self, pipeline(lease))
            if stop is not None:
                loop.call_later(stop, run.stop)
            await run.execute()

        Violation.raised.clear()
        try:
            loop.run_until_complete(main())
            ended = True
        except _Killed:
            ended = False
        finally:
            self.began += loop.time()
            self.life += 1
            self.dead.append(loop)
            self.state.close()
        if Violation.raised:
            raise Violation.raised[0]
        if reported:
            raise Violation(f"errors nobody saw: {reported}")
        if ended and (left := [task for task in asyncio.all_tasks(loop) if not task.done()]):
            raise Violation(f"tasks were left running: {left}")
        return ended

    def end(self) -> None:
        """Clear all dead workers away."""
        self.life = -1
        for loop in self.dead:
            loop.set_exception_handler(lambda loop, context: None)
            loop.clear_away()


class Lease:
    """The state, for one life."""

    waits = False

    def __init__(self, world: World) -> None:
        self.world = world
        self.life = world.life

    def open(self, pipeline: str) -> Mapping[str, tuple[int, Kept]]:
        return self.world.state.open(pipeline) if self.life == self.world.life else {}

    def commit(self, changes: Sequence[Change]) -> None:
        if self.life == self.world.life:
            self.world.state.commit(changes)
            self.world.on_commit(changes)

    def close(self) -> None:
        if self.life == self.world.life:
            self.world.state.close()


class _SlowKeeper(Keeper):
    """What a checkpoint writes takes a while, and so does the news of it."""

    def __init__(self, world: World, run: Runtime) -> None:
        assert run.pipeline.state is not None
        super().__init__(run, run.pipeline.state)
        self.world = world

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        await self.world.pause()
        answer = function(*arguments)
        await self.world.pause()
        return answer


class _Mortal(Runtime):
    def __init__(self, world: World, pipeline: Pipeline) -> None:
        super().__init__(pipeline, clock=world.now)
        self.world = world

    async def open_state(self) -> None:
        self.keeper = _SlowKeeper(self.world, self)
        await self.keeper.open()


class Source(Inlet[Any]):
    """A durable queue of messages with ids: what is unsettled when a worker or the connection is lost comes again, in order.

    ``on_acknowledge`` is asked at the moment from which on a message never comes again.
    """

    def __init__(self, world: World, name: str, messages: Sequence[tuple[str, Any]]) -> None:
        self.world = world
        self._name = name
        self.messages = list(messages)
        self.ready: list[tuple[float, int]] = [(0.0, place) for place in range(len(messages))]
        self.acknowledged: set[int] = set()
        self.deliveries: Counter[int] = Counter()
        self.attempts: dict[int, int] = {}
        self.letters: set[str] = set()
        self.bodies: list[Any] = []
        self.chunk = world.draw.choice([1, 3, 20])
        self.connection: _Connection | None = None
        self.on_acknowledge: Callable[[int], None] = lambda place: None

    @property
    def name(self) -> str:
        return self._name

    def add(self, id: str, value: Any) -> None:
        self.ready.append((0.0, len(self.messages)))
        self.messages.append((id, value))

    def give_back(self, places: Sequence[int], due: float = 0.0) -> None:
        self.ready = sorted([*self.ready, *((due, place) for place in places)])

    async def open(self, *, until_empty: bool = False) -> _Connection:
        await self.world.pause()
        if self.connection is not None:
            self.give_back(list(self.connection.held.values()))
        self.connection = _Connection(self)
        return self.connection

    def dead_letters(self, queue: str) -> Outlet[Any]:
        return _Letters(self)


class _Connection:
    """Handles are of one session; a lost connection begins another, for which those of the last mean nothing."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.world = source.world
        self.life = source.world.life
        self.session = 0
        self.held: dict[Hashable, int] = {}
        self.settled: set[Hashable] = set()

    @property
    def alive(self) -> bool:
        return self.life == self.world.life

    async def receive(self, limit: int) -> Batch | None:
        source, world = self.source, self.world
        await world.pause()
        if world.faults and world.draw.random() < world.reconnects:
            source.give_back(list(self.held.values()))
            self.held.clear()
            self.session += 1
        while self.alive and source.ready:
            due = [item for item in source.ready if item[0] <= world.now() + 1e-5][: min(limit, source.chunk)]
            if due:
                source.ready = [item for item in source.ready if item not in due]
                places = [place for _, place in due]
                source.deliveries.update(places)
                handles = [(self.session, place, source.deliveries[place]) for place in places]
                self.held.update(zip(handles, places, strict=True))
                messages = [source.messages[place] for place in places]
                return Batch(
                    [value for _, value in messages],
                    handles,
                    ids=[id for id, _ in messages],
                    attempts=[source.attempts.get(place, 1) for place in places],
                    deliveries=[source.deliveries[place] for place in places],
                )
            await asyncio.sleep(max(0.0, min(source.ready)[0] - world.now()))
        return None

    def _settle(self, handle: Hashable) -> int | None:
        if handle in self.settled:
            raise Violation(f"{self.source.name}: settled {handle} twice")
        self.settled.add(handle)
        return self.held.pop(handle, None)

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        await self.world.pause()
        for handle in handles if self.alive else ():
            if (place := self._settle(handle)) is not None:
                self.source.on_acknowledge(place)
                self.source.acknowledged.add(place)
        await self.world.pause()

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        await self.world.pause()
        for handle in handles if self.alive else ():
            if (place := self._settle(handle)) is not None:
                self.source.attempts[place] = attempts or self.source.attempts.get(place, 1)
                self.source.give_back([place], self.world.now() + delay if delay else 0.0)
        await self.world.pause()

    async def close(self) -> None:
        if self.alive:
            self.source.give_back(list(self.held.values()))
            self.held.clear()


class Out(Outlet[Any]):
    """A durable sink: of what is written when the worker dies, the first part may be there. ``write`` takes each value."""

    def __init__(self, world: World, name: str, write: Callable[[Any], None]) -> None:
        self.world = world
        self._name = name
        self.write = write

    @property
    def name(self) -> str:
        return self._name

    async def open(self) -> SinkConnection:
        await self.world.pause()
        return _Writing(self.world, lambda messages, i: self.write(messages.values[i]))


class _Letters(Outlet[Any]):
    def __init__(self, source: Source) -> None:
        self.source = source

    @property
    def name(self) -> str:
        return f"{self.source.name}.dead"

    async def open(self) -> SinkConnection:
        await self.source.world.pause()
        return _Writing(self.source.world, self.write)

    def write(self, messages: Outgoing, i: int) -> None:
        self.source.letters.add(messages.metadata(i).id)
        self.source.bodies.append(messages.values[i])


class _Writing:
    def __init__(self, world: World, write: Callable[[Outgoing, int], None]) -> None:
        self.world = world
        self.life = world.life
        self.write_one = write
        self.busy = False

    async def write(self, messages: Outgoing) -> None:
        if self.busy:
            raise Violation("written to twice at a time")
        self.busy = True
        await self.world.pause()
        half = self.world.draw.randint(0, len(messages))
        for i in range(len(messages)):
            if i == half:
                await self.world.pause()
            if self.life == self.world.life:
                self.write_one(messages, i)
        await self.world.pause()
        self.busy = False

    async def close(self) -> None:
        pass
