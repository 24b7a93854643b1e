"""Steps of a pipeline as immutable values, and how ``|`` composes them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from reactivex.subject import Subject

from warren.core.chunk import Chunk
from warren.core.errors import GraphError
from warren.core.knobs import Setting
from warren.core.message import Batch, Outgoing
from warren.core.stage import FailureHandler, Handler, Run, RxOperator, Stage, compile_operator, compile_steps

__all__ = [
    "Ended",
    "Flow",
    "Inlet",
    "Operator",
    "Outlet",
    "Sink",
    "SinkConnection",
    "Source",
    "SourceConnection",
    "Step",
    "Stream",
    "name_of",
]

T_co = TypeVar("T_co", covariant=True)
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)
V = TypeVar("V")


def name_of(function: Callable[..., Any]) -> str:
    """What to call a function in errors and drawings.

    >>> name_of(len), name_of(functools.partial(int, base=2))
    ('len', 'int')
    """
    if isinstance(function, functools.partial):
        return name_of(function.func)
    name = getattr(function, "__name__", type(function).__name__)
    return "…" if name == "<lambda>" else str(name)


class Step:
    """Anything that can stand in a pipeline."""

    @property
    def name(self) -> str:
        """What errors, drawings and recordings call it."""
        return type(self).__name__.lower()

    @property
    def guarantee(self) -> str:
        """What it does to the delivery guarantee, in a few words; empty where it keeps it."""
        return ""

    def branches(self) -> Iterator[tuple[str, Step]]:
        """The steps inside this one, labelled."""
        return iter(())

    def __repr__(self) -> str:
        return self.name

    def _misplaced(self, other: object) -> GraphError:
        remedy = "compose sources, operators and sinks with |"
        if isinstance(other, Source):
            remedy = "a source starts a pipeline; join sources with merge(a, b)"
        elif callable(other):
            remedy = f"wrap the function: map({name_of(other)})"
        return GraphError(f"{other!r} cannot follow {self.name}: {remedy}")


class Source(Step, Generic[T_co]):
    """Where messages come from: a leaf (`Inlet`), or one with operators after it (`Stream`)."""

    @overload
    def __or__(self, other: Operator[T_co, V]) -> Source[V]: ...
    @overload
    def __or__(self, other: Sink[T_co]) -> Flow: ...
    def __or__(self, other: Any) -> Any:
        """Append an operator or a sink."""
        if isinstance(other, Operator):
            return Stream(self, other.steps)
        if isinstance(other, Sink):
            return Flow(self, other)
        raise self._misplaced(other)

    def inlets(self) -> Iterator[Inlet[Any]]:
        """The leaves it reads from."""
        for _, step in self.branches():
            if isinstance(step, Source):
                yield from step.inlets()


class Stream(Source[T_co]):
    """A source followed by operators."""

    def __init__(self, source: Source[Any], steps: tuple[Operator[Any, Any], ...]) -> None:
        self.source: Source[Any] = source.source if isinstance(source, Stream) else source
        self.steps: tuple[Operator[Any, Any], ...] = linked((*source.steps, *steps) if isinstance(source, Stream) else steps)

    @property
    def name(self) -> str:
        """Its source's and operators' names."""
        return " | ".join(step.name for step in (self.source, *self.steps))

    def branches(self) -> Iterator[tuple[str, Step]]:
        """Its source, then its operators."""
        yield from (("", step) for step in (self.source, *self.steps))


class Operator(Step, Generic[In_contra, Out_co]):
    """Takes chunks and gives chunks. A composition of operators is an operator.

    A subclass implements `attach`, which is called once for each running pipeline and returns what handles a chunk.
    The handler returns a chunk to pass on, or nothing and calls ``stage.emit`` later; a value it keeps or drops must be
    settled through ``stage.settle`` or carried on in the token of another.
    """

    @property
    def steps(self) -> tuple[Operator[Any, Any], ...]:
        """The operators it consists of, in order."""
        return (self,)

    passes: bool = False
    """Whether values go on as they came."""

    def gives(self, type: Any) -> Any:
        """The type of what goes on where values of ``type`` come; ``Any`` where it is not known. Documents tell it."""
        return type if self.passes else Any

    @property
    def holds(self) -> int | None:
        """The most values it may hold back while it waits for more; ``None`` where only time bounds it."""
        return 0

    @property
    def timed(self) -> bool:
        """Whether there is something it holds that only time bounds."""
        return self.holds is None

    @property
    def shelves(self) -> bool:
        """Whether it holds no messages, but what it makes of them, where the pipeline keeps state."""
        return False

    @property
    def spreads(self) -> bool:
        """Whether one message becomes so many values here that the steps behind it hold far fewer messages than values."""
        return False

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Its numbers that may change while it runs; none of them is for another step as well."""
        return ()

    @overload
    def __or__(self, other: Operator[Out_co, V]) -> Operator[In_contra, V]: ...
    @overload
    def __or__(self, other: Sink[Out_co]) -> Sink[In_contra]: ...
    def __or__(self, other: Any) -> Any:
        """Append an operator or a sink."""
        if isinstance(other, Operator):
            return Chain((*self.steps, *other.steps))
        if isinstance(other, Sink):
            return Ended(self.steps, other)
        raise self._misplaced(other)

    def before(self, following: Operator[Any, Any]) -> Operator[Any, Any]:
        """This operator where that one follows: another one where it can do part of its work, else itself."""
        return self

    def attach(self, stage: Stage) -> Handler:
        """Start in one running pipeline; return what handles a chunk."""
        raise NotImplementedError(f"{type(self).__name__} must implement attach(stage)")

    def attach_failures(self, stage: Stage) -> FailureHandler | None:
        """What takes the failures of earlier steps and returns those that go on; ``None`` lets all of them pass."""
        return None

    def compile(self, stage: Stage) -> RxOperator:
        """The reactivex operator over chunks that does this operator's work."""
        return compile_operator(self, stage)


