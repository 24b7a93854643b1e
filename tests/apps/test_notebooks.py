"""The notebooks run from top to bottom, each in a kernel of its own, and say what is kept of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.house.tree import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
LARGEST = 500_000

# A process of its own: the kernel client's warnings are not this project's.
RUN = """
import sys
from pathlib import Path
import nbformat
from tests.apps.notebooks import execute
nbformat.write(execute(Path(sys.argv[1])), sys.argv[2])
"""


def cells(path: Path) -> list[dict[str, Any]]:
    found = json.loads(path.read_text("utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def said(cell: dict[str, Any]) -> list[str]:
    """The words and numbers that a cell shows as text; how a table is drawn is its library's affair."""
    shown = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell["outputs"]]
    return re.findall(r"[^\s─│┆┌┐└┘├┤┬┴┼═╞╡╪]+", " ".join("".join(text) for text in shown))


def pictures(cell: dict[str, Any]) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell["outputs"])


@pytest.mark.slow
@EACH
def test_a_notebook_runs_and_says_what_is_kept(path: Path, tmp_path: Path) -> None:
    out = tmp_path / path.name
    startup = tmp_path / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "warnings.py").write_text("import warnings\nwarnings.simplefilter('error')\n")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "IPYTHONDIR": str(tmp_path), "JUPYTER_PLATFORM_DIRS": "1"}
    command = [sys.executable, "-c", RUN, str(path), str(out)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    for now, kept in zip(cells(out), cells(path), strict=True):
        source = "".join(now["source"])
        assert pictures(now) == pictures(kept), source
        if "varies" not in now["metadata"].get("tags", ()):
            assert said(now) == said(kept), source
        assert not any(output.get("name") == "stderr" for output in now["outputs"]), now["outputs"]


@EACH
def test_what_is_kept_is_small_and_whole(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    kept = cells(path)
    assert [cell["execution_count"] for cell in kept] == list(range(1, len(kept) + 1))
    assert sum(map(pictures, kept)) >= 2
    assert "Traceback" not in path.read_text("utf-8")


def test_the_notebooks_show_a_graph_of_a_pipeline() -> None:
    assert sum("failures left over" in path.read_text("utf-8") for path in NOTEBOOKS) >= 3
