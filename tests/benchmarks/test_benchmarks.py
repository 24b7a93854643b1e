"""Every benchmark runs, with a handful of messages, and every side that is installed computes what it should."""

import importlib
import importlib.util
import json
import pkgutil

import pytest

import benchmarks
from benchmarks import observers, operators
from benchmarks.amqp import limit, trial
from benchmarks.amqp.wire import Wire
from benchmarks.harness import ROOT, Benchmark, main
from benchmarks.steps import sums
from benchmarks.steps.readings import checked

NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules(benchmarks.__path__)
    if module.name
    not in ("bottlenecks", "flows", "harness", "m4_hourly", "observers", "routing", "routing_queues", "tuning")
    and not module.ispkg
)


def subjects(*, on_a_broker):
    return [
        pytest.param(case, subject, id=f"{name}-{case.name}-{subject.name}")
        for name in NAMES
        for benchmark in [importlib.import_module(f"benchmarks.{name}").BENCHMARK]
        if (benchmark.around is not None) == on_a_broker
        for case in benchmark.cases
        for subject in case.subjects
    ]


@pytest.fixture(autouse=True)
def once(monkeypatch):
    """What an observer costs is not to be known here."""
    monkeypatch.setattr(observers, "BLOCKS", 1)


def run_a_handful(subject):
    if subject.needs and importlib.util.find_spec(subject.needs) is None:
        pytest.skip(f"{subject.needs} is not installed")
    assert subject.run(20) > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_names_agree(name):
    benchmark = importlib.import_module(f"benchmarks.{name}").BENCHMARK
    assert isinstance(benchmark, Benchmark)
    assert benchmark.name == name
    subjects = {(case.name, subject.name) for case in benchmark.cases for subject in case.subjects}
    for bar in benchmark.bars:
        assert {(bar.case, "warren"), (bar.case, bar.rival)} <= subjects
    assert {(mark.case, "warren") for mark in benchmark.marks} <= subjects


# What the rivals warn of is not ours to mend.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("case", "subject"), subjects(on_a_broker=False))
def test_a_subject_runs(case, subject):
    run_a_handful(subject)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("case", "subject"), subjects(on_a_broker=True))
def test_a_subject_runs_on_a_broker(case, subject, rabbitmq, monkeypatch):
    monkeypatch.setenv(trial.URL, rabbitmq.url)
    run_a_handful(subject)


def relay_nothing(job):
    """As a side that thinks the queue is empty."""


def relay_unchanged(job):
    limit._pump(job, lambda bodies: [bytes(body) for body in bodies], 0.0)


def relay_one_too_many(job):
    limit.relay(job)
    with Wire(job.url) as wire:
        wire.confirm()
        wire.target(job.target, persistent=False)
        wire.publish([b"{}"])
        wire.settle()


def relay_without_acknowledging(job):
    class Forgetful(Wire):
        def acknowledge(self, tag):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limit, "Wire", Forgetful)
        limit.relay(job)


@pytest.mark.parametrize(
    ("relay", "sentence"),
    [
        (relay_nothing, "not everything was acknowledged: 20 messages came back"),
        (relay_unchanged, "they do not say what they should"),
        (relay_one_too_many, "21 messages came out and should be 20"),
        (relay_without_acknowledging, "not everything was acknowledged: 20 messages came back"),
    ],
)
def test_a_side_that_relays_something_else_is_refused(relay, sentence, rabbitmq, monkeypatch):
    monkeypatch.setenv(trial.URL, rabbitmq.url)
    monkeypatch.setattr(trial.Side, "load", lambda side: relay)
    with pytest.raises(ValueError, match=sentence):
        trial.relaying("limit", trial.Setting())(20)


def test_a_side_that_computes_something_else_is_refused():
    wrong = sums.timed(sums.messages, lambda bodies: {"eu": 1.0})
    with pytest.raises(ValueError, match="should be"):
        wrong(100)
    with pytest.raises(ValueError, match="should be"):
        checked(range, lambda given: [0], list)(100)


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
