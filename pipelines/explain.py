"""A pipeline as text, and as Mermaid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from warren.core.graph import Inlet, Operator, Sink, Source, Step
from warren.pipelines.drawing import linear, remark, svg
from warren.pipelines.plan import credit_reason

if TYPE_CHECKING:
    from warren.pipelines.pipeline import Pipeline

__all__ = ["Explanation"]


class Explanation(str):
    """The text of ``explain()``. ``svg`` is the same as a picture, which a notebook shows; ``mermaid`` as a flowchart.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import map
    >>> drawing = Pipeline("shout", memory.queue("words") | map(str.upper) | memory.queue("loud")).explain()
    >>> print(drawing.mermaid.splitlines()[0])
    flowchart LR
    """

    mermaid: str
    svg: str

    def __new__(cls, pipeline: Pipeline) -> Explanation:
        """Draw a pipeline."""
        drawing = super().__new__(cls, "\n".join(_text(pipeline)))
        drawing.mermaid = "\n".join(_Mermaid(pipeline).lines)
        drawing.svg = svg(pipeline, f"at least once; {_limits(pipeline)}")
        return drawing

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        # Not as HTML: pages that show what others have run take pictures out of it. A console shows lines.
        return {"text/plain": str(self), "image/svg+xml": self.svg}


def _limits(pipeline: Pipeline) -> str:
    derived = (
        f"derived: {credit_reason(pipeline.flow, keeps=pipeline.state is not None)}"
        if pipeline.credit_is_derived
        else "as given"
    )
    if pipeline.setting is not None:
        derived = f"tuned, {pipeline.setting.knob.low:,} to {pipeline.most:,}"
    return f"credit {pipeline.credit:,} ({derived}), shutdown within {pipeline.shutdown:g} s"


def _text(pipeline: Pipeline) -> Iterator[str]:
    yield f"pipeline {pipeline.name}: at least once"
    yield f"  {_limits(pipeline)}"
    yield from _tree(pipeline.flow, pipeline.most, "  ")
    yield f"  failures left over -> dead letters {pipeline.dead_letters}"


def _tree(step: Step, credit: int, indent: str, *, ends: bool = True) -> Iterator[str]:
    parts = linear(step)
    for i, part in enumerate(parts):
        if not part.name:
            continue
        # A queue can be a source and a sink; what it is here, its place says; its note is of reading.
        sink = ends and isinstance(part, Sink) and i == len(parts) - 1
        note = "" if sink and isinstance(part, Inlet) else remark(part, credit)
        yield f"{indent}{'-> ' if sink else ''}{part.name}{'   [' + note + ']' if note else ''}"
        if isinstance(part, Operator | Source):
            for label, branch in part.branches():
                yield f"{indent}  {label}:"
                yield from _tree(branch, credit, indent + "    ", ends=isinstance(part, Operator))


def _quoted(text: str) -> str:
    """A text between quotes; what reads it may take it as HTML."""
    return " ".join(text.replace("&", "#amp;").replace("<", "#lt;").replace(">", "#gt;").replace('"', "#quot;").split())


class _Mermaid:
    def __init__(self, pipeline: Pipeline) -> None:
        self.lines = ["flowchart LR"]
        self.count = 0
        ends = self.chain(pipeline.flow, [])
        dead = self.node(f"dead letters {pipeline.dead_letters}", "[(", ")]")
        for end in ends[:1]:
            self.lines.append(f"  {end} -. failures .-> {dead}")

    def node(self, text: str, left: str, right: str) -> str:
        self.count += 1
        name = f"n{self.count}"
        self.lines.append(f'  {name}{left}"{_quoted(text)}"{right}')
        return name

    def chain(self, step: Step, before: list[tuple[str, str]]) -> list[str]:
        """Draw steps after each other; give the last node."""
        current = before
        for part in linear(step):
            if not part.name:
                continue
            if isinstance(part, Source) and (inner := list(part.branches())):
                joined: list[tuple[str, str]] = []
                for label, branch in inner:
                    joined += [(end, label) for end in self.chain(branch, [])]
                current = joined
            shape = ("[(", ")]") if isinstance(part, Source | Sink) else ("[", "]")
            node = self.node(part.name, *shape)
            for origin, label in current:
                told = f'|"{_quoted(label)}"|' if label else ""
                self.lines.append(f"  {origin} -->{told} {node}")
            current = [(node, "")]
            if isinstance(part, Operator):
                open_ends: list[tuple[str, str]] = []
                for label, branch in part.branches():
                    ends = self.chain(branch, [(node, label)])
                    if isinstance(branch, Operator):
                        open_ends += [(end, "") for end in ends]
                current = open_ends or current
        return [origin for origin, _ in current]
