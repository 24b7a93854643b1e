"""Every code block of the documents runs as it stands, in the order of its page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.house.documents import BROKER, ELSEWHERE, PAGES, Page, Wrong, before, blocks, needs_broker
from tests.house.tree import ROOT, relative

CODE = [page for page in PAGES if blocks(page)]


@pytest.fixture(scope="module")
def begun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, Future[str]]]:
    """The pages run side by side, one for each processor; a test waits for its own."""
    chosen = [each for each in request.session.items if isinstance(each, pytest.Function)]
    pages = [each.callspec.params["page"] for each in chosen if each.function is test_the_blocks_run]
    pool = ThreadPoolExecutor(os.cpu_count())
    yield {page: pool.submit(run, page, tmp_path_factory.mktemp(page.stem)) for page in pages}
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("page", [page for page in CODE if not needs_broker(page)], ids=relative)
def test_the_blocks_run(page: Path, begun: dict[Path, Future[str]]) -> None:
    said(begun[page].result())


@pytest.mark.parametrize("page", [page for page in CODE if needs_broker(page)], ids=relative)
def test_the_blocks_run_against_rabbitmq(page: Path, tmp_path: Path, vhost: str) -> None:
    said(run(page, tmp_path, vhost))


def said(wrong: str) -> None:
    # An assertion would cut it short.
    if wrong:
        pytest.fail(wrong, pytrace=False)


def run(page: Path, folder: Path, *broker: str) -> str:
    """Run a page; returns what is wrong with it."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", "-m", "tests.house.documents", str(page), *broker]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def test_the_readme_begins_with_its_two_commands_and_shows_a_session() -> None:
    found = blocks(ROOT / "README.md")
    assert re.findall(r"^\$ (make \w+)", found[0].text, re.MULTILINE) == ["make demo", "make test"]
    session = max(found[1:], key=lambda block: block.text.count("$ warren"))
    shown = [part.partition("\n")[2].strip() for part in session.text.split("$ warren")[1:]]
    assert len(shown) > 6 and all(shown)


def test_the_comparison_has_a_cell_for_everyone() -> None:
    text = (ROOT / "README.md").read_text("utf-8").partition("## Beside what else there is")[2]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    peers = ["warren", "FastStream", "Bytewax", "Quix Streams", "Redpanda Connect", "MassTransit"]
    assert [cell.strip() for cell in rows[0][1:]] == peers
    assert all(len(row) == 7 and all(cell.strip() for cell in row) for row in rows[1:])
    for name in peers[1:]:
        assert re.search(rf"{name}\s+\d+\.\d+", text), f"the version of {name}"


def test_no_fence_is_left_open() -> None:
    for page in PAGES:
        fences = re.findall(r"^ *```", page.read_text("utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(blocks(page)), relative(page)


def test_what_does_not_run_is_still_there() -> None:
    consoles = "".join(block.text for page in CODE for block in blocks(page) if block.language == "console")
    assert [start for start in ELSEWHERE if f"$ {start}" not in consoles] == []


def test_what_is_made_ready_belongs_to_a_page() -> None:
    made = {path for path in (ROOT / "tests/house/pages").rglob("*.py") if "__pycache__" not in path.parts}
    assert made == {before(page) for page in CODE} & made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```python\nprint('a')\n```\n```output\na\n```\n", None),
        ("```python\nprint('a')\n```\n```output\nb\n```\n", "what was printed is\na"),
        ("```python\nx = 1\n```\n\n```python\nassert x == 2, 'the same'\n```\n", "the same"),
        ('```python title="one/two.py"\nx = 1\n```\n```python\nfrom one.two import x\n```\n', None),
        ("```console\n$ echo a; echo b\na\n…\n$ true\n```\n", None),
        ("```console\n$ echo a\nb\n```\n", "what came is\na"),
        ("```console\n$ false\n```\n", "ends with 1"),
        ("```console\n$ echo begun; sleep 60\nbegun\n^C\n```\n", None),
        ("```console\necho a\n```\n", "write $ in front"),
        ("```console\n$ make tea\n```\n", "no target 'tea'"),
        ("```console\n$ pip install 'warren[tea]'\n```\n", "no extra 'tea'"),
        ("```toml\na =\n```\n", "Invalid"),
        ("```yaml\na: [\n```\n", "expected"),
        ("```json\n{\n```\n", "Expecting"),
        ("```sql\nSELECT 1 +\n```\n", "syntax error"),
        ("```mermaid\nflowchart TD\n```\n", "the page draws"),
        ("```\na\n```\n", "without a language"),
        ("1. So:\n\n   ```python\n   assert False, 'inside'\n   ```\n", "inside"),
        (f"```console\n$ echo {BROKER}\namqp://elsewhere\n```\n", None),
    ],
)
def test_what_a_page_says_is_checked(text: str, said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("tests.house.documents.before", lambda page: page.with_suffix(".py"))
    if said is None:
        Page(page, "amqp://elsewhere").run()
    else:
        with pytest.raises((Wrong, Exception), match=re.escape(said)):
            Page(page).run()
