"""`tap`: call a function for its side effect, and leave the values as they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, overload

from warren.core.chunk import Chunk
from warren.core.errors import GraphError
from warren.core.graph import Operator, name_of
from warren.core.stage import Handler, Stage
from warren.operators.keys import answers

__all__ = ["tap"]

T = TypeVar("T")


@overload
def tap(function: Callable[[T], object], *, chunks: Literal[False] = False) -> Operator[T, T]: ...
@overload
def tap(function: Callable[[Sequence[T]], object], *, chunks: Literal[True]) -> Operator[T, T]: ...
def tap(function: Callable[[Any], object], *, chunks: bool = False) -> Operator[Any, Any]:
    """Call a function for each value, ignore its answer, and let the value pass.

    With ``chunks`` it is called once with all the values that travel together, as a tuple.

    Keeps the delivery guarantee: if the function raises, the message fails (with ``chunks``, all that travel together).
    A message that is delivered or tried again is shown again.

    Raises `GraphError` for an ``async`` function.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> seen = []
    >>> Pipeline("shown", memory.items([]) | tap(seen.append) | memory.into([])).test([1, 2]).values
    [1, 2]
    >>> seen
    [1, 2]
    """
    name = name_of(function)
    if not callable(function):
        raise GraphError(f"tap({function!r}): give a function of one value")
    if inspect.iscoroutinefunction(function):
        raise GraphError(f"tap({name}): the function must not be async; use map with one that returns its value")
    return _Tap(function, chunks)


class _Tap(Operator[Any, Any]):
    passes = True

    def __init__(self, function: Callable[[Any], object], chunks: bool) -> None:
        self.function = function
        self.chunks = chunks

    @property
    def name(self) -> str:
        return f"tap({name_of(self.function)})"

    def attach(self, stage: Stage) -> Handler:
        function = self.function

        def each(chunk: Chunk) -> Chunk:
            _, chunk, chunk.failures = answers(stage, function, chunk)
            return chunk

        def together(chunk: Chunk) -> Chunk:
            try:
                function(tuple(chunk.values))
            except Exception as error:
                return Chunk([], (), stage.failures(chunk, dict.fromkeys(range(len(chunk.values)), error)))
            return chunk

        return together if self.chunks else each
