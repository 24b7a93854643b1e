"""Every benchmark runs, with a handful of messages, and every side that is installed computes what it should."""

import importlib
import importlib.util
import json
import pkgutil

import pytest

import benchmarks
from benchmarks import operators
from benchmarks.harness import ROOT, Benchmark, main

NAMES = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "harness")
SUBJECTS = [
    pytest.param(case, subject, id=f"{name}-{case.name}-{subject.name}")
    for name in NAMES
    for case in importlib.import_module(f"benchmarks.{name}").BENCHMARK.cases
    for subject in case.subjects
]


@pytest.mark.parametrize("name", NAMES)
def test_the_names_agree(name):
    benchmark = importlib.import_module(f"benchmarks.{name}").BENCHMARK
    assert isinstance(benchmark, Benchmark)
    assert benchmark.name == name
    subjects = {(case.name, subject.name) for case in benchmark.cases for subject in case.subjects}
    for bar in benchmark.bars:
        assert {(bar.case, "warren"), (bar.case, bar.rival)} <= subjects


# What the rivals warn of is not ours to mend.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("case", "subject"), SUBJECTS)
def test_a_subject_runs(case, subject):
    if subject.needs and importlib.util.find_spec(subject.needs) is None:
        pytest.skip(f"{subject.needs} is not installed")
    assert subject.run(20) > 0


def test_a_side_that_computes_something_else_is_refused():
    wrong = operators.timed(operators.messages, lambda bodies: {"eu": 1.0})
    with pytest.raises(ValueError, match="should be"):
        wrong(100)


def test_a_run_with_its_own_processes(tmp_path, capsys):
    path = tmp_path / "rows.json"
    assert (
        main(
            operators.BENCHMARK,
            ["--quick", "--case", "keyed-sum-single", "--size", "20", "--rounds", "1", "--json", str(path)],
        )
        == 0
    )
    rows = json.loads(path.read_text())
    assert {"warren", "reactivex"} <= {row["subject"] for row in rows}
    assert {row["benchmark"] for row in rows} == {"operators"}


def test_the_documentation_names_each_benchmark():
    text = (ROOT / "benchmarks" / "README.md").read_text()
    for name in NAMES:
        assert f"benchmarks.{name}" in text
