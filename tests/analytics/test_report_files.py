from __future__ import annotations

import re
import sys
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.analytics.reporting import START, busy, record
from warren.analytics.report import Report, capacity_report, read_report, render, write
from warren.core.errors import PluginError, StorageError

HOSTILE = "<script>alert('x')</script> & \"$\\frac{1}{0}$\" </style> {{ 7001 * 9001 }} é 订单"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("flows")
    record(folder, busy(np.arange(35 * 24), 60.0), pipeline=HOSTILE, service=5.0, stages=lambda day: {f"1:{HOSTILE}": 1.0})
    record(folder, np.array([3]), pipeline="young")
    now = (START + timedelta(days=35)).timestamp()
    early = capacity_report(folder, now=now - 5 * 86_400, target="p95=1m")
    return capacity_report(folder, now=now, target="p95=1m", last=early, zone="Europe/Berlin", problems=["<b>note</b>"])


class Page(HTMLParser):
    """What a page is made of."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def text(report: Report) -> str:
    return render(report, ".html").decode()


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_page_is_whole_and_needs_nothing_else(page: Page, text: str) -> None:
    assert page.open == []
    assert {"script", "link", "iframe", "img", "object"}.isdisjoint(tag for tag, _ in page.tags)
    for tag, values in page.tags:
        assert not any(name.startswith("on") for name in values), tag
        for name in ("href", "src", "xlink:href"):
            assert (values.get(name) or "#").startswith("#")
    assert "http://" not in text and "https://" not in text and "url(#" in text
    assert "default-src 'none'" in text


def test_texts_of_the_recording_are_only_texts(page: Page, text: str) -> None:
    assert HOSTILE in page.text and f"1:{HOSTILE}" not in [tag for tag, _ in page.tags]
    assert "<script" not in text and "<b>note</b>" in page.text
    assert str(7001 * 9001) not in page.text
    assert [tag for tag, _ in page.tags].count("style") == 1


def test_names_in_the_page_are_there_once(page: Page) -> None:
    ids = [values["id"] for _, values in page.tags if "id" in values]
    assert len(ids) == len(set(ids))
    used = {values["href"] for _, values in page.tags if values.get("href")}
    assert used <= {f"#{each}" for each in ids}


def test_the_page_shows_every_plot_in_both_lights(page: Page, text: str) -> None:
    titles = [values["aria-label"] for tag, values in page.tags if tag == "figure"]
    assert [title for title in titles if title and "last forecast" in title]
    assert len(titles) == len([tag for tag, _ in page.tags if tag == "svg"]) >= 5
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "var(--ink)" in drawings and re.findall(r"#0([1-6])0(?:\1)0\1", drawings) == []
    # Colours other than those of the page would be wrong in one light or the other.
    assert set(re.findall(r"(?:fill|stroke): (#\w+)", drawings)) <= {"#ffffff"}


def test_the_page_says_everything(page: Page) -> None:
    for title in ("Demand", "When nodes fail, in busy hours", "What can be done", "The last report"):
        assert title in page.text
    for name in ("Arrival, last hour", "Service time", "Utilisation", "Depth", "Age when read", "Retried"):
        assert name in page.text
    assert "no whole hour is recorded" in page.text
    assert "2026-02-09 01:00 (Europe/Berlin)" in page.text


def test_the_paper_has_a_page_for_each_queue(report: Report) -> None:
    data = render(report, ".pdf")
    assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type /Page\b", data)) >= 3
    assert data.count(b"/Subtype /Image") >= 5


def test_a_report_is_the_same_again(report: Report) -> None:
    for suffix in (".html", ".pdf", ".json"):
        assert render(report, suffix) == render(report, suffix)


def test_json_reads_as_it_was_written(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "new" / "report.JSON"
    write(report, file)
    assert read_report(file) == report
    assert [each.name for each in file.parent.iterdir()] == ["report.JSON"]


def test_a_place_that_cannot_be_written(report: Report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="the report cannot be written to"):
        write(report, tmp_path / "file" / "report.json")


@pytest.mark.parametrize(("suffix", "module"), [(".html", "jinja2"), (".html", "matplotlib"), (".pdf", "fpdf")])
def test_a_missing_library_is_named(report: Report, suffix: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for name in list(sys.modules):
        if name.startswith(f"{module}."):
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(PluginError, match=rf"a report as {suffix} needs {module}.*pip install 'warren\[report\]'"):
        render(report, suffix)
