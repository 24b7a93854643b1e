"""Runs the Python of every page, and writes what AsyncAPI says of the pipelines found there to ``documents.json``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType

from tests.house.documents import PAGES, Page, blocks, needs_broker
from warren import Pipeline
from warren.apps.docs.asyncapi import document
from warren.apps.docs.contents import contents

home, made, importable = Path.cwd(), {}, [*sys.path]


def of_a_page(module: ModuleType) -> bool:
    """Whether a module, or a folder of modules, is one of a page's files."""
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "/")
    return not Path(file).is_absolute() or Path(file).is_relative_to(home)


for number, path in enumerate(PAGES):
    folder = home / str(number)
    folder.mkdir()
    os.chdir(folder)
    sys.path[:] = [str(folder), *importable]
    page = Page(path)
    if not needs_broker(path):
        page.prepare()
    for block in blocks(path):
        if block.language == "python":
            page.block(block)
    for name, module in [*sys.modules.items()]:
        if name != "page" and of_a_page(module):
            # Another page may have files of the same names.
            del sys.modules[name]
            vars(page.module).update({f"{name}.{key}": value for key, value in vars(module).items()})
    for name, value in vars(page.module).items():
        if isinstance(value, Pipeline):
            made[f"{path.name}-{name}"] = document(contents(value))
(home / "documents.json").write_text(json.dumps(made))
