from __future__ import annotations

from warren import Pipeline
from warren.connectors import memory
from warren.operators import batch, dead_letter, map, merge, retry, route
from warren.operators.backoff import exponential

FLOW = (
    merge(memory.queue("a", int), memory.queue("b") | map(len))
    | map(str)
    | retry(exponential("1s"))
    | route(len, {1: batch(5) | memory.queue("short"), 2: memory.queue('"long"')}, default=dead_letter("odd"))
)


def test_the_text_names_every_step_and_guarantee() -> None:
    text = Pipeline("shapes", FLOW, credit=100).explain()
    assert text.startswith("pipeline shapes: at least once\n  credit 100 (as given), shutdown within 30 s\n")
    for part in (
        "map(len)",
        "retry(exponential(1s))   [acknowledged after a later attempt]",
        "batch(5)   [acknowledged together]",
        "-> memory:short",
        "dead_letter(odd)   [acknowledged once the dead letter is durable]",
        "default:",
        "failures left over -> dead letters shapes.dead",
    ):
        assert part in text, part


class Again(memory.Queue[int]):
    @property
    def guarantee(self) -> str:
        return "read again"


def test_a_queue_is_noted_where_it_is_read_and_marked_where_it_is_written() -> None:
    both = Again("both", int)
    flow = merge(both, both | map(hex) | map(len)) | route(str, {"1": both}, default=map(hex) | map(len) | both)
    lines = [line.strip() for line in Pipeline("p", flow).explain().splitlines()]
    assert lines.count("memory:both   [int, read again]") == 2
    assert lines.count("-> memory:both") == 2
    assert Pipeline("p", both | both).explain().splitlines()[2:4] == [
        "  memory:both   [int, read again]",
        "  -> memory:both",
    ]


def test_the_drawing_is_a_flowchart_with_labelled_edges() -> None:
    drawing = Pipeline("shapes", FLOW).explain().mermaid
    lines = drawing.splitlines()
    assert lines[0] == "flowchart LR"
    assert "#quot;long#quot;" in drawing
    assert sum("-->" in line for line in lines) == 10
    assert "|default|" in drawing
    assert ". failures .->" in drawing


def test_a_notebook_shows_the_drawing() -> None:
    pipeline = Pipeline("shapes", FLOW)
    assert pipeline._repr_markdown_() == f"```mermaid\n{pipeline.explain().mermaid}\n```"
    assert "derived" in pipeline.explain()
