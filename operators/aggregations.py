"""Aggregations: how to make one figure of many values."""

from __future__ import annotations

import functools
import math
from builtins import sum as add_up
from collections.abc import Callable, Hashable, Sequence
from itertools import chain
from types import CoroutineType
from typing import Any, Generic, TypeVar, overload

from warren.core.errors import GraphError, HandlerError
from warren.core.graph import name_of
from warren.operators.keys import check_function
from warren.operators.kinds import Kind, counted

__all__ = [
    "Aggregation",
    "added",
    "collect",
    "count",
    "custom",
    "deviation",
    "distinct_count",
    "first",
    "largest",
    "last",
    "mean",
    "quantile",
    "smallest",
    "top",
    "total",
    "variance",
]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
S = TypeVar("S")


class Aggregation(Generic[T_contra]):
    """How to make one figure of many values; made by `count`, `total`, `mean` and the like.

    ``extract`` says what to take of each value (``None`` for the value itself). ``fold(state, column)`` gives the state
    after a list of what was extracted, ``merge(a, b)`` the state of two groups as one, the values of ``a`` before those of
    ``b`` (``None`` where two states cannot be joined); ``result`` makes the figure of a state. A state can be pickled, and
    is never changed: the next one is another object. ``grows`` says that it is as large as all values together, ``adds``
    that every value is added to something, so that what is no number fails by itself.
    """

    __slots__ = ("adds", "extract", "fold", "grows", "initial", "merge", "result")

    def __init__(
        self,
        initial: Any,
        fold: Callable[[Any, list[Any]], Any],
        result: Callable[[Any], Any] | None = None,
        extract: Callable[[T_contra], Any] | None = None,
        merge: Callable[[Any, Any], Any] | None = None,
        grows: bool = False,
        adds: bool = False,
    ) -> None:
        if extract is not None:
            check_function(extract, "aggregate")
        self.initial = initial
        self.fold = fold
        self.result: Callable[[Any], Any] = result or (lambda state: state)
        self.extract = extract
        self.merge = merge
        self.grows = grows
        self.adds = adds


@overload
def count() -> Aggregation[object]: ...
@overload
def count(size: int, every: int | None = None) -> Kind: ...
def count(size: int | None = None, every: int | None = None) -> Any:
    """How many values; or, given a number, a kind of `window`: of so many values of a key, however long they take.

    With ``every`` a window starts with every so many values, and a value is in several. ``start`` and ``end`` of such a
    window are when its first and its last value came.

    Raises `GraphError` unless these are whole numbers of at least 1, and ``every`` at most ``size``.

    >>> count(100)
    count(100)
    """
    if size is not None:
        return counted(size, every)
    if every is not None:
        raise GraphError(
            f"count(every={every!r}): give how many values make a window too, such as count(100, every={every})"
        )
    return Aggregation(0, lambda state, column: state + len(column), merge=_plus)


