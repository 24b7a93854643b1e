"""`map`: call a function for each value."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, HandlerError
from warren.core.graph import Operator, name_of
from warren.core.receipt import Token
from warren.core.stage import Handler, Stage

__all__ = ["map"]

T = TypeVar("T")
U = TypeVar("U")


@overload
def map(
    function: Callable[[T], Awaitable[U]],
    *,
    concurrency: int = ...,
    ordered: bool = ...,
    timeout: Duration | None = ...,
) -> Operator[T, U]: ...
@overload
def map(function: Callable[[T], U]) -> Operator[T, U]: ...
def map(
    function: Callable[[Any], Any],
    *,
    concurrency: int | None = None,
    ordered: bool = True,
    timeout: Duration | None = None,
) -> Operator[Any, Any]:
    """Call a function for each value; its results go on.

    Keeps the delivery guarantee: a message whose function raises becomes a failure and never ends the stream.

    An ``async`` function runs for up to ``concurrency`` values at once (16 unless given); results leave in the order the
    values came, or as they are ready with ``ordered=False``. ``timeout`` bounds each call: past it the message fails with
    `TimeoutError`.

    Raises `GraphError` for ``concurrency`` below 1, or with a function that is not ``async``.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> Pipeline("doubled", memory.items([]) | map(lambda x: x * 2) | memory.into([])).test([1, 2]).values
    [2, 4]
    """
    name = name_of(function)
    if not callable(function):
        raise GraphError(f"map({function!r}): give a function of one value")
    if _is_async(function):
        if concurrency is not None and concurrency < 1:
            raise GraphError(f"map({name}, concurrency={concurrency}): concurrency must be at least 1")
        return _AsyncMap(function, concurrency or 16, ordered, None if timeout is None else seconds(timeout))
    if concurrency is not None or timeout is not None:
        raise GraphError(f"map({name}): concurrency and timeout need an async function; {name} is not one")
    return _Map(function)


def _is_async(function: Callable[..., Any]) -> bool:
    function = getattr(function, "func", function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


class _Map(Operator[Any, Any]):
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


class _Slot:
    __slots__ = ("attempt", "done", "failure", "result", "token", "value")

    def __init__(self, value: Any, token: Token, attempt: int) -> None:
        self.value = value
        self.token = token
        self.attempt = attempt
        self.done = False
        self.result: Any = None
        self.failure: Failure | None = None


class _AsyncMap(Operator[Any, Any]):
    def __init__(
        self, function: Callable[[Any], Awaitable[Any]], concurrency: int, ordered: bool, timeout: float | None
    ) -> None:
        self.function = function
        self.concurrency = concurrency
        self.ordered = ordered
        self.timeout = timeout

    @property
    def name(self) -> str:
        return f"map({name_of(self.function)})"

    @property
    def guarantee(self) -> str:
        return f"{self.concurrency} at once, " + ("order kept" if self.ordered else "order not kept")

    def attach(self, stage: Stage) -> Handler:
        return _Workers(self, stage).take


class _Workers:
    """Up to ``concurrency`` tasks that share one queue; each lives while the queue has work."""

    def __init__(self, operator: _AsyncMap, stage: Stage) -> None:
        self.operator = operator
        self.stage = stage
        self.queue: deque[_Slot] = deque()
        self.slots: deque[_Slot] = deque()
        self.active = 0
        self.emitting = False

    def take(self, chunk: Chunk) -> None:
        slots = [_Slot(v, t, chunk.attempt) for v, t in zip(chunk.values, chunk.tokens, strict=True)]
        if chunk.attempt > 1:
            # Tried again, they are older than what waits here, and event time may be waiting for them.
            self.queue.extendleft(reversed(slots))
            if self.operator.ordered:
                self.slots.extendleft(reversed(slots))
        else:
            self.queue.extend(slots)
            if self.operator.ordered:
                self.slots.extend(slots)
        for _ in range(min(self.operator.concurrency - self.active, len(self.queue))):
            self.active += 1
            self.stage.run.spawn(self.work())

    async def work(self) -> None:
        function, timeout, queue = self.operator.function, self.operator.timeout, self.queue
        try:
            while queue:
                slot = queue.popleft()
                try:
                    if timeout is None:
                        slot.result = await function(slot.value)
                    else:
                        slot.result = await self.bounded(function, slot.value, timeout)
                except (Exception, asyncio.CancelledError) as error:
                    task = asyncio.current_task()
                    if isinstance(error, asyncio.CancelledError):
                        if task is not None and task.cancelling():
                            raise
                        error = HandlerError(f"{self.stage}: the call was cancelled by its own code")
                    slot.failure = self.stage.failure(slot.token, slot.value, error, slot.attempt)
                slot.done = True
                if not self.operator.ordered:
                    self.slots.append(slot)
                self.ready()
        finally:
            self.active -= 1

    async def bounded(self, function: Callable[[Any], Awaitable[Any]], value: Any, timeout: float) -> Any:
        scope = asyncio.timeout(timeout)
        try:
            async with scope:
                return await function(value)
        except TimeoutError as error:
            if scope.expired():
                raise TimeoutError(f"{self.stage}: no answer within {timeout:g} s") from error
            raise

    def ready(self) -> None:
        # One emission for all that finish in the same turn of the loop keeps chunks large.
        if not self.emitting and self.slots[0].done:
            self.emitting = True
            self.stage.run.begin()
            asyncio.get_running_loop().call_soon(self.give)

    def give(self) -> None:
        self.emitting = False
        slots = self.slots
        try:
            while slots and slots[0].done:
                attempt = slots[0].attempt
                values: list[Any] = []
                tokens: list[Token] = []
                failures: list[Failure] = []
                while slots and slots[0].done and slots[0].attempt == attempt:
                    slot = slots.popleft()
                    if slot.failure is not None:
                        failures.append(slot.failure)
                    else:
                        values.append(slot.result)
                        tokens.append(slot.token)
                self.stage.emit(Chunk(values, tokens, failures, attempt))
        except Exception as error:
            self.stage.run.crash(error)
        finally:
            self.stage.run.end()
