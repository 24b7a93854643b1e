"""`fallback`: failures become values again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from warren.core.chunk import Chunk, Failure
from warren.core.errors import HandlerError, MessageError, exception_types, shorten
from warren.core.graph import Operator, name_of
from warren.core.stage import FailureHandler, Handler, Stage
from warren.operators.holding import together
from warren.operators.keys import check_function

__all__ = ["fallback"]

Replace: TypeAlias = Callable[[Any, Exception], Any]


def fallback(
    replacement: Replace | object, *, on: type[Exception] | tuple[type[Exception], ...] = Exception
) -> Operator[Any, Any]:
    """Put a value in the place of each failure: ``replacement``, or what it answers for the failed value and the error.

    It takes the failures of every step further up that no other has taken, whose exception is one of ``on``; a
    `MessageError` (a message that cannot be decoded, was rejected, …) only if ``on`` names it. The failed value is what the
    step that failed was given. Behind a `retry` it takes what that gave up.

    Keeps the delivery guarantee: the message is acknowledged when the replacement is safe. If the function raises, the
    message stays failed, with the function's error and the first one as its cause; a `retry` behind tries again the step
    that failed first.

    Raises `GraphError` where the function is ``async`` or ``on`` is no exception type.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> inverse = map(lambda x: 1 / x) | fallback(lambda value, error: f"none for {value}", on=ZeroDivisionError)
    >>> Pipeline("inverse", memory.items([]) | inverse | memory.into([])).test([0, 2]).values
    ['none for 0', 0.5]
    """
    if callable(replacement):
        check_function(replacement, "fallback", instead="answer with what a map behind it can look up")
    return _Fallback(replacement, exception_types(on, "fallback"))


class _Fallback(Operator[Any, Any]):
    def __init__(self, replacement: Any, on: tuple[type[Exception], ...]) -> None:
        self.replacement = replacement
        self.on = on
        self.named = tuple(kind for kind in on if issubclass(kind, MessageError))

    @property
    def name(self) -> str:
        return f"fallback({name_of(self.replacement) if callable(self.replacement) else shorten(self.replacement, 40)})"

    @property
    def guarantee(self) -> str:
        return "failures become values"

    def matches(self, failure: Failure) -> bool:
        """Whether a failure is one to replace."""
        return isinstance(failure.error, self.named if isinstance(failure.error, MessageError) else self.on)

    def attach(self, stage: Stage) -> Handler:
        return lambda chunk: chunk

    def attach_failures(self, stage: Stage) -> FailureHandler:
        """Start taking failures; returns those that go on."""

        def take(failures: Sequence[Failure]) -> Sequence[Failure]:
            passed: list[Failure] = []
            replaced: list[Chunk] = []
            for failure in failures:
                if not self.matches(failure):
                    passed.append(failure)
                    continue
                try:
                    value = self.replace(stage, failure)
                except Exception as error:
                    passed.append(self.both(stage, failure, error))
                else:
                    replaced.append(Chunk([value], (failure.token,), (), failure.attempt))
            for chunk in together(replaced):
                stage.emit(chunk)
            return passed

        return take

    def replace(self, stage: Stage, failure: Failure) -> Any:
        """The value for a failure."""
        if not callable(self.replacement):
            return self.replacement
        value = self.replacement(failure.value, failure.error)
        if inspect.iscoroutine(value):
            value.close()
            raise HandlerError(
                f"{stage}: the function answered with a coroutine for {shorten(failure.value)}; it must not be async"
            )
        return value

    def both(self, stage: Stage, failure: Failure, error: Exception) -> Failure:
        """A failure with both errors, which is tried again where it first failed."""
        if error is failure.error:
            return failure
        if error.__cause__ is None:
            error.__cause__ = failure.error
        return Failure(failure.token, failure.value, error, stage.name, failure.attempt, failure.redo)
