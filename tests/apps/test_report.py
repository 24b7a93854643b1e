from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from warren.apps.demo.report import write
from warren.apps.demo.totals import Totals
from warren.apps.demo.traffic import Traffic
from warren.apps.demo.unusual import unusual

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> {{plots}} \u2028"


def totals(reason: str = "cancelled", airport: str = "JFK", problems: list[str] | None = None) -> Totals:
    hours = pl.DataFrame(
        {
            "airport": [airport] * 240,
            "hour": [datetime(2013, 1, 1 + n // 24, n % 24, tzinfo=UTC) for n in range(240)],
            "departures": [20] * 240,
            "cancelled": [0] * 239 + [18],
            "delay": [float(n % 7) for n in range(240)],
            "visibility": [10.0] * 240,
            "wind": [None, *[7.0] * 239],
        }
    )
    table = pl.DataFrame({"airport": [airport], "messages": [2], "departures": [1], "cancelled": [1], "undecodable": [0]})
    return Totals(2, 1, {reason: 1}, table, 0, 0, hours, problems or [])


def traffic(outcome: str = "delivered") -> Traffic:
    second = datetime(2026, 1, 1, tzinfo=UTC)
    return Traffic(
        rate=1000.0,
        retried=1,
        p50=5.0,
        p99=9.0,
        spread=pl.DataFrame({"share": [0.5, 0.99], "latency": [5.0, 9.0]}),
        seconds=pl.DataFrame({"second": [second], "outcome": [outcome], "len": [2]}),
        routes=pl.DataFrame({"route": ["r"], "outcome": [outcome], "len": [2]}),
    )


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data


def page(path: Path, account: Totals, flow: Traffic | None = None) -> tuple[str, Page]:
    write(path, account, flow or traffic(), unusual(account.hours))
    text = path.read_text("utf-8")
    return text, Page(text)


def test_the_page_needs_no_network(tmp_path: Path) -> None:
    text, parsed = page(tmp_path / "report.html", totals())
    assert [tag for tag, _ in parsed.elements if tag in ("link", "img", "iframe", "object", "embed")] == []
    assert [value for _, each in parsed.elements for name, value in each.items() if name in ("src", "href", "srcset")] == []
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert "Plotly" in parsed.scripts[0]


def test_the_plots_are_there_and_are_data(tmp_path: Path) -> None:
    _, parsed = page(tmp_path / "report.html", totals())
    plots = json.loads(parsed.scripts[1])
    ids = {each.get("id") for _, each in parsed.elements}
    assert set(plots) == {"hours", "latency", "seconds", "routes", "dead"} <= ids
    assert [trace["name"] for trace in plots["routes"]["data"]] == ["departures", "cancelled", "undecodable"]
    marks = [trace for trace in plots["hours"]["data"] if trace["type"] == "scatter"]
    assert marks[0]["x"] == ["2013-01-10"]


def test_every_colour_is_one_the_page_knows_in_both_schemes(tmp_path: Path) -> None:
    text, parsed = page(tmp_path / "report.html", totals())
    used = set(re.findall(r'"(--\w+)"', parsed.scripts[1]))
    light, dark = text.split("@media (prefers-color-scheme: dark)")
    assert used
    for scheme in (light, dark[: dark.index("}")]):
        assert used <= set(re.findall(r"(--\w+):", scheme))


def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    account = totals(reason=HOSTILE, airport=HOSTILE, problems=[HOSTILE])
    _, parsed = page(tmp_path / "report.html", account)
    _, plain = page(tmp_path / "plain.html", totals())
    assert [tag for tag, _ in parsed.elements].count("script") == len(plain.scripts) == 3
    assert "img" not in {tag for tag, _ in parsed.elements}
    assert not any("onerror" in each for _, each in parsed.elements)
    plots = json.loads(parsed.scripts[1])
    label = plots["dead"]["layout"]["annotations"][0]["text"]
    assert "<script" not in label and "&lt;script" in label
    assert "<" not in plots["routes"]["data"][0]["y"][0]


def test_what_does_not_add_up_is_told(tmp_path: Path) -> None:
    text, _ = page(tmp_path / "report.html", totals(problems=["1 message(s) came out nowhere"]))
    assert "The account does not add up: 1 message(s) came out nowhere" in text
    assert "Every message is accounted for" not in text


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    monkeypatch.setattr(Path, "write_text", lambda *args, **options: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write(path, totals(), traffic(), unusual(totals().hours))
    monkeypatch.undo()
    assert path.read_text() == "before" and [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_recording_without_a_message_is_shown(tmp_path: Path) -> None:
    # What is killed between its last message and the page has nothing to record when it goes on.
    full = traffic()
    empty = full._replace(spread=full.spread.clear(), seconds=full.seconds.clear(), routes=full.routes.clear())
    page = tmp_path / "page.html"
    write(page, totals(), empty, unusual(totals().hours))
    assert Page(page.read_text()).scripts
