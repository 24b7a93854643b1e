"""The modules of a project: loaded again when they are saved, and watched for that."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from warren.apps.load import load_pipeline
from warren.core.errors import AddressError
from warren.pipelines import Pipeline

__all__ = ["Project"]

_OTHERS = {"__pycache__", "node_modules", "site-packages"}

Stamp = tuple[int, int, int]


class Project:
    """The folder a pipeline is loaded from, and what is loaded of it."""

    def __init__(self, reference: str, files: Iterable[Path] = ()) -> None:
        self.reference = reference
        place = reference.rpartition(":")[0]
        self.root = (Path(place).parent if place.endswith(".py") else Path()).resolve()
        self.files = [file.resolve() for file in files]
        self._seen: dict[str, Stamp] = {}
        # What is saved twice within a second has one time in its cache, which would hide the second one.
        sys.dont_write_bytecode = True

    def load(self) -> Pipeline:
        """The pipeline as it is saved now; what was loaded before stays where that fails.

        Raises what `load_pipeline` raises.
        """
        before, path = self._modules(), list(sys.path)
        for name in before:
            del sys.modules[name]
        importlib.invalidate_caches()
        try:
            return load_pipeline(self.reference)
        except BaseException as error:
            for name in self._modules():
                del sys.modules[name]
            sys.modules.update(before)
            if isinstance(error, SystemExit):
                raise AddressError(f"{self.reference!r} cannot be imported: it ends the program") from error
            raise
        finally:
            sys.path[:] = list(dict.fromkeys([*sys.path[: len(sys.path) - len(path)], *path]))

    def changed(self) -> bool:
        """Whether anything was saved since this was asked last; the first time nothing was."""
        now = {str(file): stamp for file in (*self._sources(), *self.files) if (stamp := _stamp(file)) is not None}
        before, self._seen = self._seen, now
        return bool(before) and before != now

    def _modules(self) -> dict[str, ModuleType]:
        found = {}
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            ours = name in ("__main__", "warren") or name.startswith("warren.")
            if file and not ours and Path(file).suffix == ".py" and self._mine(Path(file).resolve()):
                found[name] = module
        return found

    def _mine(self, file: Path) -> bool:
        return file.is_relative_to(self.root) and not _OTHERS & set(file.relative_to(self.root).parts)

    def _sources(self) -> Iterator[Path]:
        for folder, folders, files in os.walk(self.root):
            # Hidden folders, caches and environments hold nothing that somebody saves.
            folders[:] = [
                each
                for each in folders
                if not each.startswith(".") and each not in _OTHERS and not Path(folder, each, "pyvenv.cfg").exists()
            ]
            for file in files:
                if file.endswith(".py"):
                    yield Path(folder, file)


def _stamp(file: Path) -> Stamp | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
