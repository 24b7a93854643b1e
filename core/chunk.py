"""Chunks: what travels between operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

from warren.core.handling import followed, here
from warren.core.receipt import Token

__all__ = ["Chunk", "Failure", "apply_each", "stopped"]


class Failure:
    """One message that failed: what it was, where, why, on which attempt, and how to try that step again."""

    __slots__ = ("attempt", "error", "redo", "stage", "token", "value")

    def __init__(
        self,
        token: Token,
        value: Any,
        error: Exception,
        stage: str,
        attempt: int = 1,
        redo: Callable[[Chunk], None] | None = None,
    ) -> None:
        self.token = token
        self.value = value
        self.error = error
        self.stage = stage
        self.attempt = attempt
        self.redo = redo


class Chunk:
    """Values, and beside them the tokens that settle them: whatever was ready, never waited for.

    ``failures`` are messages that failed further up; steps pass them by until a `retry` or `dead_letter` takes them.
    ``attempt`` is above 1 where the chunk is tried again.

    >>> chunk = Chunk([1, 2, 3], range(3))
    >>> chunk.select([True, False, True]).values
    [1, 3]
    """

    __slots__ = ("attempt", "failures", "tokens", "values")

    def __init__(
        self, values: list[Any], tokens: Sequence[Token], failures: Sequence[Failure] = (), attempt: int = 1
    ) -> None:
        self.values = values
        self.tokens = tokens
        self.failures = failures
        self.attempt = attempt

    def __len__(self) -> int:
        """How many values it carries; failures are not counted."""
        return len(self.values)

    def select(self, mask: Sequence[Any]) -> Chunk:
        """The values whose mask is true, with their tokens."""
        return Chunk(list(compress(self.values, mask)), list(compress(self.tokens, mask)), (), self.attempt)


def stopped() -> RuntimeError:
    """What stands for a `StopIteration` that a handler raised, as the language has it for generators."""
    return RuntimeError("the handler raised StopIteration, which would end the stream")


def apply_each(function: Callable[[Any], Any], values: Sequence[Any]) -> tuple[list[Any], dict[int, Exception]]:
    """Call a function for each value exactly once; return the results in order and the exceptions by position.

    >>> results, errors = apply_each(lambda x: 6 // x, [1, 0, 3])
    >>> results, list(errors)
    ([6, 2], [1])
    """
    results: list[Any] = []
    errors: dict[int, Exception] = {}
    rest = iter(values)
    handling = here.get()
    around = None if handling is None else handling.beginning(rest, len(values))
    while True:
        try:
            # extend keeps what came before the exception, so no value is handled twice.
            if around:
                followed(function, rest, len(values), around, results)
            else:
                results.extend(map(function, rest))
        except Exception as error:
            errors[len(results) + len(errors)] = error
        else:
            done = len(results) + len(errors)
            if done == len(values):
                return results, errors
            # A StopIteration out of the function looks like the end of the values.
            errors[done] = stopped()
