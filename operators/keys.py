"""What a function of the user answers for each value, such as its key, and what becomes of a value that has none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from types import CoroutineType
from typing import Any

from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.errors import GraphError, HandlerError, shorten
from warren.core.graph import name_of
from warren.core.stage import Stage

__all__ = ["answers", "check_function", "is_async", "keys_of"]


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a call of a function, a partial, a method or a callable object gives a coroutine.

    >>> is_async(len)
    False
    """
    function = getattr(function, "func", function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def check_function(
    function: object,
    place: str,
    remedy: str = "give a function of one value",
    instead: str = "look things up with map first",
) -> None:
    """Refuse what is no function of one value, or an ``async`` one, with a `GraphError`.

    >>> check_function(len, "batch(by=...)")
    """
    if not callable(function):
        raise GraphError(f"{place}: {shorten(function)} is not a function; {remedy}")
    if is_async(function):
        raise GraphError(f"{place}: {name_of(function)} must not be async; {instead}")


def keys_of(
    stage: Stage, by: Callable[[Any], Hashable], chunk: Chunk, option: str = "by"
) -> tuple[Sequence[Any], Chunk, list[Failure]]:
    """The keys of a chunk, the part of the chunk that has one, and the failures of the others."""
    failures: list[Failure] = []
    keys, errors = apply_each(by, chunk.values)
    if errors:
        failures = stage.failures(chunk, errors)
        chunk = chunk.select([i not in errors for i in range(len(chunk.values))])
    if not _usable(keys):

        def check(pair: tuple[Any, Any]) -> None:
            key, value = pair
            if inspect.iscoroutine(key):
                key.close()
                raise HandlerError(
                    f"{stage}: {option}= answered with a coroutine for {shorten(value)}; it must not be async"
                )
            try:
                hash(key)
            except Exception as error:
                raise HandlerError(
                    f"{stage}: {option}= answered {shorten(key)} for {shorten(value)}, which cannot be a key; "
                    "answer with a text, a number or a tuple of these"
                ) from error

        _, errors = apply_each(check, list(zip(keys, chunk.values, strict=True)))
        failures += stage.failures(chunk, errors)
        keys = [key for i, key in enumerate(keys) if i not in errors]
        chunk = chunk.select([i not in errors for i in range(len(chunk.values))])
    return keys, chunk, failures


def _usable(keys: Sequence[Any]) -> bool:
    try:
        # All at once, as nearly always every one of them is.
        hash(tuple(keys))
    except Exception:
        return False
    return CoroutineType not in set(map(type, keys))


def answers(stage: Stage, function: Callable[[Any], Any], chunk: Chunk) -> tuple[list[Any], Chunk, list[Failure]]:
    """A function's answers for a chunk's values, the part of the chunk that has one, and the failures of the others."""
    failures: list[Failure] = []
    results, errors = apply_each(function, chunk.values)
    if errors:
        failures = stage.failures(chunk, errors)
        chunk = chunk.select([i not in errors for i in range(len(chunk.values))])
    if CoroutineType in set(map(type, results)):

        def check(pair: tuple[Any, Any]) -> Any:
            answer, value = pair
            if inspect.iscoroutine(answer):
                answer.close()
                raise HandlerError(
                    f"{stage}: the answer for {shorten(value)} is a coroutine; give a function that answers at once"
                )
            return answer

        results, errors = apply_each(check, list(zip(results, chunk.values, strict=True)))
        failures += stage.failures(chunk, errors)
        chunk = chunk.select([i not in errors for i in range(len(chunk.values))])
    return results, chunk, failures
