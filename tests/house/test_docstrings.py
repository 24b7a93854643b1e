"""Every example in a docstring runs, each module under its one import name."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from tests.house.tree import load, module_names

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", module_names())
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(name)
    monkeypatch.chdir(tmp_path)  # an example may write files
    failures: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(example, out=failures.append)
    assert runner.failures == 0, "".join(failures)


def test_the_package_holds_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    assert sum(len(test.examples) for name in module_names() for test in finder.find(load(name), name)) > 20
