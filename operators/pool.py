"""How `map` calls a function in threads or processes."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from warren.core.chunk import Chunk, apply_each
from warren.core.errors import GraphError, HandlerError, shorten
from warren.core.graph import Operator, name_of
from warren.core.handling import Around, Handling, handled
from warren.core.hints import returned
from warren.core.stage import Handler, Stage
from warren.operators.keys import is_async
from warren.operators.processes import Processes
from warren.operators.slots import Slot, Slots

__all__ = ["pooled"]

# Values that one task takes: enough to carry its cost, few enough that the workers are done at about the same time.
_PIECE = 32
# Tasks for each worker, so that the next one is at hand when it is done.
_AHEAD = 2


def pooled(function: Callable[[Any], Any], name: str, executor: Any, workers: int | None) -> Operator[Any, Any]:
    """The operator that calls a function elsewhere; raises `GraphError` where that cannot be."""
    title = f"map({name}, executor={executor!r}"
    if executor not in ("process", "thread"):
        raise GraphError(f"{title}): executor must be 'process' or 'thread'")
    if is_async(function):
        raise GraphError(f"{title}): {name} is async, and runs many calls at once as it is; leave executor out")
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
        raise GraphError(f"{title}, workers={workers!r}): workers must be a whole number of at least 1")
    count = workers or os.cpu_count() or 1
    if executor == "thread":
        return _Pooled(
            function, count, functools.partial(ThreadPoolExecutor, thread_name_prefix="warren"), _Threads(function)
        )
    try:
        pickled = pickle.dumps(function)
    except Exception as error:
        raise GraphError(
            f"{title}): {name} cannot be sent to another process: {error}; define it at the top level of a module"
        ) from error
    return _Pooled(function, count, Processes, _Processes(pickled))


class _Threads:
    """How values get to another thread: as they are."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def task(self, values: Sequence[Any], handling: Handling | None) -> Callable[[], Any]:
        call = functools.partial(apply_each, self.function, values)
        return call if handling is None else functools.partial(handling.within, call)

    def read(self, answer: Any) -> tuple[list[Any], dict[int, Exception]]:
        return answer  # type: ignore[no-any-return]  # what apply_each gave


class _Processes:
    """How values get to another process: each pickled by itself, as one that cannot be read would take the process along."""

    def __init__(self, function: bytes) -> None:
        self.function = function

    def task(self, values: Sequence[Any], handling: Handling | None) -> Callable[[], Any]:
        told = None if handling is None else [handling.told(i) for i in range(-1, len(values))]
        return functools.partial(_in_process, self.function, [_pickled(value) for value in values], told)

    def read(self, answer: Any) -> tuple[list[Any], dict[int, Exception]]:
        def unpickled(pair: tuple[bool, Any]) -> Any:
            good, body = pair
            found = _loads(body)
            if not good:
                raise found
            return found

        return apply_each(unpickled, answer)


def _pickled(value: Any) -> bytes | Exception:
    try:
        return pickle.dumps(value)
    except Exception as error:
        return HandlerError(f"{shorten(value)} cannot be sent to another process: {error}")


def _loads(body: bytes) -> Any:
    return pickle.loads(body)  # noqa: S301  these bytes were written by this program


@functools.lru_cache(maxsize=64)
def _function(body: bytes) -> Callable[[Any], Any]:
    try:
        return _loads(body)  # type: ignore[no-any-return]  # it was a function when it was pickled
    except Exception as error:
        raise HandlerError(
            f"the function cannot be imported in another process: {error}; define it at the top level of a module"
        ) from error


def _in_process(function: bytes, values: list[bytes | Exception], told: list[Any] | None) -> list[tuple[bool, bytes]]:
    """Runs in the other process: what came of each value, pickled."""
    with handled(None if told is None else Handling(len(values), lambda place: told[place + 1])):
        return apply_each(functools.partial(_in_process_one, function), values)[0]


def _in_process_one(function: bytes, value: bytes | Exception) -> tuple[bool, bytes]:
    try:
        if isinstance(value, Exception):
            raise value
        answer = _function(function)(_loads(value))
        if inspect.iscoroutine(answer):
            answer.close()
            raise HandlerError("the function answered with a coroutine; write it as an async def, and leave executor out")
        return True, pickle.dumps(answer)
    except Exception as error:
        try:
            body = pickle.dumps(error)
            _loads(body)
        except Exception:
            body = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
        return False, body


@contextmanager
def _within(around: Around) -> Iterator[dict[int, Exception]]:
    """Stay in what is to be entered around calls that are made elsewhere; takes the errors of some, by their places."""
    failed: dict[int, Exception] = {}
    with ExitStack() as stack:
        for place, enter in around.items():
            context = enter()
            context.__enter__()
            stack.push(functools.partial(_leave, failed, place, context))
        yield failed


