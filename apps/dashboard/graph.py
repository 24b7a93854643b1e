"""The graph of a pipeline, with the names under which observers are told of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from warren.apps.dashboard.snapshot import Edge, Graph, Node
from warren.core.graph import Ended, Inlet, Operator, Outlet, Sink, Source, Stream
from warren.pipelines import Pipeline

__all__ = ["LETTERS", "graph_of"]

LETTERS = "letters:"
"""How the ids of dead-letter queues begin."""

_Ends = Sequence[tuple[str, str]]
"""Steps whose values go on, each with the label of the edge."""


def graph_of(pipeline: Pipeline) -> Graph:
    """The steps of a pipeline and where values go; failures that no step takes go to its dead letters.

    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> graph = graph_of(Pipeline("shout", memory.queue("words") | map(str.upper) | memory.queue("loud")))
    >>> [node.id for node in graph.nodes]
    ['0:memory:words', '1:map(upper)', 'memory:loud', 'letters:shout.dead']
    >>> [(edge.source, edge.target) for edge in graph.edges][:2]
    [('0:memory:words', '1:map(upper)'), ('1:map(upper)', 'memory:loud')]
    """
    drawn = _Drawn(pipeline.credit)
    ends = drawn.source(pipeline.flow.source, "")
    ends = drawn.steps(pipeline.flow.steps, "", ends)
    drawn.sink(pipeline.flow.sink, "", ends)
    dead = f"{LETTERS}{pipeline.dead_letters}"
    last = f"{len(pipeline.flow.steps)}:"
    origin = next((id for id in drawn.nodes if id.startswith(last)), next(iter(drawn.nodes)))
    drawn.nodes[dead] = Node(dead, pipeline.dead_letters, "letters", queue=pipeline.dead_letters)
    drawn.edges.append(Edge(origin, dead, failures=True))
    return Graph(tuple(drawn.nodes.values()), tuple(dict.fromkeys(drawn.edges)))


class _Drawn:
    def __init__(self, credit: int) -> None:
        self.credit = credit
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []

    def source(self, source: Source[Any], path: str) -> _Ends:
        if isinstance(source, Inlet):
            id = f"0:{source.name}"
            self.nodes[id] = Node(id, source.name, "source", source.note(self.credit), getattr(source, "queue", ""))
            return [(id, "")]
        if isinstance(source, Stream):
            return self.steps(source.steps, path, self.source(source.source, path))
        parts = [(label, part) for label, part in source.branches() if isinstance(part, Source)]
        return [end for label, part in parts for end in self.source(part, f"{path}{label}/")]

    def steps(self, steps: Sequence[Operator[Any, Any]], path: str, ends: _Ends) -> _Ends:
        for number, step in enumerate(steps, 1):
            id = f"{path}{number}:{step.name}"
            self._add(Node(id, step.name, "step", step.guarantee), ends)
            goes_on: list[tuple[str, str]] = []
            for label, branch in step.branches():
                inside = f"{path}{number}.{label}/"
                if isinstance(branch, Operator):
                    goes_on += self.steps(branch.steps, inside, [(id, label)])
                elif isinstance(branch, Sink):
                    self.sink(branch, inside, [(id, label)])
            ends = goes_on or [(id, "")]
        return ends

    def sink(self, sink: Sink[Any], path: str, ends: _Ends) -> None:
        if isinstance(sink, Ended):
            ends = self.steps(sink.steps, path, ends)
            sink = sink.sink
        if sink.name:
            id = sink.name if isinstance(sink, Outlet) else f"{path}{sink.name}"
            queue = getattr(sink, "queue", "")
            kind: Literal["sink", "letters"] = "sink" if isinstance(sink, Outlet) or not queue else "letters"
            self._add(Node(id, sink.name, kind, "" if isinstance(sink, Inlet) else sink.guarantee, queue), ends)

    def _add(self, node: Node, ends: _Ends) -> None:
        self.nodes.setdefault(node.id, node)
        self.edges += [Edge(end, node.id, label) for end, label in ends]
