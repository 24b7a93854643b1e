"""Recorded messages, replayed while the clock on the wall runs: at the speed they came, faster, or as fast as it goes."""

from __future__ import annotations

import asyncio
import heapq
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from warren.connectors import address
from warren.connectors.memory.waiting import wait, wake
from warren.core import clock
from warren.core.chunk import Chunk
from warren.core.codecs import encode
from warren.core.errors import EncodeError, GraphError, PartialWriteError
from warren.core.graph import Inlet, Outlet, SinkConnection, SourceConnection
from warren.core.hooks import FlowObserver
from warren.core.message import Batch, Outgoing
from warren.core.receipt import Delivery, Kind, Outcome
from warren.pipelines.given import Arrival, column, content_types
from warren.pipelines.pipeline import Pipeline, Running, blocking
from warren.pipelines.trial import Apart, alone
from warren.testing.recording import parted
from warren.testing.stored import Stored, Value, stored

__all__ = ["OWN", "Replayed", "replay_live"]

OWN = "own"
SAMPLES = 5
"""How many values of each sink are shown."""


class Replayed(msgspec.Struct):
    """What came of a replay: messages read, how they ended, values by sink, failures by error and stage, and seconds.

    ``late`` is how many seconds after its time the message came that was latest; ``samples`` has the first values that
    reached each sink where these were only counted.
    """

    messages: int = 0
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    outputs: Counter[str] = msgspec.field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    samples: dict[str, list[Any]] = msgspec.field(default_factory=dict)
    elapsed: float = 0.0
    late: float = 0.0

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.elapsed if self.elapsed else 0.0


def replay_live(
    pipeline: Pipeline,
    recording: str | os.PathLike[str] | Stored,
    *,
    speed: float = 1.0,
    to: str | Outlet[Any] | None = None,
    value: Value | None = None,
    observers: Sequence[FlowObserver] = (),
) -> Replayed:
    r"""Replay recorded messages through a pipeline on the real clock: to see it at work under the load that was.

    - ``recording``: a folder of recorded flows, or a file of JSON lines, as for `replay`; it is read as it goes, not loaded
    - ``speed``: how many times as fast as they came; ``math.inf`` is as fast as the pipeline takes them
    - ``to``: where results go: nowhere, so that they are only counted; ``"own"``, the pipeline's sinks and dead letters;
      or a sink or an address for all results, where dead letters are only counted
    - ``value``: makes payloads, as for `recorded`; ``observers`` see the flow in place of the pipeline's own

    Its sources are not touched, nor is its state: that is kept in memory, anew. A message that the pipeline is too slow for
    waits in the recording; one that is parked comes again after its delay, which the speed shortens. The first Ctrl-C ends
    it as it ends `Pipeline.run`, and what was replayed until then is told.

    Raises what `replay` raises, and what stops the pipeline.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> file = Path(tempfile.mkdtemp(), "orders.jsonl")
    >>> _ = file.write_text('{"at": 10, "value": "a"}\n{"at": 9999, "value": "b"}\n')
    >>> shout = Pipeline("shout", memory.items([]) | map(str.upper) | memory.queue("loud"))
    >>> done = replay_live(shout, file, speed=math.inf)
    >>> done.messages, done.outcomes, done.samples
    (2, Counter({'delivered': 2}), {'memory:loud': ['A', 'B']})
    """
    if not isinstance(speed, int | float) or not speed > 0:
        raise GraphError(f"replay_live(speed={speed!r}): give a number above 0; 10 replays ten times as fast")
    if isinstance(to, str) and to != OWN:
        to = address.sink(to)
    found = stored(recording, value=value, prefer=pipeline.name) if isinstance(recording, str | os.PathLike) else recording
    lanes = parted(pipeline, found.sources, found.made_up)
    done = Replayed()
    started = time.perf_counter()
    alone(
        lambda: blocking(
            pipeline.shutdown, lambda: Running(_Live(pipeline, found, lanes, float(speed), to, observers, done))
        )
    )
    done.elapsed = time.perf_counter() - started
    return done


class _Live(Apart):
    """A runtime whose sources give what was recorded, and whose sinks are its own only where that is asked for."""

    def __init__(
        self,
        pipeline: Pipeline,
        found: Stored,
        lanes: dict[str, str | None],
        speed: float,
        to: str | Outlet[Any] | None,
        observers: Sequence[FlowObserver],
        done: Replayed,
    ) -> None:
        super().__init__(pipeline, clock=clock.system, observers=observers)
        self.found = found
        self.lanes = lanes
        self.speed = speed
        self.to = to
        self.done = done
        # When the first message was asked for, by the loop's clock and by the pipeline's.
        self.began = self.epoch = math.nan

    async def open_source(self, inlet: Inlet[Any]) -> SourceConnection:
        lane = self.lanes[inlet.name]
        return _Feed(self, inlet, (each for source, each in self.found.read() if lane in (None, source)))

    async def open_sink(self, outlet: Outlet[Any]) -> SinkConnection:
        if not isinstance(self.to, Outlet):
            return _Counted(self.done, outlet.name, await super().open_sink(outlet) if self.to == OWN else None)
        if id(self.to) not in self._sinks:
            self._sinks[id(self.to)] = _Counted(self.done, self.to.name, await super().open_sink(self.to))
        return self._sinks[id(self.to)]

    def terminal(self, outlet: Outlet[Any], path: str) -> Callable[[Chunk], None]:
        return super().terminal(self.to if isinstance(self.to, Outlet) else outlet, path)

    async def open_dead_letters(self, inlet: Inlet[Any], queue: str) -> SinkConnection:
        return _Counted(self.done, queue, await super().open_dead_letters(inlet, queue) if self.to == OWN else None)

    def _settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        self.done.outcomes[Kind(outcome.kind).name.lower().replace("_", "-")] += len(tokens)
        if outcome.kind is Kind.DEAD_LETTERED and outcome.failure is not None:
            self.done.failures[type(outcome.failure.error).__name__, outcome.failure.stage] += len(tokens)
        super()._settled(delivery, tokens, outcome)


