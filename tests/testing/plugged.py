"""Runs pytest in a process of its own, on tests that are given as text, with the plugin of this tree."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.house.tree import ROOT

PLUGIN = "warren.testing.plugin"


def run(
    folder: Path, files: Mapping[str, str], *options: str, plugin: bool = True, path: str = ""
) -> subprocess.CompletedProcess[str]:
    """Warnings are errors there; an entry point that is installed stays out of it."""
    for name, text in files.items():
        (folder / name).write_text(text)
    named = ["-p", "no:warren", "-p", PLUGIN] if plugin else []
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *named, *options, *files]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT / "src")]))}
    # pytest says more where it finds that it runs in CI.
    for name in ("PYTEST_ADDOPTS", "CI", "BUILD_NUMBER"):
        environment.pop(name, None)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
