"""What an operator sees of the pipeline that runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from reactivex import Observable, abc

from warren.core.chunk import Chunk, Failure
from warren.core.clock import Clock
from warren.core.errors import RejectedError
from warren.core.handling import Handling, Told, handled, here
from warren.core.hooks import CallObserver, FlowObserver
from warren.core.meter import Meter, metered
from warren.core.policies import Restorable
from warren.core.receipt import Ledger, Token
from warren.core.state import Table

if TYPE_CHECKING:
    from warren.core.graph import Operator, Outlet, Step

__all__ = [
    "FailureHandler",
    "Feed",
    "Handler",
    "Keeper",
    "Outbox",
    "Run",
    "RxOperator",
    "Stage",
    "compile_operator",
    "compile_steps",
    "wired",
]

T = TypeVar("T")
Handler = Callable[[Chunk], "Chunk | None"]
FailureHandler = Callable[["Sequence[Failure]"], "Sequence[Failure]"]
RxOperator = Callable[["Observable[Chunk]"], "Observable[Chunk]"]


class Outbox(Protocol):
    """Gives values that a step has made of its state."""

    def chunk(self, keys: Sequence[Hashable], values: Sequence[Any], ids: Sequence[str]) -> Chunk:
        """Values with tokens of their own; the rows of ``keys`` go from the table when they are safe."""
        ...


class Keeper(Protocol):
    """Has what steps remember between runs."""

    def table(self, step: str, version: int, migrate: Callable[[Hashable, Any], Any] | None) -> Table:
        """What one step remembers."""
        ...

    def outbox(self, table: Table, stage: Stage) -> Outbox:
        """What gives values of a table that stay there until they are safe."""
        ...

    def learned(self, step: str, model: Restorable) -> None:
        """Give a model what it learned in earlier runs, and keep what it learns."""
        ...


class Feed(Protocol):
    """One source of a running pipeline."""

    @property
    def behind(self) -> Feed | None:
        """The one that event time waits for more than for this; while half of the credit is in use, it is read first."""
        ...

    @behind.setter
    def behind(self, feed: Feed | None, /) -> None: ...

    @property
    def ended(self) -> bool:
        """Whether it has given all it has."""
        ...


class Run(Protocol):
    """One running pipeline, as its operators see it."""

    name: str
    ledger: Ledger
    clock: Clock
    observers: Sequence[FlowObserver]
    depth: int | None
    sources: Sequence[Feed]
    """Those whose messages come to the step that is being attached."""

    @property
    def scheduler(self) -> abc.SchedulerBase:
        """What timers run on; its time is virtual in a trial."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the stream; the pipeline counts as busy until it ends, and stops if it raises."""

    def begin(self) -> None:
        """Say that something is under way that will go on by itself (a retry's delay, a write)."""

    def end(self) -> None:
        """Say that it is over."""

    def crash(self, error: BaseException) -> None:
        """Stop the pipeline with an error that is not one message's; unsettled messages go back to their source."""

    def timers(self, change: int) -> None:
        """Say how many more timers will let held messages go."""

    def on_flush(self, flush: Callable[[], None]) -> None:
        """Have ``flush`` called when no more messages come: let go of everything held. Upstream steps flush first."""

    def on_close(self, close: Callable[[], None]) -> None:
        """Have ``close`` called when the run has ended, however it ends; it must not wait."""

    def on_depth(self, branch: Step, every: float, tell: Callable[[int, float], None]) -> None:
        """Have ``tell`` called every so many seconds: how many messages wait where a branch writes to, and when that was.

        It is not called while nobody knows, as with sinks that never do.
        """

    @property
    def keeper(self) -> Keeper | None:
        """Has what steps remember between runs; ``None`` where nothing is kept."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether the sources have ended for good: nothing will ever come behind what has come."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether it ends before its sources do, so that what is given back to them comes again in a later run."""
        ...

    def dead_letter(self, failures: Sequence[Failure], queue: str | None = None) -> None:
        """Write failed messages durably to a dead-letter queue of their source, then settle them."""

    def terminal(self, outlet: Outlet[Any], path: str) -> Callable[[Chunk], None]:
        """Where a branch ends: writes values to the outlet and settles them when they are safe."""
        ...


