"""Two sources side by side, in front of a step that knows which of them a chunk came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from reactivex import operators as ops

from warren.core.chunk import Chunk
from warren.core.errors import GraphError, shorten
from warren.core.graph import Operator, Source, Step
from warren.core.stage import Handler, RxOperator, Stage, wired
from warren.operators.keys import check_function

__all__ = ["LEFT", "RIGHT", "Joining", "Sided", "Sides", "both"]

LEFT, RIGHT = 0, 1


class Sided(Chunk):
    """A chunk of one side."""

    __slots__ = ("side",)

    def __init__(self, chunk: Chunk, side: int) -> None:
        super().__init__(chunk.values, chunk.tokens, chunk.failures, chunk.attempt)
        self.side = side


class _Side(Operator[Any, Any]):
    """Says of every chunk which side it is of; no drawing shows it."""

    def __init__(self, side: int) -> None:
        self.side = side

    @property
    def name(self) -> str:
        return ""

    def compile(self, stage: Stage) -> RxOperator:
        return ops.map(lambda chunk: Sided(chunk, self.side))


class Sides(Source[Any]):
    """Two sources by name; ``right_first`` has the right one read to its end before the left.

    Raises `GraphError` where one is none, or both read one queue.
    """

    def __init__(self, place: str, *, right_first: bool = False, **sources: Source[Any]) -> None:
        for label, source in sources.items():
            if not isinstance(source, Source):
                raise GraphError(
                    f"{place}: {shorten(source)} on the {label} is not a source; give two sources to read from, such as "
                    "memory.queue('orders'); operators go behind them, as in orders | clean"
                )
        left, right = ([*source.inlets()] for source in sources.values())
        for inlet in left:
            if any(other is inlet for other in right) and not inlet.bounded:
                raise GraphError(
                    f"{place}: both sides read {inlet.name}, so each of its messages would come to one of them only; give "
                    "each side a queue of its own"
                )
        self.sources = sources
        self.right_first = right_first

    @property
    def name(self) -> str:
        """What errors, drawings and recordings call it."""
        return f"sides({', '.join(source.name for source in self.sources.values())})"

    def branches(self) -> Iterator[tuple[str, Step]]:
        """Its sources by their names."""
        for side, (label, source) in enumerate(self.sources.items()):
            yield label, source | _Side(side)


class Joining(Operator[Any, Any]):
    """A step behind `Sides`; `handlers` gives what takes the chunks of each side."""

    def handlers(self, stage: Stage) -> tuple[Handler, Handler]:
        """Start in one running pipeline; return what handles a chunk of the left, and one of the right."""
        raise NotImplementedError

    def compile(self, stage: Stage) -> RxOperator:
        """One entry for each side, so that a failed message is tried again on its own."""
        entries: list[Callable[[Chunk], None]] = []

        def sided(side: int, handler: Handler) -> Handler:
            def handle(chunk: Chunk) -> Chunk | None:
                # Where it comes in once more, such as for a retry.
                stage.inject = entries[side]
                return handler(chunk)

            return handle

        entries += [stage.serve(sided(side, handler)) for side, handler in enumerate(self.handlers(stage))]
        return wired(stage, lambda chunk: entries[chunk.side](chunk))  # type: ignore[attr-defined]  # Sides made it


def both(functions: Any, place: str, of: str = "one value") -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A function for each side, from one for both or a pair; `GraphError` where it is neither.

    >>> both((len, min), "join(on=...)")
    (<built-in function len>, <built-in function min>)
    """
    pair = functions if isinstance(functions, tuple) else (functions, functions)
    remedy = f"give a function of {of}, or a pair of them: one for the left, one for the right"
    if len(pair) != 2:
        raise GraphError(f"{place}: {shorten(functions)} are {len(pair)} functions; {remedy}")
    for function in pair:
        check_function(function, place, remedy)
    return pair[LEFT], pair[RIGHT]
