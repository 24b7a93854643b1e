"""Faults of functions: calls that fail, and calls that take long."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ParamSpec, Protocol, TypeVar, overload
from weakref import WeakKeyDictionary

from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError
from warren.core.graph import Operator, name_of
from warren.operators.keys import is_async
from warren.operators.tap import tap
from warren.testing.which import Which, which

__all__ = ["fail", "slow"]

F = TypeVar("F")
P = ParamSpec("P")
T = TypeVar("T")


class Slow(Protocol):
    """Makes a function a slower one, which is ``async`` whether the function was or not."""

    @overload
    def __call__(self, function: Callable[P, Awaitable[T]], /) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Callable[P, Awaitable[T]]: ...


def fail(
    *,
    nth: int | Iterable[int] | None = None,
    every: int | None = None,
    share: float | None = None,
    error: type[Exception] | Exception = ConnectionError,
    seed: object = 0,
) -> Callable[[F], F]:
    """Make the nth call of a function raise an error instead: ``map(fail(nth=3)(price))``.

    Calls are counted, retries included, anew for each trial. An operator can be wrapped too: then values fail right before
    it, and a `retry` behind it leads back there.

    - ``nth``, ``every``, ``share``: the nth call or several, every nth, or a share of them by lot, which ``seed`` decides
    - ``error``: the exception, or its type

    Raises `GraphError` where it is not said which calls, or ``error`` is no exception.

    >>> from warren import Pipeline, constant
    >>> from warren.connectors import memory
    >>> from warren.operators import map, retry
    >>> steps = map(fail(nth=[1, 2])(str.upper)) | retry(constant("5s"))
    >>> trial = Pipeline("shout", memory.items([]) | steps | memory.into([])).test(["a"])
    >>> trial.values, round(trial.elapsed)
    (['A'], 10)
    """
    chosen = which("fail", nth, every, share)
    made = _maker(error)

    def wrap(function: Any) -> Any:
        if not callable(function) and not isinstance(function, Operator):
            raise GraphError(f"fail(...)({function!r}): give a function or an operator to wrap")
        choose = _counted(chosen, f"{seed}:fail")

        def before() -> None:
            if choose():
                raise made()

        def failing_before(value: object) -> None:
            before()

        if isinstance(function, Operator):
            return tap(failing_before) | function
        call: Callable[..., Any] = function

        async def failing_later(*values: Any, **named: Any) -> Any:
            before()
            return await call(*values, **named)

        def failing(*values: Any, **named: Any) -> Any:
            before()
            return call(*values, **named)

        return _like(failing_later if is_async(call) else failing, function)

    return wrap


def slow(
    by: Duration,
    *,
    nth: int | Iterable[int] | None = None,
    every: int | None = None,
    share: float | None = None,
    seed: object = 0,
) -> Slow:
    """Make calls of a function take so much longer, in virtual time: ``map(slow("5s", nth=2)(price))``.

    All calls are slow unless ``nth``, ``every`` or ``share`` says which; as for `fail`. The wrapped function is ``async``,
    so it is for steps that take such functions. Raises `GraphError` where ``by`` is no duration.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> late = map(slow("5s", nth=2)(str.upper))
    >>> trial = Pipeline("shout", memory.items([]) | late | memory.into([])).test(["a", "b", "c"])
    >>> trial.values, trial.elapsed
    (['A', 'B', 'C'], 5.0)
    """
    length = seconds(by)
    if nth is None and every is None and share is None:
        every = 1
    chosen = which("slow", nth, every, share)

    def wrap(function: Any, /) -> Any:
        if not callable(function):
            raise GraphError(f"slow(...)({function!r}): give a function to wrap")
        choose = _counted(chosen, f"{seed}:slow")

        async def slowed(*values: Any, **named: Any) -> Any:
            if choose():
                await asyncio.sleep(length)
            answer = function(*values, **named)
            return await answer if inspect.isawaitable(answer) else answer

        return _like(slowed, function)

    return wrap


def _counted(chosen: Which, seed: str) -> Callable[[], bool]:
    """Chooses calls, and begins anew in each event loop, so in each trial; calls outside one are counted together."""
    choosers: WeakKeyDictionary[asyncio.AbstractEventLoop, Callable[[], bool]] = WeakKeyDictionary()
    outside = chosen.chooser(seed)

    def choose() -> bool:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return outside()
        if loop not in choosers:
            choosers[loop] = chosen.chooser(seed)
        return choosers[loop]()

    return choose


def _like(wrapped: Any, function: Any) -> Any:
    """The wrapped function, under the name that errors and drawings show of the other."""
    wrapped = functools.update_wrapper(wrapped, function)
    wrapped.__name__ = name_of(function)
    return wrapped


def _maker(error: Any) -> Callable[[], Exception]:
    if isinstance(error, Exception):
        return lambda: error
    text = "this call fails because the test says so"
    try:
        made = error(text) if isinstance(error, type) else None
    except Exception as reason:
        raise GraphError(
            f"fail(error={error.__name__}): it cannot be made of a text ({reason}); give the exception"
        ) from None
    if not isinstance(made, Exception):
        raise GraphError(f"fail(error={error!r}): give an exception, or a type of them")
    return lambda: error(text)
