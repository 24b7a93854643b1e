from __future__ import annotations

from typing import Any

import pytest

from warren import Pipeline
from warren.connectors import memory, rabbitmq
from warren.operators import batch, dead_letter, map, merge, retry, route, tumbling, window
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
    assert '|"default"|' in drawing
    assert ". failures .->" in drawing


def test_a_hostile_name_stays_a_name_in_the_flowchart() -> None:
    hostile = 'a"|b\n<b>&'
    drawing = Pipeline(hostile, memory.queue("a") | route(str, {hostile: memory.queue("b")})).explain().mermaid
    assert drawing.count('|"a#quot;|b #lt;b#gt;#amp;"|') == 1
    assert len(drawing.splitlines()) == 8


def test_a_notebook_shows_the_picture_and_a_console_the_lines() -> None:
    pipeline = Pipeline("shapes", FLOW)
    told = pipeline.explain()
    assert told._repr_mimebundle_() == {"text/plain": str(told), "image/svg+xml": told.svg}
    assert pipeline._repr_mimebundle_(include=None) == {"text/plain": repr(pipeline), "image/svg+xml": told.svg}
    assert "credit 8,192 (derived: the usual), shutdown" in pipeline.explain()


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (batch(5_000), "10,000 (derived: twice the 5,000 that batches hold before the last one fills)"),
        (window(tumbling("1h"), time=float), "65,536 (derived: the usual where something is held for a time)"),
    ],
)
def test_what_the_credit_is_derived_from_is_told(step: Any, reason: str) -> None:
    assert f"  credit {reason}, shutdown" in Pipeline("p", memory.queue("a", float) | step | memory.queue("b")).explain()


def test_a_source_on_rabbitmq_tells_its_queue_and_its_prefetch_and_no_password() -> None:
    broker = rabbitmq.Broker("amqp://me:s3cret@mq.example", management="http://me:s3cret@mq.example")
    orders, bills = rabbitmq.queue("orders", dict, broker=broker), rabbitmq.queue("bills", broker=broker)
    given = rabbitmq.queue("given", broker=broker, kind="classic", passive=True)
    text = Pipeline("p", merge(orders, given) | batch(5_000) | bills).explain()
    assert "rabbitmq:orders   [dict, quorum queue, prefetch 10,000 from the credit]" in text
    assert "rabbitmq:given   [queue taken as it is, prefetch 10,000 from the credit]" in text
    assert text.splitlines()[-2] == "  -> rabbitmq:bills"
    assert "s3cret" not in text + text.mermaid
