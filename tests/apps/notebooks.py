"""Runs the notebooks; as a module, writes into each what it shows: ``python -m tests.apps.notebooks [NAME ...]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

__all__ = ["execute"]


def execute(path: Path) -> Any:
    """Run a notebook from top to bottom, in a kernel of its own, and return it with what it shows."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", record_timing=False, resources={"metadata": {"path": path.parent}}
    )
    client.execute()
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def main(names: list[str]) -> None:
    """Run the notebooks of these names, or all, and keep what they show."""
    for path in sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb")):
        if not names or path.stem in names:
            notebook = execute(path)
            path.write_text(nbformat.writes(notebook) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
