from __future__ import annotations

import re
from pathlib import Path

from tests.house.tree import ROOT
from tests.testing.plugged import run


def test_the_tests_in_the_document_pass_with_the_plugin(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/testing.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    files = {f"test_block_{number}.py": block for number, block in enumerate(blocks)}
    count = sum(block.count("\ndef test_") for block in blocks)
    done = run(tmp_path, files)
    assert f"{count} passed" in done.stdout, done.stdout + done.stderr
    assert count > 10


def test_the_difference_in_the_document_is_the_one_that_is_shown(tmp_path: Path) -> None:
    text = (ROOT / "docs/testing.md").read_text("utf-8")
    block, shown = re.findall(r"^```(?:python)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[:2]
    done = run(tmp_path, {"test_block.py": block.replace("---B---C--|", "---B--C---|")})
    errors = [line.removeprefix("E").strip() for line in done.stdout.splitlines() if line.startswith("E ")]
    assert [line.removeprefix("AssertionError: ") for line in errors] == [
        line.strip() for line in shown.rstrip().splitlines()
    ]
