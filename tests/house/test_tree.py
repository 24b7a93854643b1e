"""The files themselves: short, in their places, free of what does not belong."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import FOLDERS, ROOT, relative, sources

MOST_LINES = 400

# A file longer than that, and why it is better whole.
LONG_FILES: dict[str, str] = {}

SKIPPED = {".git", ".hypothesis", ".ipynb_checkpoints", ".venv", "build", "dist", "node_modules", "__pycache__"}

# Written in two parts, so that this file is not one of those it finds.
REGISTRY_HOSTS = tuple(f"{name}.{end}" for name, end in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org")))
MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:work|root)" + r"/\w")
BANNER = re.compile(r"^\s*#\s*(?:[-=*#~_─━═+]{3,}|[-=*#~─━═]{2,}.*[-=*#~─━═]{2,}\s*$)")
BARE_IGNORE = re.compile(r"#\s*(?:noqa(?!:\s*[A-Z]+\d)|type:\s*ignore(?!\[)|pyright:\s*ignore(?!\[))")


def texts() -> Iterator[tuple[Path, list[str]]]:
    for folder, names, files in os.walk(ROOT):
        names[:] = [name for name in names if name not in SKIPPED and not name.endswith("_cache")]
        for name in files:
            path = Path(folder, name)
            try:
                yield path, path.read_text("utf-8").splitlines()
            except (UnicodeDecodeError, FileNotFoundError):
                continue


def matches(pattern: re.Pattern[str], *suffixes: str) -> list[str]:
    return [
        f"{relative(path)}:{number}"
        for path, lines in texts()
        if not suffixes or path.suffix in suffixes or path.name in suffixes
        for number, line in enumerate(lines, 1)
        if pattern.search(line)
    ]


def settings() -> dict[str, dict]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]


def test_no_file_is_too_long() -> None:
    lengths = {relative(path): len(path.read_text("utf-8").splitlines()) for folder in FOLDERS for path in sources(folder)}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES and name not in LONG_FILES} == {}


def test_long_files_have_a_reason_and_are_long() -> None:
    for name, reason in LONG_FILES.items():
        assert reason
        assert len((ROOT / name).read_text("utf-8").splitlines()) > MOST_LINES, f"{name} needs no exception any more"


def test_every_operator_has_its_test_file() -> None:
    operators = {path.stem for path in sources("operators") if not path.stem.startswith("_")}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests/operators").glob("test_*.py")}
    assert operators - tests == set()


def test_no_banner_comments() -> None:
    assert matches(BANNER, ".py", ".toml", ".yaml", ".yml", "Makefile", "run") == []


def test_every_ignore_names_what_it_ignores() -> None:
    assert matches(BARE_IGNORE, ".py") == []


def test_no_registry_host_is_named() -> None:
    assert matches(re.compile("|".join(map(re.escape, REGISTRY_HOSTS)))) == []


def test_no_path_of_one_machine_is_named() -> None:
    assert matches(MACHINE_PATH) == []


@pytest.mark.parametrize("line", ["# " + "-" * 20, "# == setup " + "==", "    #" + "#" * 8])
def test_a_banner_is_recognised(line: str) -> None:
    assert BANNER.search(line)


@pytest.mark.parametrize("line", ["# why it is so", "#!/usr/bin/env bash", "# a -- b", "x = 1  # fine"])
def test_a_plain_comment_is_no_banner(line: str) -> None:
    assert not BANNER.search(line)


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_is_linked_into_the_package(folder: str) -> None:
    link = ROOT / "src/warren" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..", "..", folder)


def test_the_package_holds_nothing_but_the_facade_and_the_links() -> None:
    names = {path.name for path in (ROOT / "src/warren").iterdir()} - {"__pycache__"}
    assert names == {"__init__.py", "py.typed", *FOLDERS}


def test_every_tool_knows_every_folder() -> None:
    tool = settings()
    targets = tool["hatch"]["build"]["targets"]
    contract = tool["importlinter"]["contracts"][0]
    layers = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    linked = {f"src/warren/{folder}" for folder in FOLDERS}
    assert set(FOLDERS) <= set(targets["wheel"]["only-include"])
    assert set(FOLDERS) <= set(targets["sdist"]["only-include"])
    assert set(targets["wheel"]["sources"]) == {"src/warren", *FOLDERS}
    assert linked <= set(tool["pyright"]["include"])
    assert linked == set(tool["ruff"]["extend-exclude"])
    assert layers == set(FOLDERS)