def linked(steps: Sequence[Operator[Any, Any]]) -> tuple[Operator[Any, Any], ...]:
    """Operators that follow each other, where each knows the next one."""
    return (*map(lambda step, following: step.before(following), steps, steps[1:]), *steps[-1:])


class Chain(Operator[In_contra, Out_co]):
    """Operators that follow each other, as one."""

    def __init__(self, steps: tuple[Operator[Any, Any], ...]) -> None:
        self._steps = linked(steps)

    @property
    def steps(self) -> tuple[Operator[Any, Any], ...]:
        """The operators it consists of, in order."""
        return self._steps

    def gives(self, type: Any) -> Any:
        """What its last operator gives."""
        return functools.reduce(lambda known, step: step.gives(known), self._steps, type)

    @property
    def name(self) -> str:
        """Its operators' names."""
        return " | ".join(step.name for step in self._steps)

    def branches(self) -> Iterator[tuple[str, Step]]:
        """Its operators."""
        yield from (("", step) for step in self._steps)


class Sink(Step, Generic[In_contra]):
    """Where messages end: a leaf (`Outlet`), or one with operators before it (`Ended`)."""

    if not TYPE_CHECKING:  # type checkers refuse the operand; at run time a sentence does

        def __or__(self, other):
            """A sink ends its branch, so this always raises `GraphError`."""
            raise GraphError(
                f"{other!r} cannot follow {self.name}: a sink ends its branch; put it before the sink, or use route"
            )

    def compile(self, run: Run, path: str) -> Callable[[Chunk], None]:
        """What takes the chunks that reach this sink in one running pipeline."""
        raise NotImplementedError(f"{type(self).__name__} must implement compile(run, path)")


class Ended(Sink[In_contra]):
    """Operators followed by a sink."""

    def __init__(self, steps: tuple[Operator[Any, Any], ...], sink: Sink[Any]) -> None:
        self.steps: tuple[Operator[Any, Any], ...] = linked((*steps, *sink.steps) if isinstance(sink, Ended) else steps)
        self.sink: Sink[Any] = sink.sink if isinstance(sink, Ended) else sink

    @property
    def name(self) -> str:
        """Its operators' and sink's names."""
        return " | ".join(step.name for step in (*self.steps, self.sink) if step.name)

    def branches(self) -> Iterator[tuple[str, Step]]:
        """Its operators, then its sink."""
        yield from (("", step) for step in (*self.steps, self.sink))

    def compile(self, run: Run, path: str) -> Callable[[Chunk], None]:
        """What takes the chunks that reach the first operator."""
        inlet: Subject[Chunk] = Subject()
        end = self.sink.compile(run, path)
        compile_steps(run, path, self.steps)(inlet).subscribe(end, on_error=_raise)
        return inlet.on_next


