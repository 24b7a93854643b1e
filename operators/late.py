"""Late values, which event time has passed: they fail, are dropped, or go to a sink of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from warren.core.chunk import Chunk, Failure
from warren.core.errors import GraphError, LateError
from warren.core.graph import Operator, Sink
from warren.core.receipt import FILTERED
from warren.core.stage import Stage
from warren.operators.dead_letter import DeadLetter, DeadLetterSink

__all__ = ["Late", "WhereTo", "where_to"]

WhereTo: TypeAlias = 'Sink[Any] | Literal["drop"] | None'
"""Where late values go; ``None`` where they fail."""


def where_to(late: Any, place: str) -> WhereTo:
    """What ``late=`` of a step says; `GraphError` where that is nothing for late values.

    >>> where_to("drop", "join(late=...)")
    'drop'
    """
    if isinstance(late, DeadLetter):
        return late.as_sink()
    if isinstance(late, Operator):
        raise GraphError(
            f"{place}: late values must end there; put a sink behind it, such as late={late.name} | sqlite.queue('late')"
        )
    if isinstance(late, Sink):
        return late
    if late is None:
        return None
    if late == "drop":
        return "drop"
    raise GraphError(f"{place}: leave it out to fail late values, write late='drop', or give a sink for them")


class Late:
    """What one running step does with late values."""

    def __init__(self, stage: Stage, to: WhereTo) -> None:
        self.stage = stage
        self.drops = to == "drop"
        self.end = to.compile(stage.run, stage.child(".late")) if isinstance(to, Sink) else None
        # A queue of dead letters says of each why it is there.
        self.explains = self.end is None or isinstance(to, DeadLetterSink)

    def take(self, chunk: Chunk, reasons: Iterable[str]) -> list[Failure]:
        """Have late values go where they are to go; returns those that fail. A reason is for one of them each."""
        if self.drops:
            self.stage.settle(chunk.tokens, FILTERED)
            return []
        if self.end is not None and not self.explains:
            self.end(chunk)
            return []
        # Trying it again would not make it earlier.
        failures = [
            Failure(token, value, LateError(f"{self.stage}: {reason}"), self.stage.name, chunk.attempt)
            for token, value, reason in zip(chunk.tokens, chunk.values, reasons, strict=True)
        ]
        if self.end is not None:
            self.end(Chunk([], (), failures))
            return []
        return failures
