"""`map`: call a function for each value."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Literal, TypeVar, overload

from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, HandlerError
from warren.core.graph import Operator, name_of
from warren.core.hints import returned
from warren.core.journal import Journal
from warren.core.knobs import EVERY, Calls, Setting
from warren.core.stage import Handler, Stage
from warren.operators.keys import check_function, is_async
from warren.operators.pool import pooled
from warren.operators.slots import ByKey, ByUrgency, InOrder, Slots, Waiting, bounded

__all__ = ["Calling", "map"]

T = TypeVar("T")
U = TypeVar("U")


@overload
def map(
    function: Callable[[T], Awaitable[U]],
    *,
    concurrency: int | Setting = ...,
    ordered: bool = ...,
    order_by: Callable[[T], Hashable] | None = ...,
    limit_by: Callable[[T], Hashable] | None = ...,
    limit: int | None = ...,
    priority: Callable[[T], float] | None = ...,
    timeout: Duration | None = ...,
) -> Operator[T, U]: ...
@overload
def map(
    function: Callable[[T], U], *, executor: Literal["process", "thread"] | None = ..., workers: int | None = ...
) -> Operator[T, U]: ...
def map(
    function: Callable[[Any], Any],
    *,
    concurrency: int | Setting | None = None,
    ordered: bool = True,
    order_by: Callable[[Any], Hashable] | None = None,
    limit_by: Callable[[Any], Hashable] | None = None,
    limit: int | None = None,
    priority: Callable[[Any], float] | None = None,
    timeout: Duration | None = None,
    executor: Literal["process", "thread"] | None = None,
    workers: int | None = None,
) -> Operator[Any, Any]:
    """Call a function for each value; its results go on.

    Keeps the delivery guarantee: a message whose function raises becomes a failure and never ends the stream. If it changed
    the value it was given, a `retry` and other branches see that; a dead letter has the message as it came.

    An ``async`` function runs for up to ``concurrency`` values at once (16 unless given); results leave in the order the
    values came, or as they are ready with ``ordered=False``. ``timeout`` bounds each call: past it the message fails with
    `TimeoutError`. ``concurrency`` may be a setting that changes while it runs, such as a `Tuner`; it is told of each call,
    and a limit that falls ends no call. Which of the values that wait is next, one of these says, and else who came first:

    - ``order_by`` gives a key: values of one key are handled one after another and leave in their order, those of different
      keys side by side and as they are ready. A value that fails lets the next of its key go; `retry` brings it back later.
    - ``limit_by`` gives a key, of which at most ``limit`` values are handled at once, so that one slow key does not take all
      places (a bulkhead). Its values wait with their credit; bound their calls with ``timeout``.
    - ``priority`` gives a number: the value with the highest goes first. Results leave as they are ready.

    Any other function runs in the pipeline's own thread. With ``executor="thread"`` it runs in up to ``workers`` threads,
    one for each processor unless given, for functions that wait; with ``"process"``, in as many processes, for those that
    compute. Results leave in the order the values came. Function, values and results must be of a kind that can be pickled;
    the processes start with the first value, and import the module of the function. Where a process dies, the values it may
    have died of are tried once more, each alone, and the one it dies of fails with `BrokenProcessPool`. A process whose call
    has not returned when the run is over is ended; a thread cannot be, and the program waits for it.

    Raises `GraphError` for ``concurrency`` or ``workers`` below 1, for more than one of the three, for what does not belong
    to the kind of function, and for a function that cannot be pickled for a process.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> Pipeline("doubled", memory.items([]) | map(lambda x: x * 2) | memory.into([])).test([1, 2]).values
    [2, 4]
    """
    name = name_of(function)
    if not callable(function):
        raise GraphError(f"map({function!r}): give a function of one value")
    options = {"concurrency": concurrency, "timeout": timeout, "limit": limit}
    functions = {"order_by": order_by, "limit_by": limit_by, "priority": priority}
    given = [option for option, value in {**options, **functions}.items() if value is not None]
    if executor is not None or workers is not None:
        others = given if ordered else [*given, "ordered"]
        if others:
            raise GraphError(
                f"map({name}, executor={executor!r}): {others[0]} is for async functions and does not go with an executor; "
                "leave one of them out"
            )
        return pooled(function, name, executor, workers)
    if not is_async(function):
        if given:
            raise GraphError(f"map({name}): options such as {given[0]} need an async function; {name} is not one")
        return _Map(function)
    setting = concurrency if isinstance(concurrency, Setting) else None
    if isinstance(concurrency, Setting):
        places = concurrency.knob.high
    else:
        places = 16 if concurrency is None else concurrency
    if places < 1:
        raise GraphError(f"map({name}, concurrency={concurrency}): concurrency must be at least 1")
    waiting, turn = _turns(name, places, limit, functions)
    bound = None if timeout is None else seconds(timeout)
    return _AsyncMap(function, places, ordered and turn in ("", "limit_by"), bound, waiting, turn, setting)


def _turns(
    name: str, places: int, limit: int | None, functions: dict[str, Callable[[Any], Any] | None]
) -> tuple[Callable[[Stage], Waiting], str]:
    """What keeps the values that wait, and the option that says so."""
    given = {option: function for option, function in functions.items() if function is not None}
    if len(given) > 1:
        raise GraphError(f"map({name}): give only one of {', '.join(given)}; put another map before it for the other")
    if (limit is None) == ("limit_by" in given):
        raise GraphError(f"map({name}): limit_by says of what there may be at most limit; give both or none")
    for option, function in given.items():
        check_function(function, f"map({name}, {option}=...)")
        if option == "priority":
            return functools.partial(ByUrgency, priority=function), option
        most = 1 if limit is None else limit
        if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= places:
            raise GraphError(f"map({name}, limit={limit!r}): limit must be a whole number from 1 to concurrency, {places}")
        return functools.partial(ByKey, by=function, limit=most, option=option), option
    return InOrder, ""


class Calling(Operator[Any, Any]):
    """A step that calls a function for each value; made by `map`."""

    function: Callable[[Any], Any]
    is_async = False

    def gives(self, type: Any) -> Any:
        """What its function gives, by its hints."""
        return returned(self.function)

    def calling(self, function: Callable[[Any], Any]) -> Operator[Any, Any]:
        """The same step with another function in the place of its own, ``async`` as that is."""
        other = copy.copy(self)
        other.function = function
        return other


class _Map(Calling):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    @property
    def name(self) -> str:
        return f"map({name_of(self.function)})"

    def attach(self, stage: Stage) -> Handler:
        function = self.function

        def handle(chunk: Chunk) -> Chunk:
            results, errors = apply_each(function, chunk.values)
            if results and inspect.iscoroutine(results[0]):
                return Chunk([], (), _unawaited(stage, chunk, results))
            return stage.survivors(chunk, results, errors)

        return handle


def _unawaited(stage: Stage, chunk: Chunk, results: list[Any]) -> list[Failure]:
    for result in results:
        if inspect.iscoroutine(result):
            result.close()
    error = HandlerError(f"{stage}: the function answered with a coroutine; write it as an async def and pass it itself")
    return stage.failures(chunk, dict.fromkeys(range(len(chunk.values)), error))


class _AsyncMap(Calling):
    is_async = True

    def __init__(
        self,
        function: Callable[[Any], Awaitable[Any]],
        concurrency: int,
        ordered: bool,
        timeout: float | None,
        waiting: Callable[[Stage], Waiting],
        turn: str,
        setting: Setting | None = None,
    ) -> None:
        self.function = function
        self.concurrency = concurrency
        self.ordered = ordered
        self.timeout = timeout
        self.waiting = waiting
        self.turn = turn
        self.setting = setting

    @property
    def name(self) -> str:
        return f"map({name_of(self.function)})"

    @property
    def settings(self) -> tuple[Setting, ...]:
        return () if self.setting is None else (self.setting,)

    @property
    def guarantee(self) -> str:
        order = {"order_by": "order kept by key", "priority": "the most urgent first"}.get(self.turn)
        most = self.concurrency if self.setting is None else f"{self.setting.knob.low} to {self.concurrency}"
        return f"{most} at once, {order or ('order kept' if self.ordered else 'order not kept')}"

    def attach(self, stage: Stage) -> Handler:
        return _Workers(self, stage).take


class _Workers:
    """Up to ``concurrency`` tasks that share what waits; each lives while there is work for it."""

    def __init__(self, operator: _AsyncMap, stage: Stage) -> None:
        self.operator = operator
        self.stage = stage
        self.queue = operator.waiting(stage)
        self.slots = Slots(stage)
        self.active = 0
        self.meter = stage.meter(operator.concurrency)
        self.limit = operator.concurrency
        self.calls: Calls | None = None
        if operator.setting is not None:
            operator.setting.open(stage.run.clock)
            self.calls = Calls(operator.setting)
        stage.learned("map", operator.settings)
        self.journal = Journal(stage, operator.settings)

    def take(self, chunk: Chunk) -> Chunk | None:
        slots, failures = self.queue.add(chunk)
        if self.operator.ordered:
            self.slots.line_up(slots)
        self.meter.queue(len(slots))
        self.fill()
        return Chunk([], (), failures) if failures else None

    def fill(self) -> None:
        if self.operator.setting is not None:
            self.limit = self.operator.setting.value
        for _ in range(min(self.limit - self.active, len(self.queue))):
            self.active += 1
            self.stage.run.spawn(self.work())

    def tell(self, calls: Calls, now: float) -> None:
        calls.tell(now)
        self.journal.tick(now)
        self.fill()

    async def work(self) -> None:
        function, timeout, queue, meter = self.operator.function, self.operator.timeout, self.queue, self.meter
        calls, clock = self.calls, self.stage.run.clock
        stage, told, began = self.stage, meter.told, 0.0
        since = 0.0 if calls is None else clock()
        knows = stage.knows
        try:
            while queue and self.active <= self.limit:
                slot = queue.take()
                if told:
                    began = meter.begin()
                try:
                    call = stage.calling(function, slot.value, (slot.token,)) if knows else function(slot.value)
                    slot.succeed(await bounded(stage, call, timeout))
                except Exception as error:
                    slot.fail(self.stage, error)
                if told:
                    meter.end(began)
                queue.done(slot)
                if calls is not None:
                    # Where this call ends the next one begins: one look at the clock for both.
                    now = clock()
                    if slot.failure is None:
                        calls.took.append(now - since)
                    else:
                        calls.failed.append(now - since)
                    if not calls.flying:
                        calls.first = now
                    calls.flying += self.active
                    since = now
                    if not 0 <= now - calls.last < EVERY:
                        self.tell(calls, now)
                if not self.operator.ordered:
                    self.slots.slots.append(slot)
                self.slots.ready()
        finally:
            self.active -= 1
            if calls is not None and calls.flying and not self.active:
                calls.tell(clock())