class Stage:
    """One operator in one running pipeline: how it emits, fails, settles and waits."""

    def __init__(self, run: Run, path: str, name: str) -> None:
        self.run = run
        self.path = path
        self.name = name
        self.ledger = run.ledger
        self.settle = run.ledger.settle
        self.emit: Callable[[Chunk], None] = _unsubscribed
        self.inject: Callable[[Chunk], None] = _unsubscribed
        self._forward: Callable[[Chunk], None] = _unsubscribed
        self._given = self._failed = 0
        self._callers = [observer for observer in run.observers if isinstance(observer, CallObserver)]
        self.knows = bool(self._callers)
        """Whether what it calls is to know which message it is called with."""

    def connect(self, forward: Callable[[Chunk], None]) -> None:
        """Say where chunks go."""
        self._forward = forward
        self.emit = self._emit_counted if self.run.observers else forward

    def serve(self, handler: Handler, take: FailureHandler | None = None) -> Callable[[Chunk], None]:
        """What takes chunks: hands values to the operator's handler, and failures past it or to its failure handler."""

        def pass_by(chunk: Chunk) -> Chunk:
            failures = chunk.failures if take is None else take(chunk.failures)
            if failures:
                self._forward(Chunk([], (), failures))
            return Chunk(chunk.values, chunk.tokens, (), chunk.attempt)

        def handle(chunk: Chunk) -> None:
            if chunk.failures:
                chunk = pass_by(chunk)
            if chunk.values:
                out = handler(chunk)
                if out is not None and (out.values or out.failures):
                    self._forward(out)

        def handle_observed(chunk: Chunk) -> None:
            if chunk.failures:
                chunk = pass_by(chunk)
            if chunk.values:
                clock = self.run.clock
                start = clock()
                if self.knows:
                    with handled(self.handling(chunk.tokens)):
                        out = handler(chunk)
                else:
                    out = handler(chunk)
                end = clock()
                if out is not None:
                    self._count(out)
                self._report(len(chunk.values), start, end)
                if out is not None and (out.values or out.failures):
                    self._forward(out)

        self.inject = handle_observed if self.run.observers else handle
        return self.inject

    def handling(self, tokens: Sequence[Token]) -> Handling:
        """What calls with these messages are to know."""
        around: dict[int, Any] = {}
        for observer in self._callers:
            around.update(observer.around(self.name, tokens))

        def told(place: int) -> Told:
            return Told(self.run.name, self.name, self.ledger.metadata(tokens[place]) if place >= 0 else None)

        return Handling(len(tokens), told, around)

    def calling(self, function: Callable[[Any], Awaitable[T]], value: Any, tokens: Sequence[Token]) -> Awaitable[T]:
        """A call of an ``async`` function, which is to know which messages it is called with where anybody asks."""
        return self.handling(tokens).answer(function, value) if self._callers else function(value)

    def _count(self, chunk: Chunk) -> None:
        self._given += len(chunk.values)
        if chunk.failures:
            self._failed += sum(failure.stage == self.name for failure in chunk.failures)

    def _emit_counted(self, chunk: Chunk) -> None:
        self._count(chunk)
        self._forward(chunk)

    def _report(self, taken: int, start: float, end: float) -> None:
        run, given, failed = self.run, self._given, self._failed
        self._given = self._failed = 0
        for observer in run.observers:
            observer.handled(self.name, taken, given, failed, start, end, run.ledger.outstanding, run.depth)

    def __repr__(self) -> str:
        """The name that errors and recordings show."""
        return self.name

    def failure(self, token: Token, value: Any, error: Exception, attempt: int = 1) -> Failure:
        """A failed message, which `retry` can put through this operator again."""
        return Failure(token, value, error, self.name, attempt, self.inject)

    def failures(self, chunk: Chunk, errors: dict[int, Exception]) -> list[Failure]:
        """The failures of a chunk, from the exceptions by position."""
        return [self.failure(chunk.tokens[i], chunk.values[i], error, chunk.attempt) for i, error in errors.items()]

    def survivors(self, chunk: Chunk, results: list[Any], errors: dict[int, Exception]) -> Chunk:
        """What `apply_each` made of a chunk: the results with their tokens, and the failures."""
        if not errors:
            return Chunk(results, chunk.tokens, (), chunk.attempt)
        tokens = [token for i, token in enumerate(chunk.tokens) if i not in errors]
        return Chunk(results, tokens, self.failures(chunk, errors), chunk.attempt)

    def without(self, chunk: Chunk, errors: dict[int, Exception]) -> Chunk:
        """The chunk without the values at which there was an exception; those are its failures."""
        rest = chunk.select([i not in errors for i in range(len(chunk.values))])
        rest.failures = self.failures(chunk, errors)
        return rest

    def reject(self, chunk: Chunk, reason: str) -> list[Failure]:
        """Every value of a chunk as a failure that no retry will mend."""
        return [
            Failure(token, value, RejectedError(reason), self.name, chunk.attempt)
            for value, token in zip(chunk.values, chunk.tokens, strict=True)
        ]

    def table(
        self,
        kind: str,
        *,
        version: int = 1,
        migrate: Callable[[Hashable, Any], Any] | None = None,
        inside: bool = False,
    ) -> Table | None:
        """What this step remembers between runs, under its place in the pipeline; ``None`` where nothing is kept.

        An older version is migrated, or, with ``inside``, left to the step, which has values for `Table.renew` in its rows.
        """
        keeper = self.run.keeper
        if keeper is None:
            return None
        table = keeper.table(f"{self.path}:{kind}", version, migrate)
        table.apart = self.apart
        if table.renew is not None and not inside:
            table.update({key: table.renew(key, value) for key, value in table.items()})
        return table

    def learned(self, kind: str, models: Iterable[object]) -> None:
        """Give the models of this step what they learned in earlier runs, and keep what they learn, where they can."""
        if (keeper := self.run.keeper) is not None:
            for model in models:
                if isinstance(model, Restorable):
                    keeper.learned(f"{self.path}:{kind}", model)

    def apart(self, chunk: Chunk) -> None:
        """Have values of the chunk that is being handled come in once more, in one of their own."""
        inject = self.inject
        self.later(0.0, lambda: inject(chunk), busy=True)

    def outbox(self, table: Table) -> Outbox:
        """What gives values of this step's table."""
        assert self.run.keeper is not None
        return self.run.keeper.outbox(table, self)

    def later(
        self, delay: float, action: Callable[[], None], *, busy: bool = False, idle: bool = False
    ) -> Callable[[], None]:
        """Call ``action`` after ``delay`` seconds of the pipeline's time; returns what cancels it.

        ``busy`` says that messages are on their way meanwhile, so a drain waits for it; otherwise a drain flushes.
        ``idle`` says that it waits for silence, which means nothing while the pipeline has no credit left to read.
        """
        run, done = self.run, False
        weight = 0 if idle else 1

        def finish() -> bool:
            nonlocal done
            first, done = not done, True
            if first:
                run.end() if busy else run.timers(-weight)
            return first

        def fire(_scheduler: object, _state: object = None) -> None:
            if not done:
                # A timer is set while something else is handled.
                here.set(None)
                # What the action starts must be counted before this timer stops to count, or a drain could end between.
                try:
                    action()
                except BaseException as error:
                    run.crash(error)
                    if not isinstance(error, Exception):
                        raise
                finally:
                    finish()

        def cancel() -> None:
            if finish():
                handle.dispose()

        run.begin() if busy else run.timers(weight)
        handle = run.scheduler.schedule_relative(delay, fire)
        return cancel

    def meter(self, workers: int) -> Meter:
        """What to tell of calls that do not end with the handler."""
        return metered(self.run, self.name, workers)

    def child(self, label: str) -> str:
        """The path of something inside this operator."""
        return f"{self.path}{label}/"


def _unsubscribed(chunk: Chunk) -> None:
    raise RuntimeError("the pipeline is not connected yet")


def compile_operator(operator: Operator[Any, Any], stage: Stage) -> RxOperator:
    """Make a reactivex operator over chunks from an operator's handler. Failures pass it by."""
    return wired(stage, stage.serve(operator.attach(stage), operator.attach_failures(stage)))


def wired(stage: Stage, handle: Callable[[Chunk], None]) -> RxOperator:
    """A reactivex operator that hands each chunk to ``handle``, and passes on what the stage emits."""

    def compiled(source: Observable[Chunk]) -> Observable[Chunk]:
        def subscribe(observer: abc.ObserverBase[Chunk], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            stage.connect(observer.on_next)
            return source.subscribe(handle, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return compiled


def compile_steps(run: Run, path: str, steps: Sequence[Operator[Any, Any]]) -> RxOperator:
    """Compile operators that follow each other into one reactivex operator."""
    compiled = [step.compile(Stage(run, f"{path}{i}", f"{path}{i}:{step.name}")) for i, step in enumerate(steps, 1)]
    return lambda source: source.pipe(*compiled)
