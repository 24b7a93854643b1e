"""The protocols that recording and tuning plug into; a pipeline calls them, and knows nothing of who listens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from warren.core.breaker import State
from warren.core.clock import Clock
from warren.core.handling import Around
from warren.core.health import Health
from warren.core.message import Outgoing
from warren.core.policies import Decision
from warren.core.receipt import Delivery, Ledger, Outcome, Token

__all__ = [
    "BreakerObserver",
    "CallObserver",
    "Controls",
    "DecisionObserver",
    "FlowObserver",
    "RunObserver",
    "Sending",
    "Status",
    "Steering",
    "TraceObserver",
    "Work",
    "WorkObserver",
]


@runtime_checkable
class FlowObserver(Protocol):
    """Sees every message's end and every chunk's way through a step. Calls come on the hot path: keep them short."""

    def open(self, pipeline: str) -> None:
        """A pipeline starts."""

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome, at: float) -> None:
        """Messages of one delivery reached their end ``at`` seconds since 1970."""

    def handled(
        self, stage: str, taken: int, given: int, failed: int, start: float, end: float, credit: int, depth: int | None
    ) -> None:
        """A step took a chunk of ``taken`` messages, gave ``given`` and failed ``failed`` since it was last called.

        ``start`` and ``end`` are seconds since 1970, ``credit`` is how many messages are unsettled, and ``depth`` how many
        wait at the source, where it knows.
        """

    def close(self) -> None:
        """The pipeline has ended; everything seen must be safe when this returns."""


class Work(NamedTuple):
    """What the workers of a stage did in a span of time: those of an asynchronous step, of a pool, or of a sink.

    - ``workers``: how many calls may run at once
    - ``waiting``: messages that wait for a worker, at the end of the span
    - ``served``: messages whose calls ended
    - ``busy``: seconds that workers were at work, of calls under way as well; at most ``workers`` times the span
    - ``stayed``: seconds that messages were here, waiting or served, added up
    - ``service``: seconds for each message of the call that ended last; ``None`` where none ended, or it is not known
    - ``blocked``: of a source, seconds in which it had no credit to read; it is ``busy`` while it waits for messages
    """

    workers: int
    waiting: int
    served: int
    busy: float
    stayed: float
    service: float | None = None
    blocked: float | None = None


@runtime_checkable
class WorkObserver(Protocol):
    """What an observer also has, where it wants to know what the workers of stages do."""

    def worked(self, stage: str, work: Work, start: float, end: float) -> None:
        """The workers of a stage did this between two times, in seconds since 1970; told a few times a second at most."""


@runtime_checkable
class DecisionObserver(Protocol):
    """What an observer also has, where it wants to know what models decide."""

    def decided(self, stage: str, decisions: Sequence[Decision]) -> None:
        """Decisions of a stage's models are over, and change no more; told a few times a second at most."""


class Controls(Protocol):
    """What an observer can do with the running pipeline that it sees."""

    clock: Clock

    def paused(self, source: str | None = None) -> bool:
        """Whether this source, or each one, is paused. Raises `GraphError` where there is no such source."""
        ...

    def pause(self, source: str | None = None, *, on: bool = True) -> None:
        """Read nothing more from this source, or from any, until called with ``on=False``; what was read goes on.

        What the source is asked for already may still come. Raises `GraphError` where there is no such source.
        """

    async def health(self, patience: float) -> Health:
        """How it fares, with all of its ends that can tell."""
        ...


@runtime_checkable
class Steering(Protocol):
    """What an observer also has, where it wants to act on the pipeline that it sees."""

    def steer(self, controls: Controls) -> None:
        """The pipeline has been opened, and its sources are about to be read; called in its event loop."""


@runtime_checkable
class BreakerObserver(Protocol):
    """What an observer also has, where it wants to know which calls are not made."""

    def switched(self, stage: str, state: State) -> None:
        """The circuit breaker of a stage is in this state now; told at the start and at each change."""


class Status(Protocol):
    """A running pipeline, to be asked how it fares; but for the plain numbers, on the thread that runs it."""

    name: str
    credit: int
    clock: Clock
    ledger: Ledger
    observers: Sequence[FlowObserver]

    @property
    def unacknowledged(self) -> int:
        """How many messages the sources have handed out and not yet been told the end of."""
        ...

    @property
    def checkpointed(self) -> float | None:
        """When the last checkpoint was durable, in seconds since 1970; ``None`` where nothing is kept."""
        ...

    async def health(self, patience: float) -> Health:
        """How it fares, with all of its ends that can tell."""
        ...


@runtime_checkable
class RunObserver(Protocol):
    """What an observer also has, where it wants to ask the pipeline itself while it runs."""

    def started(self, run: Status) -> None:
        """A pipeline begins to open its ends; what this raises stops it before it has read anything."""


@runtime_checkable
class CallObserver(Protocol):
    """What an observer also has, where handlers are to know which message they are called with."""

    def around(self, stage: str, tokens: Sequence[Token]) -> Around:
        """What is to be entered around a stage's calls with some of these messages; most often nothing."""
        ...


class Sending(Protocol):
    """Messages on their way to a sink, as an observer sees them."""

    @property
    def headers(self) -> Mapping[int, Mapping[str, str]]:
        """What is put over the headers of some of them, by place."""
        ...

    def ended(self, errors: Mapping[int, BaseException]) -> None:
        """They are safe, but for those that could not be written, by place."""


@runtime_checkable
class TraceObserver(Protocol):
    """What an observer also has, where it follows messages from one system to the next by their headers."""

    def read(self, source: str, delivery: Delivery) -> None:
        """A source has handed over messages; no step has seen them."""

    def sending(self, sink: str, messages: Outgoing) -> Sending | None:
        """Messages are about to be written to a sink or to dead letters; ``None`` where it follows none of them."""
        ...
