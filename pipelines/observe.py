"""`observe`: a pipeline as an Observable of reactivex. The other way is `warren.connectors.observable`."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar, overload

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from warren.core.chunk import Chunk, Failure
from warren.core.clock import Duration
from warren.core.errors import GraphError, shorten
from warren.core.graph import Sink, Source
from warren.core.hooks import FlowObserver
from warren.core.knobs import Setting
from warren.core.receipt import RELEASED, Kind, Outcome, Token
from warren.core.stage import Run
from warren.operators.keys import is_async
from warren.pipelines.explain import Explanation
from warren.pipelines.pipeline import Pipeline

__all__ = ["Handed", "Observed", "observe"]

T = TypeVar("T")

_NAME = "observer"
_DELIVERED = Outcome(Kind.DELIVERED, _NAME)
# The event loop itself keeps no tasks alive.
_following: set[asyncio.Task[None]] = set()


class Handed(Generic[T]):
    """A value that an observer has to confirm: with `done` once its effects are safe, or with `fail`.

    Both may be called from any thread; whatever is called after the first does nothing.
    """

    __slots__ = ("_settle", "value")

    def __init__(self, value: T, settle: Callable[[Exception | None], None]) -> None:
        self.value = value
        self._settle: Callable[[Exception | None], None] | None = settle

    def done(self) -> None:
        """Its effects are safe: acknowledge its message."""
        self._end(None)

    def fail(self, error: Exception) -> None:
        """It cannot be handled: its message goes to the dead letters, with the error."""
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(error)

    def __repr__(self) -> str:
        """The value."""
        return f"Handed({shorten(self.value)})"


class Observed(Observable[T]):
    """A pipeline as an Observable; made by `observe`, which says what it guarantees."""

    def __init__(self, pipeline: Callable[[Sink[Any]], Pipeline], confirm: bool, until_empty: bool) -> None:
        super().__init__()
        self._pipeline = pipeline
        self._confirm = confirm
        self._until_empty = until_empty
        self._plan = pipeline(_Observer(None, confirm))

    def __repr__(self) -> str:
        """Its name and steps."""
        return repr(self._plan).replace("Pipeline(", "observe(", 1)

    def explain(self) -> Explanation:
        """The topology, the credit and the guarantee on each step, as `Pipeline.explain`."""
        return self._plan.explain()

    def subscribe(
        self,
        on_next: abc.ObserverBase[T] | abc.OnNext[T] | None = None,
        on_error: abc.OnError | None = None,
        on_completed: abc.OnCompleted | None = None,
        *,
        scheduler: abc.SchedulerBase | None = None,
    ) -> abc.DisposableBase:
        """Run the pipeline for an observer, as `observe` says. Raises `GraphError` for an ``async`` one."""
        function: Any = getattr(on_next, "on_next", on_next)
        if function is not None and is_async(function):
            raise GraphError(
                f"{self!r}: on_next must not be async, as nobody would wait for it; put the work into a map before, or take "
                "values with confirm=True"
            )
        return super().subscribe(on_next, on_error, on_completed, scheduler=scheduler)

    def _subscribe_core(
        self, observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(f"{self!r}: subscribe where an event loop runs, such as in an async function") from None
        subscription = _Subscription(observer)
        subscription.start(self._pipeline(_Observer(subscription, self._confirm)), self._until_empty)
        return Disposable(subscription.dispose)


@overload
def observe(
    name: str,
    stream: Source[T],
    *,
    confirm: Literal[False] = ...,
    until_empty: bool = ...,
    credit: int | Setting | None = ...,
    dead_letters: str | None = ...,
    shutdown: Duration = ...,
    observers: Sequence[FlowObserver] = ...,
) -> Observed[T]: ...
@overload
def observe(
    name: str,
    stream: Source[T],
    *,
    confirm: Literal[True],
    until_empty: bool = ...,
    credit: int | Setting | None = ...,
    dead_letters: str | None = ...,
    shutdown: Duration = ...,
    observers: Sequence[FlowObserver] = ...,
) -> Observed[Handed[T]]: ...
def observe(
    name: str, stream: Source[Any], *, confirm: bool = False, until_empty: bool = False, **options: Any
) -> Observed[Any]:
    """A source with its steps as an Observable: each subscription runs them on the running event loop.

    Delivery: at least once, as far as the observer is in time. A value counts as delivered, and its message is
    acknowledged, once ``on_next`` has returned. So operators of reactivex behind it must not keep a value for later
    (``buffer``, ``delay``, ``observe_on``), as its message is acknowledged before. With ``confirm=True`` they may: values
    come as `Handed`, and each message is acknowledged when its value is ``done()``; up to the credit of them can be open.

    An exception that ``on_next`` raises is that message's failure, and so is one in an operator behind it (which, as always
    in reactivex, ends the subscription): the message goes to the dead letters. The pipeline's end is ``on_completed``, when
    everything is settled; what stops it is ``on_error``. Disposing stops it as `Running.stop` does: nothing more is given
    to the observer, what it has in hand can be confirmed until the deadline, and all the rest goes back to its source.

    ``until_empty`` is that of `Pipeline.start`, ``credit``, ``dead_letters``, ``shutdown`` and ``observers`` those of
    `Pipeline`. Subscribing twice runs it twice.

    Raises `GraphError` where the graph cannot work, or already ends in a sink.

    >>> import asyncio
    >>> from warren import observe
    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> squares = observe("squares", memory.items(range(4)) | map(lambda x: x * x))
    >>> async def main():
    ...     done = asyncio.Event()
    ...     squares.subscribe(print, on_completed=done.set)
    ...     await done.wait()
    >>> asyncio.run(main())
    0
    1
    4
    9
    """
    if not isinstance(stream, Source):
        raise GraphError(f"observe({name!r}, {stream!r}): give a source with its steps, and no sink: observers are the sink")
    return Observed(lambda sink: Pipeline(name, stream | sink, **options), confirm, until_empty)


class _Subscription:
    """One run of the pipeline for one observer."""

    def __init__(self, observer: abc.ObserverBase[Any]) -> None:
        self.observer = observer
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.disposed = False
        # What an operator behind was handling when it ended the subscription, beside what was handled before the value.
        self.handling: BaseException | None = None
        self.broken: BaseException | None = None
        self.stop: Callable[[], None] = _nothing

    def start(self, pipeline: Pipeline, until_empty: bool) -> None:
        running = pipeline.start(until_empty=until_empty)
        self.stop = running.stop

        async def follow() -> None:
            try:
                await running
            except Exception as error:
                self.fail(pipeline.name, error)
            else:
                if not self.disposed:
                    self.observer.on_completed()

        task = self.loop.create_task(follow())
        _following.add(task)
        task.add_done_callback(_following.discard)

    def fail(self, name: str, error: Exception) -> None:
        if self.disposed:
            message = f"pipeline {name!r} failed after its observer was disposed"
            self.loop.call_exception_handler({"message": message, "exception": error})
        else:
            self.observer.on_error(error)

    def dispose(self) -> None:
        self.disposed = True
        if threading.get_ident() == self.thread and (handled := sys.exc_info()[1]) is not self.handling:
            self.broken = handled
        self.here(self.stop)

    def here(self, action: Callable[[], None]) -> None:
        """Do something in the thread of the event loop."""
        if threading.get_ident() == self.thread:
            action()
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(action)

    def give(self, value: Any) -> Exception | None:
        """Hand a value to the observer; answers with what it or an operator before it raised."""
        self.handling, self.broken = sys.exc_info()[1], None
        try:
            self.observer.on_next(value)
        except Exception as error:
            return error
        # An operator tells the observer of an error while it handles it; for what gave the value, nothing was raised.
        return self.broken if isinstance(self.broken, Exception) else None


def _nothing() -> None:
    pass


class _Observer(Sink[Any]):
    """The end of the pipeline: an observer, or nobody yet."""

    def __init__(self, subscription: _Subscription | None, confirm: bool) -> None:
        self.subscription = subscription
        self.confirm = confirm

    @property
    def name(self) -> str:
        return _NAME

    @property
    def guarantee(self) -> str:
        return "delivered once it is confirmed" if self.confirm else "delivered once on_next has returned"

    def compile(self, run: Run, path: str) -> Callable[[Chunk], None]:
        subscription, settle = self.subscription, run.ledger.settle
        assert subscription is not None

        def take(chunk: Chunk) -> None:
            failures = list(chunk.failures)
            given = []
            for place, (value, token) in enumerate(zip(chunk.values, chunk.tokens, strict=True)):
                if subscription.disposed:
                    settle(chunk.tokens[place:], RELEASED)
                    break
                handed = Handed(value, confirming(value, token, chunk.attempt)) if self.confirm else value
                error = subscription.give(handed)
                if self.confirm:
                    if error is not None:
                        handed.fail(error)
                elif error is not None:
                    failures.append(Failure(token, value, error, _NAME, chunk.attempt))
                else:
                    given.append(token)
            settle(given, _DELIVERED)
            if failures:
                run.dead_letter(failures)

        def confirming(value: Any, token: Token, attempt: int) -> Callable[[Exception | None], None]:
            run.begin()

            def confirm(error: Exception | None) -> None:
                if error is None:
                    settle((token,), _DELIVERED)
                else:
                    run.dead_letter((Failure(token, value, error, _NAME, attempt),))
                run.end()

            return lambda error: subscription.here(lambda: confirm(error))

        return take
