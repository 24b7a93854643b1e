"""Trying a pipeline out in virtual time, with lists in place of sources and sinks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from warren.connectors import memory
from warren.core.codecs import decoder
from warren.core.errors import EncodeError
from warren.core.graph import Inlet, Outlet, SinkConnection, SourceConnection
from warren.core.message import Metadata, Outgoing
from warren.core.receipt import Delivery, Kind, Outcome
from warren.pipelines.checkpoints import Keeper
from warren.pipelines.given import Arrival, Given, Script
from warren.pipelines.runtime import Runtime
from warren.pipelines.virtual import VirtualLoop

if TYPE_CHECKING:
    from warren.pipelines.pipeline import Pipeline

__all__ = ["Apart", "Ends", "Letter", "Trial", "TrialRuntime", "alone", "try_out"]

T = TypeVar("T")


class Ends:
    """What a trial puts around the ends of a pipeline: faults, or something that watches. This one changes nothing."""

    def __repr__(self) -> str:
        """What it is called."""
        return type(self).__name__

    def begin(self) -> Ends:
        """What stands around the ends of one trial; a new one where it remembers anything."""
        return self

    def arrivals(self, source: str, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        """What comes to a source instead of these."""
        return arrivals

    def source(self, name: str, connection: SourceConnection) -> SourceConnection:
        """What the pipeline reads from instead of this."""
        return connection

    def sink(self, name: str, connection: SinkConnection, *, dead: bool) -> SinkConnection:
        """What the pipeline writes to instead of this sink, or this queue of dead letters."""
        return connection

    def finish(self, error: BaseException | None) -> None:
        """The trial is over, or ended with an error; raises where something is not as it must be."""


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

    def __init__(self, letters: list[Letter], given: Given) -> None:
        self.letters = letters
        self.given = given

    async def write(self, messages: Outgoing) -> None:
        for i in range(len(messages)):
            metadata = messages.metadata(i)
            headers = metadata.headers
            if metadata.id in self.given.values:
                value = self.given.values[metadata.id]
            else:
                value = decoder(Any, metadata.content_type)(messages.values[i])
            self.letters.append(
                Letter(value, headers["warren-error"], headers["warren-reason"], headers["warren-stage"], metadata)
            )

    async def close(self) -> None:
        pass


class Apart(Runtime):
    """A runtime whose sources give what is at hand, and whose state is kept in memory, anew."""

    async def open_state(self) -> None:
        if self.pipeline.state is not None:
            self.keeper = Keeper(self, self.pipeline.state._replace(store=memory.state()))
            await self.keeper.open()

    @property
    def exhausted(self) -> bool:
        """Whether what was given has come to its end; nothing will ever come behind it, whatever its source is."""
        return not self._halted.done()


class TrialRuntime(Apart):
    """A runtime whose sources give what a script says, by their names, and whose sinks are lists."""

    def __init__(
        self, pipeline: Pipeline, script: Callable[[str], Script], start: float = 0.0, ends: Sequence[Ends] = ()
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(pipeline, clock=lambda: start + loop.time(), observers=pipeline.observers)
        self.script = script
        self.ends = [each.begin() for each in ends]
        self.trial = Trial({}, {}, {}, 0.0)
        self.given: list[tuple[Inlet[Any], Given]] = []

    async def execute(self) -> None:
        """Run to the end, and have what stood around the ends say whether all was well."""
        failed: BaseException | None = None
        try:
            await super().execute()
        except BaseException as error:
            failed = error
            raise
        finally:
            self.trial.elapsed = asyncio.get_running_loop().time()
            for each in self.ends:
                each.finish(failed)

    async def open_source(self, inlet: Inlet[Any]) -> SourceConnection:
        arrivals, end = self.script(inlet.name)
        for each in self.ends:
            arrivals = each.arrivals(inlet.name, arrivals)
        try:
            given = Given(inlet, Script(arrivals, end))
        except EncodeError as error:
            raise EncodeError(f"pipeline {self.name!r}: a test value cannot come from {inlet.name}: {error}") from error
        self.given.append((inlet, given))
        connection: SourceConnection = given
        for each in self.ends:
            connection = each.source(inlet.name, connection)
        return connection

    async def open_sink(self, outlet: Outlet[Any]) -> SinkConnection:
        return self._around(outlet.name, _Collected(self.trial.outputs.setdefault(outlet.name, [])), False)

    async def open_dead_letters(self, inlet: Inlet[Any], queue: str) -> SinkConnection:
        given = next(given for each, given in self.given if each is inlet)
        return self._around(queue, _Letters(self.trial.dead_letters.setdefault(queue, []), given), True)

    def _around(self, name: str, connection: SinkConnection, dead: bool) -> SinkConnection:
        for each in self.ends:
            connection = each.sink(name, connection, dead=dead)
        return connection

    def _settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        name = Kind(outcome.kind).name.lower().replace("_", "-")
        self.trial.outcomes[name] = self.trial.outcomes.get(name, 0) + len(tokens)
        super()._settled(delivery, tokens, outcome)


def try_out(pipeline: Pipeline, script: Callable[[str], Script], start: float = 0.0, ends: Sequence[Ends] = ()) -> Trial:
    """Run a pipeline on what a script says, in virtual time."""

    async def main() -> Trial:
        runtime = TrialRuntime(pipeline, script, start, ends)
        await runtime.execute()
        return runtime.trial

    def run() -> Trial:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(main())

    return alone(run)


def alone(run: Callable[[], T]) -> T:
    """Call a function that runs an event loop: here, or, where one is running, as in a notebook, in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    answers: list[T] = []
    errors: list[BaseException] = []

    def in_thread() -> None:
        try:
            answers.append(run())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]
