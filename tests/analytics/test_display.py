"""What a notebook shows of recorded flows: read from the ends of files, and summed up only where that is quick."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.analytics.feeding import Feed, feed
from warren.analytics import Flows, Recorder, display
from warren.core.message import Batch
from warren.core.receipt import Kind, Outcome

OLD = Path(__file__).parent / "old"


def record(folder: Path, name: str, *routes: str) -> Flows:
    """One message to each route, half a second later each."""
    recorder = Recorder(folder)
    recorder.open(name)
    fed = Feed(recorder)
    for route in routes:
        token = fed.accept(Batch([b"x"], [0])).tokens
        fed.now += 0.5
        fed.ledger.settle(token, Outcome(Kind.DELIVERED, route))
    recorder.close()
    return Flows(folder)


def tables(flows: Flows) -> list[list[list[str]]]:
    """The tables that are shown, row by row."""
    shown = ET.fromstring(flows._repr_html_())
    return [[[cell.text or "" for cell in row] for row in table.iter("tr")] for table in shown.iter("table")]


def test_pipelines_with_their_days_and_times_and_the_summary(tmp_path: Path) -> None:
    record(tmp_path, "orders", "eu", "eu", "us")
    held, summary = tables(record(tmp_path, "billing", "paid"))
    assert held[0] == ["pipeline", "days", "files", "trips", "first", "last", "bytes"]
    assert [row[:6] for row in held[1:]] == [
        ["billing", "1", "1", "1", "2023-11-14 22:13:20", "2023-11-14 22:13:20"],
        ["orders", "1", "1", "3", "2023-11-14 22:13:20", "2023-11-14 22:13:21"],
    ]
    columns = ["pipeline", "route", "messages", "delivered", "transit_p50_ms", "transit_p95_ms", "transit_p99_ms"]
    assert summary == [
        columns,
        ["billing", "paid", "1", "1", "500", "500", "500"],
        ["orders", "eu", "2", "2", "500", "500", "500"],
        ["orders", "us", "1", "1", "500", "500", "500"],
    ]


def test_of_many_trips_no_row_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path)
    recorder.open("orders")
    feed(recorder, 5_000)
    recorder.close()
    monkeypatch.setattr(display, "QUICK", 4_999)
    monkeypatch.setattr(Flows, "summary", None)
    (held,) = tables(Flows(tmp_path))
    assert held[1][3] == "5,000"
    assert "5,000 trips are summed up by <code>summary()</code>" in Flows(tmp_path)._repr_html_()


def test_files_of_the_first_version_count(tmp_path: Path) -> None:
    (tmp_path / "trips").mkdir()
    shutil.copy(OLD / "trips-1.parquet", tmp_path / "trips")
    held, summary = tables(Flows(tmp_path))
    assert held[1][:4] == ["(version 1)", "0", "1", "6"]
    assert [row[0] for row in summary[1:]] == ["orders"] * (len(summary) - 1)


def test_names_are_text_and_long_tables_are_cut(tmp_path: Path) -> None:
    name = "<script>alert('&')</script>"
    flows = record(tmp_path, name, *(f"<b>{i:02}" for i in range(40)))
    held, summary = tables(flows)
    assert held[1][0] == summary[1][0] == name
    assert (summary[1][1], len(summary)) == ("<b>00", 31)
    assert "… and 10 more rows" in flows._repr_html_()
    assert "<script" not in flows._repr_html_()


def test_nothing_recorded(tmp_path: Path) -> None:
    assert "no trips are recorded yet" in Flows(tmp_path)._repr_html_()
    record(tmp_path, "orders")
    assert "no trips are recorded yet" in Flows(tmp_path)._repr_html_()
