"""What there is to say of a pipeline: its ends, and what passes there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from warren.apps.docs.schemas import Schemas
from warren.core.graph import Inlet, Operator, Outlet, Source, Step
from warren.core.hints import either
from warren.core.place import Place, place_of
from warren.operators.dead_letter import DeadLetter, DeadLetterSink
from warren.pipelines import Pipeline
from warren.pipelines.drawing import linear

__all__ = ["Contents", "End", "contents"]

Role = Literal["reads", "writes", "dead letters"]


class End(NamedTuple):
    """A place that a pipeline reads or writes, and the type of the values there; ``Any`` where it is not known."""

    role: Role
    name: str
    place: Place
    type: Any


class Contents(NamedTuple):
    """A pipeline, its ends, and the schemas of what passes there."""

    pipeline: Pipeline
    ends: tuple[End, ...]
    schemas: Schemas


def contents(pipeline: Pipeline) -> Contents:
    """Find what there is to say.

    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> told = contents(Pipeline("sizes", memory.queue("words", str) | map(len) | memory.queue("sizes")))
    >>> [(end.role, end.name, end.type) for end in told.ends][:2]
    [('reads', 'memory:words', <class 'str'>), ('writes', 'memory:sizes', typing.Any)]
    """
    walk = _Walk()
    walk.along(pipeline.flow, Any)
    ends: list[End] = []
    for end in (*walk.ends, *_dead_letters(pipeline, walk.queues)):
        if end not in ends:
            ends.append(end)
    return Contents(pipeline, tuple(ends), Schemas([end.type for end in ends]))


class _Walk:
    def __init__(self) -> None:
        self.ends: list[End] = []
        self.queues: list[str] = []
        """Those of dead letters that steps name."""

    def along(self, step: Step, type: Any, *, ends: bool = True) -> Any:
        """Go along the steps, which values of a type enter; gives the type of those that leave."""
        parts = linear(step)
        for part in parts:
            # A queue can be a source and a sink; what it is here, its place says.
            if isinstance(part, Outlet) and ends and part is parts[-1]:
                self.ends.append(End("writes", part.name, place_of(part), type))
            elif isinstance(part, Inlet):
                type = Any if part.type is None else part.type
                self.ends.append(End("reads", part.name, place_of(part), type))
            elif isinstance(part, DeadLetter | DeadLetterSink):
                self.queues.append(part.queue)
            elif isinstance(part, Source):
                given = [self.along(branch, type, ends=False) for _, branch in part.branches()]
                type = either(given) if part.name.startswith("merge(") else Any
            elif isinstance(part, Operator):
                for _, branch in part.branches():
                    self.along(branch, type)
                type = part.gives(type)
        return type


def _dead_letters(pipeline: Pipeline, queues: list[str]) -> Iterator[End]:
    for inlet in pipeline.flow.source.inlets():
        for queue in (pipeline.dead_letters, *queues):
            try:
                sink = inlet.dead_letters(queue)
            except NotImplementedError:
                continue
            yield End("dead letters", sink.name, place_of(sink), Any if inlet.type is None else inlet.type)