def total(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The sum of what ``of`` gives for each value, or of the values themselves."""
    return Aggregation(0, added, None, of, _plus, adds=True)


def mean(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The arithmetic mean."""

    def fold(state: tuple[Any, int], column: list[Any]) -> tuple[Any, int]:
        return state[0] + add_up(column), state[1] + len(column)

    def result(state: tuple[Any, int]) -> Any:
        return state[0] / state[1]

    return Aggregation((0, 0), fold, result, of, lambda a, b: (a[0] + b[0], a[1] + b[1]), adds=True)


def smallest(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The smallest."""
    return _one(min, of)


def largest(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The largest."""
    return _one(max, of)


def first(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The one that came first."""
    return Aggregation((), _first, _only, of, _first)


def last(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """The one that came last."""
    return Aggregation((), _last, _only, of, _last)


def variance(of: Callable[[T], float] | None = None, *, ddof: int = 1) -> Aggregation[T]:
    """The variance of a sample, or with ``ddof=0`` of a whole population; ``None`` of fewer than ``ddof + 1`` values.

    Groups are joined without a loss of precision (Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance",
    1983, after Welford, 1962).

    >>> variance().result(variance().fold(variance().initial, [1, 2, 3, 4]))
    1.6666666666666667
    """
    if not isinstance(ddof, int) or ddof < 0:
        raise GraphError(f"variance(ddof={ddof!r}): give 1 for a sample, or 0 for a whole population")

    def result(state: tuple[int, float, float]) -> float | None:
        return state[2] / (state[0] - ddof) if state[0] > ddof else None

    return Aggregation((0, 0.0, 0.0), _spread_of, result, of, _spread, adds=True)


def deviation(of: Callable[[T], float] | None = None, *, ddof: int = 1) -> Aggregation[T]:
    """The standard deviation, the root of the `variance`."""
    squared = variance(of, ddof=ddof)

    def result(state: Any) -> float | None:
        found = squared.result(state)
        return None if found is None else math.sqrt(found)

    return Aggregation(squared.initial, squared.fold, result, of, squared.merge, adds=True)


def quantile(q: float, of: Callable[[T], Any] | None = None, *, error: float | None = None) -> Aggregation[T]:
    """The value below which the share ``q`` lies, exactly, interpolated linearly; keeps every value in memory.

    With ``error``, such as 0.01, one that differs from the value there (the lower of two) by at most that share of it, in
    memory that does not grow with the values: some 2,000 buckets at most for 0.01 and each sign (DDSketch; Masson, Rim and
    Lee, 2019). What is 10^18 times smaller than the largest is taken for larger than it is.

    Raises `GraphError` unless ``q`` lies between 0 and 1, and ``error`` between 0.0001 and 0.5.

    >>> quantile(0.5).result([1, 2, 10, 20])
    6.0
    """
    if not isinstance(q, int | float) or not 0 <= q <= 1:
        raise GraphError(f"quantile({q!r}): the share must be a number from 0 to 1, such as 0.5 for the median")
    if error is not None:
        _check_error(f"quantile({q}, error={error!r})", error, 0.0001, 0.5)
        from warren.operators.sketches import Quantiles

        return _sketch(Quantiles(error), lambda sketch: sketch.quantile(q), of)

    def result(ordered: list[Any]) -> Any:
        whole, part = divmod(q * (len(ordered) - 1), 1)
        low = ordered[int(whole)]
        return low + (ordered[int(whole) + 1] - low) * part if part else low

    return Aggregation([], _sorted, result, of, _sorted, grows=True)


def distinct_count(of: Callable[[T], Any] | None = None, *, error: float | None = None) -> Aggregation[T]:
    """How many different ones came, exactly; keeps each of them in memory.

    With ``error``, such as 0.01, an estimate with that standard error: two thirds of all estimates are no further off. It
    takes twice (1/error)^2 bytes or so at most, and is exact while there are few (HyperLogLog; Flajolet and others, 2007;
    Ertl, 2017).

    Raises `GraphError` unless ``error`` lies between 0.003 and 0.25.

    >>> distinct_count().result(distinct_count().fold(frozenset(), ["a", "b", "a"]))
    2
    """
    if error is not None:
        _check_error(f"distinct_count(error={error!r})", error, 0.003, 0.25)
        from warren.operators.sketches import Distinct

        return _sketch(Distinct.within(error), lambda sketch: sketch.estimate, of)
    return Aggregation(frozenset(), lambda state, column: state.union(column), len, of, _union, grows=True)


def top(k: int, of: Callable[[T], Hashable] | None = None, *, capacity: int | None = None) -> Aggregation[T]:
    """The ``k`` most frequent ones with how often they came, as a list of pairs; of equals, what came first.

    At most ``capacity`` different ones are counted, ten times ``k`` and no less than 1,000 unless given. While no more came,
    the counts are exact; afterwards a count is too high by at most the number of values over ``capacity``, and any value
    that came more often than that is among those counted (Space-Saving; Metwally and others, 2005; Agarwal and others,
    2012).

    Raises `GraphError` unless ``k`` is at least 1 and ``capacity`` at least ``k``.

    >>> top(1).result(top(1).fold(top(1).initial, ["a", "b", "a"]))
    [('a', 2)]
    """
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise GraphError(f"top({k!r}): give how many, a whole number of at least 1")
    room = max(10 * k, 1000) if capacity is None else capacity
    if not isinstance(room, int) or isinstance(room, bool) or room < k:
        raise GraphError(f"top({k}, capacity={capacity!r}): capacity must be a whole number of at least {k}")
    from warren.operators.sketches import Frequent

    return _sketch(Frequent(room), lambda sketch: sketch.top(k), of)


def collect(of: Callable[[T], Any] | None = None) -> Aggregation[T]:
    """All of them in a list, in order of arrival."""
    return Aggregation([], _plus, None, of, _plus, grows=True)


def custom(initial: S, step: Callable[[S, T], S], merge: Callable[[S, S], S] | None = None) -> Aggregation[T]:
    """What ``step(state, value)`` makes of the values one after the other; it must not change the state it is given.

    ``merge(a, b)`` gives the state of two groups as one, the values of ``a`` before those of ``b``: it is needed where
    groups join, as sessions do.

    >>> custom(1, lambda product, value: product * value).fold(1, [2, 3])
    6
    """
    check_function(step, "custom(step=...)", "give a function of the state so far and a value")
    if merge is not None:
        check_function(merge, "custom(merge=...)", "give a function of two states")

    def fold(state: Any, column: list[Any]) -> Any:
        state = functools.reduce(step, column, state)
        if type(state) is CoroutineType:
            state.close()
            raise HandlerError(f"custom({name_of(step)}): the answer is a coroutine; give a function that answers at once")
        return state

    return Aggregation(initial, fold, merge=merge)


def added(state: Any, column: list[Any]) -> Any:
    """What `total` folds with; known by name, as running totals have a loop of their own."""
    return state + add_up(column)


def _plus(a: Any, b: Any) -> Any:
    return a + b


def _sorted(ordered: list[Any], more: list[Any]) -> list[Any]:
    return sorted(ordered + more)


def _union(a: frozenset[Any], b: frozenset[Any]) -> frozenset[Any]:
    return a | b


def _only(state: tuple[Any, ...]) -> Any:
    return state[0]


def _first(state: tuple[Any, ...], more: Sequence[Any]) -> tuple[Any, ...]:
    return state or tuple(more[:1])


def _last(state: tuple[Any, ...], more: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(more[-1:]) or state


def _spread_of(state: tuple[int, float, float], column: Sequence[float]) -> tuple[int, float, float]:
    if not column:
        return state
    middle = math.fsum(column) / len(column)
    return _spread(state, (len(column), middle, math.fsum((x - middle) ** 2 for x in column)))


def _spread(a: tuple[int, float, float], b: tuple[int, float, float]) -> tuple[int, float, float]:
    """How many, their mean, and the sum of the squares of how far they lie from it."""
    if not a[0] or not b[0]:
        return a if a[0] else b
    n, apart = a[0] + b[0], b[1] - a[1]
    return n, a[1] + apart * b[0] / n, a[2] + b[2] + apart * apart * a[0] * b[0] / n


def _check_error(place: str, error: object, least: float, most: float) -> None:
    if not isinstance(error, int | float) or not least <= error <= most:
        raise GraphError(f"{place}: error must be a number from {least:g} to {most:g}, such as 0.01, or left out")


def _sketch(empty: Any, result: Callable[[Any], Any], of: Callable[[T], Any] | None) -> Aggregation[T]:
    return Aggregation(empty, lambda sketch, column: sketch.add(column), result, of, lambda a, b: a.merge(b))


def _one(choose: Callable[..., Any], of: Callable[[T], Any] | None) -> Aggregation[T]:
    """The state is the chosen value alone, or nothing."""

    def fold(state: tuple[Any, ...], column: Any) -> tuple[Any, ...]:
        return (choose(chain(state, column)),) if state or column else ()

    return Aggregation((), fold, _only, of, fold)
