"""`filter`: keep the values for which a predicate holds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, TypeVar

from warren.core.chunk import Chunk, apply_each
from warren.core.errors import GraphError, HandlerError
from warren.core.graph import Operator, name_of
from warren.core.receipt import FILTERED, Token
from warren.core.shares import halves
from warren.core.stage import Handler, Stage

__all__ = ["filter", "part"]

T = TypeVar("T")


def filter(predicate: Callable[[T], object]) -> Operator[T, T]:
    """Keep the values for which a predicate is true; the others are settled at once.

    Keeps the delivery guarantee: a dropped message is acknowledged, one whose predicate raises becomes a failure.

    Raises `GraphError` for an ``async`` predicate.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> Pipeline("odd", memory.items([]) | filter(lambda x: x % 2) | memory.into([])).test([1, 2, 3]).values
    [1, 3]
    """
    name = name_of(predicate)
    if not callable(predicate):
        raise GraphError(f"filter({predicate!r}): give a function of one value")
    if inspect.iscoroutinefunction(predicate):
        raise GraphError(f"filter({name}): the predicate must not be async; look things up with map first, then filter")
    return _Filter(predicate)


class _Filter(Operator[Any, Any]):
    passes = True

    def __init__(self, predicate: Callable[[Any], object]) -> None:
        self.predicate = predicate

    @property
    def name(self) -> str:
        return f"filter({name_of(self.predicate)})"

    def attach(self, stage: Stage) -> Handler:
        predicate, settle = self.predicate, stage.settle

        def handle(chunk: Chunk) -> Chunk:
            mask, errors = apply_each(predicate, chunk.values)
            if mask and inspect.iscoroutine(mask[0]):
                for answer in mask:
                    if inspect.iscoroutine(answer):
                        answer.close()
                error = HandlerError(f"{stage}: the predicate answered with a coroutine; it must answer true or false")
                return Chunk([], (), stage.failures(chunk, dict.fromkeys(range(len(chunk.values)), error)))
            if errors:
                chunk = stage.without(chunk, errors)
            try:
                kept, dropped = part(chunk, mask)
            except Exception:
                # Some answer is neither true nor false, such as an array.
                mask, errors = apply_each(bool, mask)
                passed, chunk = chunk.failures, stage.without(chunk, errors)
                chunk.failures = [*passed, *chunk.failures]
                kept, dropped = part(chunk, mask)
            settle(dropped, FILTERED)
            return kept

        return handle


def part(chunk: Chunk, mask: Sequence[object]) -> tuple[Chunk, Sequence[Token]]:
    """The part of a chunk to keep, and the tokens of the rest."""
    if all(mask):
        return chunk, ()
    values = list(compress(chunk.values, mask))
    kept, dropped = halves(chunk.tokens, mask, len(values))
    return Chunk(values, kept, chunk.failures, chunk.attempt), dropped
