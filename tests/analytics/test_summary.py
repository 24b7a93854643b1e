from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from tests.analytics.feeding import Feed, feed
from warren.analytics import Flows, Recorder, render
from warren.core.chunk import Failure
from warren.core.message import Batch
from warren.core.receipt import Kind, Outcome


def text(flows: Flows) -> str:
    console = Console(width=300, file=io.StringIO(), record=True)
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