def _raise(error: Exception) -> None:
    raise error


class Flow(Step):
    """A complete graph, from source to sink: what a pipeline runs."""

    def __init__(self, source: Source[Any], sink: Sink[Any]) -> None:
        stream, ended = isinstance(source, Stream), isinstance(sink, Ended)
        self.source: Source[Any] = source.source if stream else source  # type: ignore[attr-defined]  # a Stream has it
        before: tuple[Operator[Any, Any], ...] = source.steps if isinstance(source, Stream) else ()
        self.steps: tuple[Operator[Any, Any], ...] = linked((*before, *(sink.steps if isinstance(sink, Ended) else ())))
        self.sink: Sink[Any] = sink.sink if ended else sink  # type: ignore[attr-defined]  # an Ended has it

    @property
    def name(self) -> str:
        """Its source's, operators' and sink's names."""
        return " | ".join(step.name for step in (self.source, *self.steps, self.sink) if step.name)

    def branches(self) -> Iterator[tuple[str, Step]]:
        """Its source, its operators, its sink."""
        yield from (("", step) for step in (self.source, *self.steps, self.sink))


class SourceConnection(Protocol):
    """An open source. One task receives; settling may happen at the same time."""

    async def receive(self, limit: int) -> Batch | None:
        """Wait for messages; return what is ready, at most ``limit``, or ``None`` when no more will ever come.

        Cancelling the call loses nothing.
        """

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        """Forget these messages for good. All of them or none, where the source can; unknown handles are no error."""

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        """Give messages back, to be delivered again after ``delay`` seconds, with a new durable count of tries if given."""

    async def close(self) -> None:
        """Give back whatever was received and not settled, and close. Closing twice does nothing."""


class SinkConnection(Protocol):
    """An open sink."""

    async def write(self, messages: Outgoing) -> None:
        """Write messages; when this returns they are safe (confirmed, synced).

        Raises `PartialWriteError` where only some could be written, and `ConnectorError` where none is known to be.
        """

    async def close(self) -> None:
        """Finish and close. Closing twice does nothing."""


class Inlet(Source[T_co]):
    """A leaf that reads from a system outside. Subclasses are the connectors' sources."""

    type: Any = None
    """What to decode bodies to; ``None`` leaves them as they are."""
    bounded: bool = False
    """Whether it ends when it has given what it has, as a file does; a queue waits for more."""
    losses_are_attempts: bool = False
    """Whether the source counts a delivery to a worker that went away as an attempt, as it cannot tell it from a failure."""

    def inlets(self) -> Iterator[Inlet[Any]]:
        """Itself."""
        yield self

    def note(self, credit: int) -> str:
        """What ``explain()`` says of reading from it with that credit, in a few words; never a password."""
        return ""

    async def open(self, *, until_empty: bool = False) -> SourceConnection:
        """Connect. With ``until_empty`` the connection's `receive` answers ``None`` once nothing is ready or delayed."""
        raise NotImplementedError

    async def open_ahead(self, credit: int, *, until_empty: bool = False) -> SourceConnection:
        """Connect for a pipeline that leaves at most ``credit`` messages unsettled: so many may be fetched ahead.

        The same as `open` for a source that has its messages at hand.
        """
        return await self.open(until_empty=until_empty)

    def beside(self, queue: str) -> str:
        """What to call another queue of the same system.

        >>> Inlet().beside("orders.dead")
        'inlet:orders.dead'
        """
        return f"{self.name.partition(':')[0]}:{queue}"

    def dead_letters(self, queue: str) -> Sink[Any]:
        """The sink that keeps this source's dead letters under the name ``queue``."""
        raise NotImplementedError


class Outlet(Sink[In_contra]):
    """A leaf that writes to a system outside. Subclasses are the connectors' sinks."""

    async def open(self) -> SinkConnection:
        """Connect."""
        raise NotImplementedError

    def compile(self, run: Run, path: str) -> Callable[[Chunk], None]:
        """What takes the chunks that reach this sink in one running pipeline."""
        return run.terminal(self, path)
