"""Trying a pipeline out in virtual time, with lists in place of sources and sinks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from warren.core.codecs import decoder, encode
from warren.core.errors import EncodeError
from warren.core.graph import Inlet, Outlet, SinkConnection
from warren.core.message import Batch, Metadata, Outgoing
from warren.core.receipt import Delivery, Kind, Outcome
from warren.pipelines.runtime import Runtime
from warren.pipelines.virtual import VirtualLoop

if TYPE_CHECKING:
    from warren.pipelines.pipeline import Pipeline

__all__ = ["Letter", "Trial"]


class Letter(msgspec.Struct, frozen=True):
    """A dead letter: the value as it came from the source, or the rows of it that failed; and why and where."""

    value: Any
    error: str
    reason: str
    stage: str
    metadata: Metadata


class Trial(msgspec.Struct):
    """What came of a trial: values by sink, dead letters by queue, how messages ended, and the virtual seconds it took."""

    outputs: dict[str, list[Any]]
    dead_letters: dict[str, list[Letter]]
    outcomes: dict[str, int]
    elapsed: float

    @property
    def values(self) -> list[Any]:
        """All the values that reached a sink, sink by sink."""
        return [value for values in self.outputs.values() for value in values]


class _Given:
    """A source connection over given values."""

    def __init__(self, inlet: Inlet[Any], values: Sequence[Any]) -> None:
        bodies = list(values)
        if inlet.type is not None:
            bodies = [value if isinstance(value, bytes) else encode(value)[0] for value in bodies]
        self.given = list(values)
        self.bodies = bodies
        self.waiting: list[tuple[float, int, int]] = [(0.0, i, 1) for i in range(len(bodies))]
        self.unsettled: set[int] = set()

    async def receive(self, limit: int) -> Batch | None:
        loop = asyncio.get_running_loop()
        if not self.waiting:
            return None
        self.waiting.sort()
        await asyncio.sleep(max(0.0, self.waiting[0][0] - loop.time()))
        now = max(loop.time(), self.waiting[0][0])
        ready = [item for item in self.waiting[:limit] if item[0] <= now]
        del self.waiting[: len(ready)]
        handles = [i for _, i, _ in ready]
        self.unsettled.update(handles)
        return Batch(bodies=[self.bodies[i] for i in handles], handles=handles, attempts=[n for _, _, n in ready])

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        self.unsettled.difference_update(handles)

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        when = asyncio.get_running_loop().time() + delay
        self.waiting += [(when, h, attempts or 1) for h in handles if isinstance(h, int) and h in self.unsettled]
        self.unsettled.difference_update(handles)

    async def close(self) -> None:
        pass


class _Collected:
    """A sink connection into a list."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    async def write(self, messages: Outgoing) -> None:
        self.values.extend(messages.values)

    async def close(self) -> None:
        pass


class _Letters:
    """A dead-letter connection into a list."""

    def __init__(self, letters: list[Letter], given: _Given) -> None:
        self.letters = letters
        self.given = given

    async def write(self, messages: Outgoing) -> None:
        for i in range(len(messages)):
            metadata = messages.metadata(i)
            headers = metadata.headers
            place, _, part = metadata.id.partition("/")
            value = decoder(Any, metadata.content_type)(messages.values[i]) if part else self.given.given[int(place)]
            self.letters.append(
                Letter(value, headers["warren-error"], headers["warren-reason"], headers["warren-stage"], metadata)
            )

    async def close(self) -> None:
        pass


class _Trial(Runtime):
    """A runtime with lists for ends."""

    given: Sequence[Any]
    trial: Trial

    def prepare(self, given: Sequence[Any]) -> Trial:
        self.given = given
        self.trial = Trial({}, {}, {}, 0.0)
        return self.trial

    async def open_source(self, inlet: Inlet[Any]) -> _Given:
        try:
            return _Given(inlet, self.given)
        except EncodeError as error:
            raise EncodeError(f"pipeline {self.name!r}: a test value cannot come from {inlet.name}: {error}") from error

    async def open_state(self) -> None:
        pass

    async def open_sink(self, outlet: Outlet[Any]) -> SinkConnection:
        return _Collected(self.trial.outputs.setdefault(outlet.name, []))

    async def open_dead_letters(self, inlet: Inlet[Any], queue: str) -> SinkConnection:
        reader = next(reader for reader in self._readers if reader.inlet is inlet)
        assert isinstance(reader.connection, _Given)
        return _Letters(self.trial.dead_letters.setdefault(queue, []), reader.connection)

    def _settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        name = Kind(outcome.kind).name.lower().replace("_", "-")
        self.trial.outcomes[name] = self.trial.outcomes.get(name, 0) + len(tokens)
        super()._settled(delivery, tokens, outcome)


def try_out(pipeline: Pipeline, values: Sequence[Any], start: float) -> Trial:
    """Run a pipeline on given values in virtual time."""

    async def main() -> Trial:
        loop = asyncio.get_running_loop()
        runtime = _Trial(pipeline, clock=lambda: start + loop.time(), observers=pipeline.observers)
        trial = runtime.prepare(values)
        await runtime.execute()
        trial.elapsed = loop.time()
        return trial

    def run() -> Trial:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(main())

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    # An event loop cannot run inside another, so a notebook's test gets a thread of its own.
    answer: list[Trial | BaseException] = []

    def in_thread() -> None:
        try:
            answer.append(run())
        except BaseException as error:
            answer.append(error)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    if isinstance(answer[0], BaseException):
        raise answer[0]
    return answer[0]
