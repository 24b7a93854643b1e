"""`broadcast`: send each value down every one of several branches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, overload

from warren.core.chunk import Chunk
from warren.core.errors import GraphError
from warren.core.graph import Operator, Sink
from warren.core.stage import Handler, Stage
from warren.operators.branches import Branching, Entry, checked, ended_if_closed
from warren.operators.dead_letter import DeadLetter

__all__ = ["broadcast"]

T = TypeVar("T")
U = TypeVar("U")


@overload
def broadcast(  # type: ignore[overload-overlap]  # where every branch is a sink, so is the broadcast
    targets: Mapping[str, Sink[T] | DeadLetter] | None = ..., **branches: Sink[T] | DeadLetter
) -> Sink[T]: ...
@overload
def broadcast(
    targets: Mapping[str, Operator[T, U] | Sink[T]] | None = ..., **branches: Operator[T, U] | Sink[T]
) -> Operator[T, U]: ...
def broadcast(targets: Mapping[str, Any] | None = None, **branches: Any) -> Any:
    """Send each value down all the branches, side by side.

    Branches are given by name, or in a mapping for names that Python has not. Where every branch ends in a sink the
    broadcast is a sink; otherwise what its open branches give goes on. All are given the same object, which none may change.

    Keeps the delivery guarantee: a message is acknowledged when all its branches are done with it. A failure in one branch
    holds up no other, and a `retry` in a branch repeats that branch alone; but one that parks a message with the broker, as
    any redelivery, starts it again in all of them. In each branch a message's id has the branch's place added: ``7/0``.

    Raises `GraphError` where there is no branch, or one is neither an operator nor a sink.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> both = broadcast(raw=memory.queue("raw"), text=map(str) | memory.queue("text"))
    >>> result = Pipeline("both", memory.items([]) | both).test([1, 2])
    >>> result.outputs, result.outcomes
    ({'memory:raw': [1, 2], 'memory:text': ['1', '2']}, {'delivered': 2})
    """
    named = {**(targets or {}), **branches}
    if not named:
        raise GraphError("broadcast() leads nowhere: name at least one branch, such as audit=sqlite.queue(...)")
    return ended_if_closed(Broadcast(checked(named, "broadcast")))


class Broadcast(Branching):
    """Made by `broadcast`."""

    @property
    def name(self) -> str:
        """What errors, drawings and recordings call it."""
        return "broadcast"

    @property
    def guarantee(self) -> str:
        """When a message is acknowledged."""
        return "acknowledged when all branches are done"

    def handler(self, stage: Stage, entries: list[Entry]) -> Handler:
        """Give each branch all the values, with a part of each message."""
        split, count = stage.ledger.split, len(entries)

        def handle(chunk: Chunk) -> None:
            parts = zip(*[split(token, count) for token in chunk.tokens], strict=True)
            for entry, tokens in zip(entries, parts, strict=True):
                entry(Chunk(list(chunk.values), list(tokens), (), chunk.attempt))

        return handle
