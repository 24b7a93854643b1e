"""`flat_map`: one value in; none, one or many out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from warren.core.chunk import Chunk
from warren.core.errors import GraphError, HandlerError, shorten
from warren.core.graph import Operator, name_of
from warren.core.hints import element, returned
from warren.core.receipt import FILTERED
from warren.core.stage import Handler, Stage

__all__ = ["flat_map"]

T = TypeVar("T")
U = TypeVar("U")


def flat_map(function: Callable[[T], Iterable[U]]) -> Operator[T, U]:
    """Call a function for each value; every item of its answer goes on, in order.

    Keeps the delivery guarantee: a message is acknowledged when the last of its values is safe, and at once if it gives
    none. If the function or its iterable raises, the message fails as a whole and nothing of it goes on. A text or bytes
    as the answer is a `HandlerError`, as it is nearly always a mistake.

    Raises `GraphError` for an ``async`` function.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> Pipeline("words", memory.items([]) | flat_map(str.split) | memory.into([])).test(["a b", "", "c"]).values
    ['a', 'b', 'c']
    """
    name = name_of(function)
    if not callable(function):
        raise GraphError(f"flat_map({function!r}): give a function of one value that answers with a list")
    if inspect.iscoroutinefunction(function):
        raise GraphError(f"flat_map({name}): the function must not be async; write map({name}) | flat_map(list)")
    return _FlatMap(function)


class _FlatMap(Operator[Any, Any]):
    def __init__(self, function: Callable[[Any], Iterable[Any]]) -> None:
        self.function = function

    def gives(self, type: Any) -> Any:
        return element(returned(self.function))

    @property
    def name(self) -> str:
        return f"flat_map({name_of(self.function)})"

    @property
    def guarantee(self) -> str:
        return "acknowledged with the last of its values"

    def attach(self, stage: Stage) -> Handler:
        function = self.function

        def listed(answer: Any, value: Any) -> list[Any]:
            if isinstance(answer, str | bytes | bytearray) or not hasattr(type(answer), "__iter__"):
                if inspect.iscoroutine(answer):
                    answer.close()
                raise HandlerError(
                    f"{stage}: the function answered {shorten(answer)} for {shorten(value)}; "
                    "it must answer with a list of values, such as [value], or [] for none"
                )
            return list(answer)

        def handle(chunk: Chunk) -> Chunk:
            values: list[Any] = []
            counts: list[int] = []
            errors: dict[int, Exception] = {}
            rest = iter(chunk.values)
            while True:
                try:
                    # An answer is used up before the next call, as the function may answer with the same list again.
                    for value in rest:
                        answer: Any = function(value)
                        if type(answer) is not tuple and type(answer) is not list:
                            answer = listed(answer, value)
                        values += answer
                        counts.append(len(answer))
                except Exception as error:
                    errors[len(counts) + len(errors)] = error
                else:
                    break
            left = stage.survivors(chunk, counts, errors)
            tokens, none = stage.ledger.split_all(left.tokens, counts)
            stage.settle(none, FILTERED)
            return Chunk(values, tokens, left.failures, chunk.attempt)

        return handle
