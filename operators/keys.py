"""What a function of the user answers for each value, such as its key, and what becomes of a value that has none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from types import CoroutineType
from typing import Any, TypeVar

from warren.core.chunk import Chunk, Failure, apply_each
from warren.core.errors import GraphError, HandlerError, shorten
from warren.core.graph import name_of
from warren.core.stage import Stage

__all__ = ["answers", "check_function", "is_async", "keys_of", "left_of", "unfit_answers", "unfit_keys"]

T = TypeVar("T")


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
    return _checked(stage, by, chunk, lambda keys, values: unfit_keys(stage, keys, values, option))


def answers(stage: Stage, function: Callable[[Any], Any], chunk: Chunk) -> tuple[list[Any], Chunk, list[Failure]]:
    """A function's answers for a chunk's values, the part of the chunk that has one, and the failures of the others."""
    return _checked(stage, function, chunk, lambda results, values: unfit_answers(stage, results, values))


def unfit_keys(stage: Stage, keys: list[Any], values: list[Any], option: str = "by") -> dict[int, Exception]:
    """Why some answers for values cannot be keys, by position."""
    if _hashable(keys):
        return {}

    def check(key: Any, value: Any) -> None:
        _refuse_coroutine(key, f"{stage}: {option}= answered with a coroutine for {shorten(value)}; it must not be async")
        try:
            hash(key)
        except Exception as error:
            raise HandlerError(
                f"{stage}: {option}= answered {shorten(key)} for {shorten(value)}, which cannot be a key; "
                "answer with a text, a number or a tuple of these"
            ) from error

    return _unfit(check, keys, values)


def unfit_answers(stage: object, results: list[Any], values: list[Any]) -> dict[int, Exception]:
    """Why some answers for values, which are coroutines, will not do, by position."""
    if _at_once(results):
        return {}

    def check(answer: Any, value: Any) -> None:
        reason = f"the answer for {shorten(value)} is a coroutine; give a function that answers at once"
        _refuse_coroutine(answer, f"{stage}: {reason}")

    return _unfit(check, results, values)


def left_of(found: Sequence[T], before: Chunk, rest: Chunk) -> Sequence[T]:
    """Of what was found for each value of a chunk, what belongs to the part of it that is left."""
    if len(before) == len(rest):
        return found
    told = dict(zip(before.tokens, found, strict=True))
    return [told[token] for token in rest.tokens]


def _checked(
    stage: Stage,
    function: Callable[[Any], Any],
    chunk: Chunk,
    unfit: Callable[[list[Any], list[Any]], dict[int, Exception]],
) -> tuple[list[Any], Chunk, list[Failure]]:
    """As `answers`, where ``unfit`` says which results will not do."""
    results, errors = apply_each(function, chunk.values)
    failures: list[Failure] = []
    if errors:
        chunk, failures = _without(stage, chunk, errors)
    errors = unfit(results, chunk.values)
    if errors:
        results = [result for i, result in enumerate(results) if i not in errors]
        chunk, more = _without(stage, chunk, errors)
        failures += more
    return results, chunk, failures


def _unfit(check: Callable[[Any, Any], None], results: list[Any], values: list[Any]) -> dict[int, Exception]:
    return apply_each(lambda pair: check(*pair), list(zip(results, values, strict=True)))[1]


def _without(stage: Stage, chunk: Chunk, errors: dict[int, Exception]) -> tuple[Chunk, list[Failure]]:
    rest = stage.without(chunk, errors)
    failures, rest.failures = list(rest.failures), ()
    return rest, failures


def _refuse_coroutine(answer: Any, reason: str) -> None:
    if inspect.iscoroutine(answer):
        answer.close()
        raise HandlerError(reason)


def _at_once(results: list[Any]) -> bool:
    return CoroutineType not in set(map(type, results))


def _hashable(keys: list[Any]) -> bool:
    try:
        # All at once, as nearly always every one of them is.
        hash(tuple(keys))
    except Exception:
        return False
    return _at_once(keys)
