from __future__ import annotations

from pathlib import Path

from tests.house.documents import blocks
from tests.house.tree import ROOT
from tests.testing.plugged import run


def test_the_tests_in_the_document_pass_with_the_plugin(tmp_path: Path) -> None:
    given = [block.text for block in blocks(ROOT / "docs/testing.md") if block.language == "python"]
    count = sum(block.count("\ndef test_") for block in given)
    done = run(tmp_path, {f"test_block_{number}.py": block for number, block in enumerate(given)})
    assert f"{count} passed" in done.stdout, done.stdout + done.stderr
    assert count > 10
