"""The site of the documentation is built, strictly: a link that leads nowhere, or a page that is nowhere, is an error."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT, load

pytest.importorskip("mkdocs", reason="The site needs warren[docs].")
pytest.importorskip("material", reason="The site needs warren[docs].")
pytest.importorskip("mkdocstrings", reason="The site needs warren[docs].")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout + done.stderr == ""
    return folder


def test_every_page_is_on_the_map(site: Path) -> None:
    shown = (site / "index.html").read_text("utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert (
            f'href="{page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()}"' in shown or page.name == "index.md"
        )


@pytest.mark.parametrize("name", ["warren", "warren.operators", "warren.analytics", "warren.testing", "warren.core.errors"])
def test_the_reference_has_all_that_is_offered(site: Path, name: str) -> None:
    pages = "".join(page.read_text("utf-8") for page in (site / "reference").glob("*.html"))
    offered = {each for each in load(name).__all__ if each != "Backoff"}  # another name for a type
    told = set(re.findall(r'<h[23] id="warren[\w.]*\.(\w+)" class="doc', pages))
    assert offered - told == set()


def test_examples_in_docstrings_are_code(site: Path) -> None:
    page = (site / "reference/operators.html").read_text("utf-8")
    batch = html.unescape(re.sub("<[^>]+>", "", page[page.index('id="warren.operators.batch.batch"') :]))
    assert '>>> Pipeline("pairs", memory.items([]) | batch(2) | memory.into([])).test([1, 2, 3]).values' in batch
    assert "<blockquote>" not in page


def test_functions_that_modules_of_their_name_hide_are_told(site: Path) -> None:
    page = (site / "reference/connectors.html").read_text("utf-8")
    section = page[page.index('id="warren.connectors.sqlite.queue"') :]
    assert "A durable queue in a SQLite file; a source and a sink in one." in section


def test_links_to_what_is_not_on_the_site_are_words(site: Path) -> None:
    page = (site / "plugins.html").read_text("utf-8")
    assert "is what CONTRIBUTING.md says of one" in page
    assert 'href="plugin-template/warren_shout.py"' in page and (site / "plugin-template/warren_shout.py").exists()


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', page.read_text("utf-8")) == []