def _leave(failed: dict[int, Exception], place: int, context: AbstractContextManager[object], *raised: Any) -> None:
    error = failed.get(place, raised[1])
    context.__exit__(None if error is None else type(error), error, raised[2])


class _Pooled(Operator[Any, Any]):
    def __init__(
        self, function: Callable[[Any], Any], workers: int, make: Callable[[int], Executor], way: _Threads | _Processes
    ) -> None:
        self.function = function
        self.workers = workers
        self.make = make
        self.way = way

    def gives(self, type: Any) -> Any:
        return returned(self.function)

    @property
    def name(self) -> str:
        return f"map({name_of(self.function)})"

    @property
    def guarantee(self) -> str:
        kind = "threads" if isinstance(self.way, _Threads) else "processes"
        return f"{self.workers} {kind}, order kept"

    def attach(self, stage: Stage) -> Handler:
        return _Pool(self, stage).take


class _Pool:
    """The workers of one run: started on first use, made anew where one dies, gone with the run."""

    def __init__(self, operator: _Pooled, stage: Stage) -> None:
        self.operator = operator
        self.stage = stage
        self.slots = Slots(stage)
        self.queue: deque[list[Slot]] = deque()
        self.active = 0
        self.pool: Executor | None = None
        self.single: Executor | None = None
        self.one_by_one = asyncio.Lock()
        self.meter = stage.meter(operator.workers)
        stage.run.on_close(self.close)

    def take(self, chunk: Chunk) -> None:
        slots = self.slots.add(chunk)
        self.meter.queue(len(slots))
        size = max(1, min(_PIECE, len(slots) // (self.operator.workers * _AHEAD)))
        pieces = [slots[i : i + size] for i in range(0, len(slots), size)]
        if chunk.attempt > 1:
            self.queue.extendleft(reversed(pieces))
        else:
            self.queue.extend(pieces)
        for _ in range(min(self.operator.workers * _AHEAD - self.active, len(self.queue))):
            self.active += 1
            self.stage.run.spawn(self.work())

    async def work(self) -> None:
        try:
            while self.queue:
                piece = self.queue.popleft()
                began = self.meter.begin(len(piece))
                if not await self.done(piece):
                    await self.each_alone(piece)
                # It may have waited for a worker first: there are more pieces than workers.
                self.meter.end(began, len(piece), timed=False)
                self.slots.ready()
        finally:
            self.active -= 1

    async def done(self, piece: list[Slot]) -> bool:
        """Have values worked on; false where a worker died meanwhile, which may be their fault or that of others."""
        if self.pool is None:
            self.pool = self.operator.make(self.operator.workers)
        pool = self.pool
        try:
            await self.call(pool, piece)
        except BrokenExecutor:
            pool.shutdown(wait=False)
            if self.pool is pool:
                self.pool = None
            return False
        return True

    async def each_alone(self, piece: list[Slot]) -> None:
        """Find out which value a worker dies of, in a process that has nothing else to do."""
        async with self.one_by_one:
            for slot in piece:
                if self.single is None:
                    self.single = self.operator.make(1)
                try:
                    await self.call(self.single, [slot])
                except BrokenExecutor:
                    self.single.shutdown(wait=False)
                    self.single = None
                    reason = f"{self.stage}: the process that worked on {shorten(slot.value)} died; it may need more memory"
                    slot.fail(self.stage, BrokenProcessPool(reason))
                self.slots.ready()
            if self.single is not None:
                self.single.shutdown(wait=False)
                self.single = None

    async def call(self, pool: Executor, piece: list[Slot]) -> None:
        way = self.operator.way
        handling = self.stage.handling([slot.token for slot in piece]) if self.stage.knows else None
        # Threads enter it themselves, around each call.
        around = handling.around if handling is not None and isinstance(way, _Processes) else {}
        with _within(around) as failed:
            answer = await asyncio.wrap_future(pool.submit(way.task([slot.value for slot in piece], handling)))
            results, errors = way.read(answer)
            failed.update(errors)
        good = iter(results)
        for i, slot in enumerate(piece):
            if i in errors:
                slot.fail(self.stage, errors[i])
            else:
                result = next(good)
                if inspect.iscoroutine(result):
                    result.close()
                    reason = f"{self.stage}: the function answered with a coroutine; write it as an async def"
                    slot.fail(self.stage, HandlerError(reason))
                else:
                    slot.succeed(result)

    def close(self) -> None:
        """Let the workers go: a call under way is not waited for, a process that does not end soon is ended."""
        for pool in (self.pool, self.single):
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)
