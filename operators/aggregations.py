"""Aggregations: how to make one figure of many values."""

from __future__ import annotations

import functools
from builtins import sum as add_up
from collections.abc import Callable
from itertools import chain
from typing import Any, Generic, TypeVar

from warren.core.errors import GraphError, shorten

__all__ = ["Aggregation", "added", "collect", "count", "custom", "largest", "mean", "quantile", "smallest", "total"]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
S = TypeVar("S")


class Aggregation(Generic[T_contra]):
    """How to make one figure of many values; made by `count`, `total`, `mean` and the like.

    ``extract`` says what to take of each value (``None`` for the value itself). ``fold(state, column)`` gives the state
    after a list of what was extracted, without changing the old one; ``result`` makes the figure of a state.
    """

    __slots__ = ("extract", "fold", "initial", "result")

    def __init__(
        self,
        initial: Any,
        fold: Callable[[Any, list[Any]], Any],
        result: Callable[[Any], Any] | None = None,
        extract: Callable[[T_contra], Any] | None = None,
    ) -> None:
        if extract is not None and not callable(extract):
            raise GraphError(f"aggregate: {shorten(extract)} is not a function of one value")
        self.initial = initial
        self.fold = fold
        self.result: Callable[[Any], Any] = result or (lambda state: state)
        self.extract = extract


def count() -> Aggregation[object]:
    """How many values."""
    return Aggregation(0, lambda state, column: state + len(column))


def total(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The sum of what ``of`` gives for each value, or of the values themselves."""
    return Aggregation(0, added, extract=of)


def mean(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The arithmetic mean."""

    def fold(state: tuple[Any, int], column: list[Any]) -> tuple[Any, int]:
        return state[0] + add_up(column), state[1] + len(column)

    return Aggregation((0, 0), fold, lambda state: state[0] / state[1], of)


def smallest(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The smallest."""
    return Aggregation((), lambda state, column: (min(chain(state, column)),), lambda state: state[0], of)


def largest(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The largest."""
    return Aggregation((), lambda state, column: (max(chain(state, column)),), lambda state: state[0], of)


def quantile(q: float, of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The value below which the share ``q`` lies, exactly, interpolated linearly; keeps every value in memory.

    Raises `GraphError` unless ``q`` lies between 0 and 1.

    >>> quantile(0.5).result([1, 2, 10, 20])
    6.0
    """
    if not isinstance(q, int | float) or not 0 <= q <= 1:
        raise GraphError(f"quantile({q!r}): the share must be a number from 0 to 1, such as 0.5 for the median")

    def result(ordered: list[Any]) -> Any:
        whole, part = divmod(q * (len(ordered) - 1), 1)
        low = ordered[int(whole)]
        return low + (ordered[int(whole) + 1] - low) * part if part else low

    return Aggregation([], lambda state, column: sorted(state + column), result, of)


def collect(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """All of them in a list, in order of arrival."""
    return Aggregation([], lambda state, column: state + column, None, of)


def custom(initial: S, step: Callable[[S, T], S]) -> Aggregation[T]:
    """What ``step(state, value)`` makes of the values one after the other; it must not change the state it is given.

    >>> custom(1, lambda product, value: product * value).fold(1, [2, 3])
    6
    """
    if not callable(step):
        raise GraphError(f"custom(step={step!r}): give a function of the state so far and a value")
    return Aggregation(initial, lambda state, column: functools.reduce(step, column, state))


def added(state: Any, column: list[Any]) -> Any:
    """What `total` folds with; known by name, as running totals have a loop of their own."""
    return state + add_up(column)
