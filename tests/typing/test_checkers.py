"""The checkers agree with the files of this folder: each assertion of a type, and each refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.mark.slow
def test_mypy_sees_what_the_files_here_say() -> None:
    files = sorted(str(file) for file in HERE.glob("test_*.py") if file.name != Path(__file__).name)
    output, problems, _ = api.run(["--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary", *files])
    ours = [line for line in output.splitlines() if "tests/typing/" in line]
    assert not problems, problems
    assert not ours, "\n".join(ours)
