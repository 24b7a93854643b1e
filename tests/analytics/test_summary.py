from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from tests.analytics.feeding import Feed, feed
from warren.analytics import Flows, Recorder, render
from warren.core.chunk import Failure
from warren.core.message import Batch
from warren.core.receipt import Kind, Outcome


def text(flows: Flows, width: int = 300) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(render(flows))
    return console.export_text()


def test_nothing_recorded(tmp_path: Path) -> None:
    assert text(Flows(tmp_path)).startswith("No flows are recorded in ")


def test_plain_flows_have_no_dead_letters(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.open("p")
    feed(recorder, 1234)
    recorder.close()
    shown = text(Flows(tmp_path))
    assert "1,234" in shown and "1:map" in shown
    assert "Dead letters" not in shown and "parked" not in shown


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.open("p[red]")
    fed = Feed(recorder)
    delivery = fed.accept(Batch([1], [0]))
    failure = Failure(delivery.base, 1, ValueError("x"), "1:map[bold]")
    fed.ledger.settle(delivery.tokens, Outcome(Kind.DEAD_LETTERED, "p.dead", failure))
    recorder.close()
    shown = text(Flows(tmp_path))
    assert "p[red]" in shown and "1:map[bold]" in shown and "ValueError" in shown


def test_a_busy_flow_is_readable_at_80_columns(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.open("departures")
    feed(recorder, 120_000, chunk=10_000)
    fed = Feed(recorder)
    for kind in Kind:
        delivery = fed.accept(Batch([b"x"] * 1200, range(1200)))
        failure = Failure(delivery.base, 1, ConnectionError("x"), "12:map(join_weather)")
        fed.now += 1234.5
        fed.ledger.settle(delivery.tokens, Outcome(kind, "sqlite:billing", failure))
    recorder.handled("12:map(join_weather)", 120_000, 120_000, 0, fed.now - 1234.5, fed.now, 8192, 8192)
    recorder.close()
    shown = text(Flows(tmp_path), 80)
    words = set(shown.split())
    assert "…" not in shown
    assert {"messages", "delivered", "filtered", "lettered", "parked", "released", "attempts"} <= words
    assert {"120,000", "1,200", "sqlite:billing", "ConnectionError", "12:map(join_weather)"} <= words
    assert {"6,000,000", "1,235,000.0", "1,234.5", "8,192"} <= words
