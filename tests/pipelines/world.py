"""A source and sinks that record what happens, check it, and fail when told to; all in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import Any, ClassVar, TypeVar

from warren.core.errors import ConnectorError
from warren.core.graph import Inlet, Outlet
from warren.core.message import Batch, Outgoing
from warren.pipelines.virtual import VirtualLoop

__all__ = ["Queue", "Recorded", "Violation", "virtually"]

T = TypeVar("T")


class Violation(AssertionError):
    """The pipeline broke a promise. Raised inside the pipeline it may be lost behind another error, so each is kept."""

    raised: ClassVar[list[Violation]] = []

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.raised.append(self)


def virtually(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in virtual time; what asyncio reports as forgotten is an error."""
    loop = VirtualLoop()
    Violation.raised.clear()
    reported: list[str] = []
    loop.set_exception_handler(lambda _, context: reported.append(f"{context['message']} {context.get('exception')!r}"))
    try:
        result = loop.run_until_complete(main())
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        if left:
            raise Violation(f"tasks were left running: {left}")
        if Violation.raised:
            raise Violation.raised[0]
        if reported:
            raise Violation(f"errors nobody saw: {reported}")
        return result
    finally:
        loop.close()


async def _nothing(what: str, *details: Any) -> None:
    return


Hook = Callable[..., Awaitable[None]]


class Queue(Inlet[Any]):
    """A source in memory that is a Violation to settle twice. ``hook(event, ids)`` may wait or raise."""

    def __init__(self, values: Sequence[Any], *, hook: Hook = _nothing, live: bool = False, chunk: int = 1024) -> None:
        self.values = list(values)
        self.hook = hook
        self.live = live
        self.chunk = chunk
        self.ready: list[tuple[float, int, int]] = [(0.0, i, 1) for i in range(len(self.values))]
        self.acknowledged: list[int] = []
        self.released: list[tuple[int, float, int | None]] = []
        self.letters: dict[str, list[tuple[str, dict[str, str]]]] = {}
        self.opened = 0
        self.closed = 0
        self.deliveries: Counter[int] = Counter()
        self.on_receive: Callable[[list[int]], None] = lambda ids: None
        self.on_acknowledge: Callable[[Sequence[Any]], None] = lambda ids: None
        self.on_release: Callable[[Sequence[Any], float], None] = lambda ids, delay: None
        self.on_letter: Callable[[str, int], None] = lambda queue, letter: None

    @property
    def name(self) -> str:
        return "queue"

    async def open(self, *, until_empty: bool = False) -> _QueueConnection:
        await self.hook("open", ())
        self.opened += 1
        return _QueueConnection(self, until_empty or not self.live)

    def dead_letters(self, queue: str) -> Outlet[Any]:
        return _Dead(self, queue)


