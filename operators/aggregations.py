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
    after a list of what was extracted, ``merge(a, b)`` the state of two groups as one, the values of ``a`` before those of
    ``b`` (``None`` where two states cannot be joined); ``result`` makes the figure of a state. A state can be pickled, and
    is never changed: the next one is another object.
    """

    __slots__ = ("extract", "fold", "initial", "merge", "result")

    def __init__(
        self,
        initial: Any,
        fold: Callable[[Any, list[Any]], Any],
        result: Callable[[Any], Any] | None = None,
        extract: Callable[[T_contra], Any] | None = None,
        merge: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        if extract is not None and not callable(extract):
            raise GraphError(f"aggregate: {shorten(extract)} is not a function of one value")
        self.initial = initial
        self.fold = fold
        self.result: Callable[[Any], Any] = result or (lambda state: state)
        self.extract = extract
        self.merge = merge


def count() -> Aggregation[object]:
    """How many values."""
    return Aggregation(0, lambda state, column: state + len(column), merge=_plus)


def total(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The sum of what ``of`` gives for each value, or of the values themselves."""
    return Aggregation(0, added, None, of, _plus)


def mean(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The arithmetic mean."""

    def fold(state: tuple[Any, int], column: list[Any]) -> tuple[Any, int]:
        return state[0] + add_up(column), state[1] + len(column)

    return Aggregation((0, 0), fold, lambda state: state[0] / state[1], of, lambda a, b: (a[0] + b[0], a[1] + b[1]))


def smallest(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The smallest."""
    return _one(min, of)


def largest(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The largest."""
    return _one(max, of)


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

    return Aggregation([], _sorted, result, of, _sorted)


def collect(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """All of them in a list, in order of arrival."""
    return Aggregation([], _plus, None, of, _plus)


def custom(initial: S, step: Callable[[S, T], S], merge: Callable[[S, S], S] | None = None) -> Aggregation[T]:
    """What ``step(state, value)`` makes of the values one after the other; it must not change the state it is given.

    ``merge(a, b)`` gives the state of two groups as one, the values of ``a`` before those of ``b``: it is needed where
    groups join, as sessions do.

    >>> custom(1, lambda product, value: product * value).fold(1, [2, 3])
    6
    """
    if not callable(step):
        raise GraphError(f"custom(step={step!r}): give a function of the state so far and a value")
    if merge is not None and not callable(merge):
        raise GraphError(f"custom(merge={merge!r}): give a function of two states")
    return Aggregation(initial, lambda state, column: functools.reduce(step, column, state), merge=merge)


def added(state: Any, column: list[Any]) -> Any:
    """What `total` folds with; known by name, as running totals have a loop of their own."""
    return state + add_up(column)


def _plus(a: Any, b: Any) -> Any:
    return a + b


def _sorted(ordered: list[Any], more: list[Any]) -> list[Any]:
    return sorted(ordered + more)


def _one(choose: Callable[..., Any], of: Callable[[T], Any] | None) -> Aggregation[T]:
    """The state is the chosen value alone, or nothing."""

    def fold(state: tuple[Any, ...], column: Any) -> tuple[Any, ...]:
        return (choose(chain(state, column)),) if state or column else ()

    return Aggregation((), fold, lambda state: state[0], of, fold)
