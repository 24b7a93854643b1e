"""Where the parts of the house stand, for the tests that look at the files themselves."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("core", "operators", "connectors", "pipelines", "analytics", "testing", "apps")


def sources(folder: str) -> list[Path]:
    """The Python files of one top-level folder."""
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_names() -> list[str]:
    """Every module of the package by its import name, read from the files so that none is imported to be found."""
    dotted = (path.relative_to(ROOT).with_suffix("").parts for folder in FOLDERS for path in sources(folder))
    return ["warren", *(".".join(("warren", *parts)).removesuffix(".__init__") for parts in dotted)]


def load(name: str) -> ModuleType:
    return importlib.import_module(name)
