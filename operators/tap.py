"""tap: call a function for its side effect, and leave the values as they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, overload

from warren.core.chunk import Chunk, apply_each
from warren.core.errors import GraphError, shorten
from warren.core.graph import Operator, name_of
from warren.core.stage import Handler, Stage

__all__ = ["Tap", "tap"]

T = TypeVar("T")


class Tap(Operator[T, T]):
    """Shows each value, or each chunk, to a function; made by `tap`."""

    def __init__(self, function: Callable[[Any], object], chunks: bool = False) -> None:
        if not callable(function):
            raise GraphError(f"tap needs a function to show the values to, not {shorten(function)}")
        if inspect.iscoroutinefunction(function):
            raise GraphError(
                f"tap({name_of(function)}) cannot call an async function: "
                "use map with an async function that returns its value"
            )
        self._function = function
        self._chunks = chunks

    @property
    def name(self) -> str:
        """``tap(function)``."""
        return f"tap({name_of(self._function)})"

    def attach(self, stage: Stage) -> Handler:
        """Start in one running pipeline."""
        function = self._function

        def each(chunk: Chunk) -> Chunk:
            _, errors = apply_each(function, chunk.values)
            if not errors:
                return chunk
            left = chunk.select([i not in errors for i in range(len(chunk))])
            left.failures = stage.failures(chunk, errors)
            return left

        def whole(chunk: Chunk) -> Chunk:
            try:
                function(tuple(chunk.values))
            except Exception as error:
                return Chunk([], (), stage.failures(chunk, dict.fromkeys(range(len(chunk)), error)))
            return chunk

        return whole if self._chunks else each


@overload
def tap(function: Callable[[T], object], *, chunks: Literal[False] = False) -> Operator[T, T]: ...
@overload
def tap(function: Callable[[Sequence[T]], object], *, chunks: Literal[True]) -> Operator[T, T]: ...
def tap(function: Callable[[Any], object], *, chunks: bool = False) -> Operator[Any, Any]:
    """Call ``function`` for each value, ignore its answer, and pass the value on; with ``chunks`` call it once for all the
    values that travel together.

    Delivery: kept. If the function raises, the message fails (with ``chunks``, every message of that chunk); a message that
    is retried is shown again.

    Raises `GraphError` where ``function`` cannot be called or is async.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import tap
    >>> seen = []
    >>> Pipeline("shown", memory.queue("in") | tap(seen.append) | memory.queue("out")).test([1, 2])
    [1, 2]
    >>> seen
    [1, 2]
    """
    return Tap(function, chunks)
