"""Packages with entry points, as an installer would leave them on the import path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest


class Packages:
    """Puts packages into a folder of the import path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, entries: Mapping[str, str] | str, version: str = "1.0", **modules: str) -> None:
        """Install a package: its entry points as ``{"operator shout": "module:attribute"}``, and its modules' texts."""
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if not isinstance(entries, str):
            lines = [f"[warren.{key.split()[0]}s]\n{key.split()[1]} = {value}\n" for key, value in entries.items()]
            entries = "".join(lines)
        (info / "entry_points.txt").write_text(entries)
        for module, text in modules.items():
            (self.folder / f"{module}.py").write_text(text)
        importlib.invalidate_caches()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield Packages(folder)
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