class _Counted:
    """Counts what a sink has taken; without one behind it, it keeps the first values."""

    def __init__(self, done: Replayed, name: str, connection: SinkConnection | None) -> None:
        self.done = done
        self.name = name
        self.connection = connection

    async def write(self, messages: Outgoing) -> None:
        try:
            if self.connection is not None:
                await self.connection.write(messages)
            elif len(kept := self.done.samples.setdefault(self.name, [])) < SAMPLES:
                kept.extend(messages.originals()[: SAMPLES - len(kept)])
        except PartialWriteError as error:
            self.done.outputs[self.name] += len(messages) - len(error.errors)
            raise
        self.done.outputs[self.name] += len(messages)

    async def close(self) -> None:
        if self.connection is not None:
            await self.connection.close()


class _Message(NamedTuple):
    """One that waits or is in flight: when it is due, its place, and how often it was tried and lost."""

    due: float
    place: int
    arrival: Arrival
    attempts: int = 1
    losses: int = 0


class _Feed:
    """A source connection over recorded messages, each when its time has come."""

    def __init__(self, run: _Live, inlet: Inlet[Any], arrivals: Iterator[Arrival]) -> None:
        self.run = run
        self.inlet = inlet
        self.coming = (_Message(each.at / run.speed, place, each) for place, each in enumerate(arrivals))
        self.next: _Message | None = None
        self.again: list[_Message] = []
        self.unsettled: dict[Hashable, _Message] = {}
        self.changed: set[asyncio.Future[None]] = set()

    async def receive(self, limit: int) -> Batch | None:
        """Wait until a message is due; what is due goes together."""
        loop = asyncio.get_running_loop()
        if math.isnan(self.run.began):
            self.run.began, self.run.epoch = loop.time(), self.run.clock()
        while True:
            now = loop.time() - self.run.began
            if ready := list(islice(self._due(now), limit)):
                return self._batch(ready, now)
            waiting = [*self.again[:1], *((self.next,) if self.next is not None else ())]
            if not waiting:
                return None
            await wait(self.changed, self.run.began + min(waiting).due)

    def _due(self, now: float) -> Iterator[_Message]:
        """Take the messages whose time has come, those that come again first."""
        while self.again and self.again[0].due <= now:
            yield heapq.heappop(self.again)
        while (each := self.next or next(self.coming, None)) is not None:
            self.next = each if each.due > now else None
            if self.next is not None:
                return
            yield each

    def _batch(self, ready: list[_Message], now: float) -> Batch:
        done, arrivals = self.run.done, [message.arrival for message in ready]
        self.unsettled.update((message.place, message) for message in ready)
        done.messages += sum(message.attempts == 1 and not message.losses for message in ready)
        paced = self.run.speed < math.inf
        if paced:
            done.late = max(done.late, now - min(message.due for message in ready))
        return Batch(
            bodies=[self._body(arrival) for arrival in arrivals],
            handles=[message.place for message in ready],
            content_type=content_types([arrival.content_type for arrival in arrivals]),
            ids=[message.arrival.id or str(message.place) for message in ready],
            keys=column([arrival.key for arrival in arrivals]),
            headers=column([arrival.headers for arrival in arrivals]),
            enqueued=[self.run.epoch + message.due for message in ready] if paced else None,
            attempts=[message.attempts for message in ready],
            deliveries=[self._deliveries(message) for message in ready],
        )

    def _body(self, arrival: Arrival) -> Any:
        value = arrival.value
        if self.inlet.type is None or isinstance(value, bytes):
            return value
        try:
            return encode(value)[0]
        except EncodeError as error:
            raise EncodeError(
                f"pipeline {self.run.name!r}: a recorded value cannot come from {self.inlet.name}: {error}"
            ) from error

    def _deliveries(self, message: _Message) -> int:
        return 1 + message.losses + (0 if self.inlet.losses_are_attempts else message.attempts - 1)

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        """They are done with."""
        for handle in handles:
            self.unsettled.pop(handle, None)

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        """Have them come again; a delay passes as fast as the recording does."""
        due = asyncio.get_running_loop().time() - self.run.began + delay / self.run.speed
        for message in [self.unsettled.pop(handle) for handle in handles if handle in self.unsettled]:
            losses = message.losses + (not attempts)
            heapq.heappush(self.again, message._replace(due=due, attempts=attempts or message.attempts, losses=losses))
        for future in self.changed:
            wake(future)

    async def close(self) -> None:
        """Nothing is open."""
