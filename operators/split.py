"""`split`: one stream into two."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from warren.core.errors import HandlerError, shorten
from warren.core.graph import Operator, Sink, name_of
from warren.operators.branches import checked, ended_if_closed
from warren.operators.dead_letter import DeadLetter
from warren.operators.keys import check_function
from warren.operators.route import Route

__all__ = ["split"]

T = TypeVar("T")
U = TypeVar("U")


@overload
def split(  # type: ignore[overload-overlap]  # where both branches are sinks, so is the split
    predicate: Callable[[T], Any], trues: Sink[T] | DeadLetter, falses: Sink[T] | DeadLetter
) -> Sink[T]: ...
@overload
def split(
    predicate: Callable[[T], Any], trues: Operator[T, U] | Sink[T], falses: Operator[T, U] | Sink[T]
) -> Operator[T, U]: ...
def split(predicate: Callable[[Any], Any], trues: Any, falses: Any) -> Any:
    """Send what a predicate holds for down one branch, and everything else down another.

    This is `route` with two branches, for a question that is answered by yes or no (``branch`` in Bytewax, ``partition`` in
    ReactiveX): every answer leads somewhere, so nothing is unroutable. As there, a branch may have steps and a sink; where
    both have one the split is a sink, otherwise what the open branch gives goes on.

    Keeps the delivery guarantee: each message follows one branch and is acknowledged at that branch's end. A message for
    which the predicate raises fails.

    Raises `GraphError` where ``predicate`` is no function or is ``async``, or a branch is neither an operator nor a sink.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> odd = split(lambda n: n % 2, memory.queue("odd"), map(lambda n: n // 2) | memory.queue("halves"))
    >>> Pipeline("odd", memory.items([]) | odd).test([1, 20, 3]).outputs
    {'memory:odd': [1, 3], 'memory:halves': [10]}
    """
    check_function(predicate, "split", "give a function of one value that says whether it is true", "map first, then split")
    steps = checked({True: trues, False: falses}, f"split({name_of(predicate)})")
    return ended_if_closed(_Split(predicate, steps))


class _Split(Route):
    def __init__(self, predicate: Callable[[Any], Any], named: Any) -> None:
        super().__init__(self.holds_for, named, None)
        self.predicate = predicate

    @property
    def name(self) -> str:
        return f"split({name_of(self.predicate)})"

    def holds_for(self, value: Any) -> bool:
        answer = self.predicate(value)
        if inspect.iscoroutine(answer):
            answer.close()
            raise HandlerError(f"{self.name}: the answer for {shorten(value)} is a coroutine; it must not be async")
        return bool(answer)