class _QueueConnection:
    def __init__(self, queue: Queue, finite: bool) -> None:
        self.queue = queue
        self.finite = finite
        self.held: dict[int, int] = {}
        self.is_open = True
        self.receiving = False

    def _check(self, handles: Sequence[Hashable]) -> None:
        if not self.is_open:
            raise Violation(f"settled {handles} on a closed source")
        if len(set(handles)) != len(handles):
            raise Violation(f"settled twice in one call: {handles}")
        if strangers := [handle for handle in handles if handle not in self.held]:
            raise Violation(f"settled what was not unsettled: {strangers}")

    async def receive(self, limit: int) -> Batch | None:
        if self.receiving or not self.is_open:
            raise Violation("received twice at a time, or after closing")
        self.receiving = True
        try:
            return await self._receive(limit)
        finally:
            self.receiving = False

    async def _receive(self, limit: int) -> Batch | None:
        queue, loop = self.queue, asyncio.get_running_loop()
        if limit < 1:
            raise Violation(f"asked for {limit} messages")
        await queue.hook("receive", ())
        while not queue.ready or queue.ready[0][0] > loop.time():
            if not queue.ready and self.finite:
                return None
            await asyncio.sleep(max(queue.ready[0][0] - loop.time(), 0) if queue.ready else 1.0)
            queue.ready.sort()
        taken = [item for item in queue.ready[: min(limit, queue.chunk)] if item[0] <= loop.time()]
        del queue.ready[: len(taken)]
        ids = [i for _, i, _ in taken]
        self.held.update((i, attempts) for _, i, attempts in taken)
        queue.deliveries.update(ids)
        queue.on_receive(ids)
        return Batch([queue.values[i] for i in ids], ids, attempts=[attempts for _, _, attempts in taken])

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        self._check(handles)
        self.queue.on_acknowledge(handles)
        await self.queue.hook("acknowledge", handles)
        for handle in handles:
            assert isinstance(handle, int)
            del self.held[handle]
            self.queue.acknowledged.append(handle)

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        self._check(handles)
        self.queue.on_release(handles, delay)
        await self.queue.hook("release", handles)
        now = asyncio.get_running_loop().time()
        for handle in handles:
            assert isinstance(handle, int)
            self.queue.ready.append((now + delay, handle, attempts or self.held[handle]))
            self.queue.released.append((handle, delay, attempts))
            del self.held[handle]
        self.queue.ready.sort()

    async def close(self) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self.queue.closed += 1
        self.queue.ready += [(0.0, handle, attempts) for handle, attempts in self.held.items()]
        self.queue.ready.sort()
        self.held.clear()


class Recorded(Outlet[Any]):
    """A sink into ``values``, written to by one at a time. The hook may wait or raise before they are safe."""

    def __init__(self, name: str = "out", *, hook: Hook = _nothing) -> None:
        self._name = name
        self.hook = hook
        self.values: list[Any] = []
        self.writes: list[int] = []
        self.ids: list[str] = []
        self.opened = 0
        self.closed = 0
        self.on_confirm: Callable[[Sequence[Any]], None] = lambda values: None

    @property
    def name(self) -> str:
        return self._name

    async def open(self) -> _RecordedConnection:
        await self.hook("open", ())
        self.opened += 1
        return _RecordedConnection(self)


class _RecordedConnection:
    def __init__(self, sink: Recorded) -> None:
        self.sink = sink
        self.is_open = True
        self.writing = False

    async def write(self, messages: Outgoing) -> None:
        if self.writing or not self.is_open:
            raise Violation("written to twice at a time, or after closing")
        if not len(messages):
            raise Violation("asked to write nothing")
        self.writing = True
        try:
            values = list(messages.values)
            self.sink.ids += [messages.metadata(i).id for i in range(len(messages))]
            await self.sink.hook("write", values)
            self.sink.values += values
            self.sink.writes.append(len(values))
            self.sink.on_confirm(values)
        finally:
            self.writing = False

    async def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self.sink.closed += 1


class _Dead(Outlet[Any]):
    def __init__(self, queue: Queue, called: str) -> None:
        self.queue = queue
        self.called = called

    @property
    def name(self) -> str:
        return f"dead:{self.called}"

    async def open(self) -> _DeadConnection:
        await self.queue.hook("open-dead", ())
        return _DeadConnection(self)


class _DeadConnection:
    def __init__(self, dead: _Dead) -> None:
        self.dead = dead
        self.is_open = True

    async def write(self, messages: Outgoing) -> None:
        if not self.is_open:
            raise Violation("wrote dead letters after closing")
        queue = self.dead.queue
        letters = [messages.metadata(i) for i in range(len(messages))]
        await queue.hook("dead", [int(letter.id) for letter in letters])
        for letter in letters:
            queue.letters.setdefault(self.dead.called, []).append((letter.id, dict(letter.headers)))
            queue.on_letter(self.dead.called, int(letter.id))

    async def close(self) -> None:
        self.is_open = False


def failing(message: str = "the sink is gone") -> Hook:
    """A hook that always raises."""

    async def fail(what: str, *details: Any) -> None:
        raise ConnectorError(message)

    return fail
