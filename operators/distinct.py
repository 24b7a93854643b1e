"""`distinct`: every value once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from warren.core.clock import Duration
from warren.core.errors import GraphError
from warren.core.graph import Operator
from warren.operators.deduplicate import deduplicate
from warren.operators.holding import period
from warren.operators.keys import check_function

__all__ = ["distinct"]

T = TypeVar("T")


def distinct(
    by: Callable[[T], Hashable] | None = None, *, limit: int | None = 1_000_000, patience: Duration = "1m"
) -> Operator[T, T]:
    """Let each value pass once, or one of those for which ``by`` gives the same, and drop those that come again.

    This is `deduplicate` by value and without a limit in time. At most ``limit`` values are remembered, the oldest are
    forgotten first; ``None`` remembers all that ever came. To drop only repetitions in a row, see `distinct_until_changed`.

    Keeps the delivery guarantee: a message is dropped, and acknowledged, only when the first of its kind is safe. One that
    comes while that is in flight waits for it, at most for ``patience``, and goes on in its place should it fail. What was
    seen is kept in memory, or with ``Pipeline(state=...)`` in its file too.

    A message whose value, or what ``by`` gives, cannot be a key fails. Raises `GraphError` where ``by`` is no function or
    is ``async``, ``limit`` is not a whole number from 1, or ``patience`` not above zero.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> Pipeline("once", memory.items([]) | distinct() | memory.into([])).test([1, 2, 1, 3, 2]).values
    [1, 2, 3]
    """
    if by is not None:
        check_function(by, "distinct(by=...)", "give a function of one value that gives its key")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise GraphError(f"distinct(limit={limit!r}): limit must be a whole number of at least 1, or None")
    return deduplicate(by or itself, None, limit=limit, patience=period(patience, "distinct(patience=...)"))


def itself(value: Any) -> Any:
    return value
