"""Runs the Python of every page, and writes what AsyncAPI says of the pipelines found there to ``documents.json``."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.house.documents import PAGES, Page, blocks, needs_broker
from warren import Pipeline
from warren.apps.docs.asyncapi import document
from warren.apps.docs.contents import contents

home, made = Path.cwd(), {}
for number, path in enumerate(PAGES):
    folder = home / str(number)
    folder.mkdir()
    os.chdir(folder)
    page = Page(path)
    if not needs_broker(path):
        page.prepare()
    for block in blocks(path):
        if block.language == "python":
            page.block(block)
    for name, value in vars(page.module).items():
        if isinstance(value, Pipeline):
            made[f"{path.name}-{name}"] = document(contents(value))
(home / "documents.json").write_text(json.dumps(made))
