"""Keys: what the ``by=`` of a step answers for each value, and what becomes of a value that has none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from types import CoroutineType
from typing import Any

from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.errors import GraphError, HandlerError, shorten
from warren.core.graph import name_of
from warren.core.stage import Stage

__all__ = ["check_function", "keys_of"]


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
    if inspect.iscoroutinefunction(function):
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
