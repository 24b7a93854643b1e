"""`discard`: end a branch whose work is done by its side effects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from warren.core.chunk import Chunk
from warren.core.graph import Sink
from warren.core.receipt import Kind, Outcome
from warren.core.stage import Run

__all__ = ["discard"]

_DONE = Outcome(Kind.DELIVERED, "discard")


def discard() -> Sink[Any]:
    """End a branch here: values are settled and forgotten.

    For pipelines whose last handler does the work. Keeps the delivery guarantee: a message is acknowledged after the
    steps before this have handled it.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> Pipeline("handled", memory.items([]) | map(print) | discard()).test(["hello"]).outcomes
    hello
    {'delivered': 1}
    """
    return _Discard()


class _Discard(Sink[Any]):
    @property
    def name(self) -> str:
        return "discard()"

    def compile(self, run: Run, path: str) -> Callable[[Chunk], None]:
        def take(chunk: Chunk) -> None:
            if chunk.failures:
                run.dead_letter(chunk.failures)
            run.ledger.settle(chunk.tokens, _DONE)

        return take
