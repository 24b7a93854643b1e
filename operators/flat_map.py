"""flat_map: one value in, none, one or many out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from warren.core.chunk import Chunk, apply_each
from warren.core.errors import GraphError, HandlerError, shorten
from warren.core.graph import Operator, name_of
from warren.core.receipt import FILTERED, Token
from warren.core.stage import Handler, Stage

__all__ = ["FlatMap", "flat_map"]

T = TypeVar("T")
U = TypeVar("U")


class FlatMap(Operator[T, U]):
    """Calls a function for each value and passes on each item of its answer; made by `flat_map`."""

    def __init__(self, function: Callable[[T], Iterable[U]]) -> None:
        if not callable(function):
            raise GraphError(f"flat_map needs a function that answers with an iterable, not {shorten(function)}")
        if inspect.iscoroutinefunction(function):
            raise GraphError(
                f"flat_map({name_of(function)}) cannot call an async function: "
                f"write map({name_of(function)}, concurrency=...) | flat_map(list)"
            )
        self._function = function

    @property
    def name(self) -> str:
        """``flat_map(function)``."""
        return f"flat_map({name_of(self._function)})"

    @property
    def guarantee(self) -> str:
        """A message is settled with the last of its values."""
        return "splits the receipt: a message is settled with the last of its values"

    def attach(self, stage: Stage) -> Handler:
        """Start in one running pipeline."""
        function = self._function

        def expand(value: T) -> list[U]:
            answer: Any = function(value)
            if isinstance(answer, str | bytes | bytearray) or not hasattr(type(answer), "__iter__"):
                raise HandlerError(
                    f"{stage.name}: {name_of(function)} answered {shorten(answer)} for {shorten(value)}, which is no list "
                    "of values: answer with a list, such as [value], or [] for none"
                )
            return list(answer)

        def handle(chunk: Chunk) -> Chunk:
            answers, errors = apply_each(expand, chunk.values)
            failures = stage.failures(chunk, errors) if errors else ()
            tokens = [t for i, t in enumerate(chunk.tokens) if i not in errors] if errors else chunk.tokens
            values: list[U] = []
            given: list[Token] = []
            dropped: list[Token] = []
            split = stage.ledger.split
            for token, answer in zip(tokens, answers, strict=True):
                if answer:
                    values += answer
                    given += split(token, len(answer))
                else:
                    dropped.append(token)
            if dropped:
                stage.settle(dropped, FILTERED)
            return Chunk(values, given, failures, chunk.attempt)

        return handle


def flat_map(function: Callable[[T], Iterable[U]]) -> Operator[T, U]:
    """Call ``function`` for each value and pass on each item of the iterable it answers with, in order.

    Delivery: a message is settled when the last of its values is; one that gives no values is settled at once. If the
    function or its iterable raises, the message fails as a whole, and nothing of it goes on. A text or bytes as the answer
    is a `HandlerError`, as it is nearly always a mistake.

    Raises `GraphError` where ``function`` cannot be called or is async.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import flat_map
    >>> Pipeline("words", memory.queue("in") | flat_map(str.split) | memory.queue("out")).test(["a b", "", "c"])
    ['a', 'b', 'c']
    """
    return FlatMap(function)
