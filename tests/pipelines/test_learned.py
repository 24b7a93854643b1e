"""What models of a pipeline have learned is kept with its state; losing it is told, and stops nothing."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from warren import Pipeline, constant
from warren.analytics import AdaptiveBackoff
from warren.analytics.routing import EarliestFinish
from warren.analytics.tuning import Tuner
from warren.apps.state import state as command
from warren.connectors import memory
from warren.connectors.sqlite.state import StateFile
from warren.core.errors import DataError
from warren.core.frozen import thaw
from warren.core.graph import Operator
from warren.core.knobs import Knob
from warren.core.policies import Restorable
from warren.core.state import StateStore
from warren.operators import map, retry, route, scan
from warren.pipelines.learned import POLICIES, Learned


class Counting:
    """A policy that counts what it was asked."""

    def __init__(self, version: int = 1) -> None:
        self.version = version
        self.asked = 0
        self.tokens: Any = None

    def __call__(self, failed: int) -> float:
        return 0.0

    def kind(self, error: Exception) -> str:
        return ""

    def wait(self, failed: int, error: Exception, kind: str, now: float) -> float:
        self.asked += 1
        return 0.0

    def ended(self, kind: str, delay: float, attempts: int, ok: bool, now: float) -> None:
        pass

    def succeeded(self, count: int, now: float) -> None:
        pass

    def state(self) -> Mapping[str, Any]:
        return {"version": self.version, "asked": self.asked, "tokens": self.tokens}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state["version"] != self.version:
            raise DataError(f"the state is of version {state['version']}")
        self.asked = state["asked"]


def once() -> Operator[int, int]:
    """Fails for each value the first time."""
    seen: set[int] = set()

    def call(value: int) -> int:
        if value not in seen:
            seen.add(value)
            raise ConnectionError("busy")
        return value

    return map(call)


def run(store: StateStore | Path, steps: Operator[Any, Any], values: Any = range(10)) -> list[Any]:
    out: list[Any] = []
    Pipeline("x", memory.items(values) | steps | memory.into(out), state=store).run()
    return out


def known(store: StateStore) -> dict[str, Any]:
    learned = Learned()
    learned.open(store.open("x"))
    store.close()
    return {name: thaw(data) for name, data in learned._known.items()}


@pytest.fixture(params=["file", "memory"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> StateStore:
    return StateFile(tmp_path / "x.state") if request.param == "file" else memory.state()


def test_the_models_are_restorable() -> None:
    assert all(isinstance(each, Restorable) for each in (AdaptiveBackoff(), EarliestFinish(), Tuner(Knob("n", 1, 2, 1))))
    assert not isinstance(constant("1s"), Restorable)


def test_a_policy_goes_on_with_what_it_learned(store: StateStore) -> None:
    first, second = AdaptiveBackoff("1ms", mode="act"), AdaptiveBackoff("1ms", mode="act")
    run(store, once() | retry(first))
    run(store, once() | retry(second), [])
    assert second.state() == first.state() == known(store)["2:retry AdaptiveBackoff"]


def test_a_route_and_a_setting_are_kept_too(store: StateStore) -> None:
    async def call(value: int) -> int:
        return value

    def models() -> tuple[Any, Any, Operator[int, int]]:
        tuner, policy = Tuner(Knob("concurrency", 1, 8, 2)), EarliestFinish()
        return tuner, policy, map(call, concurrency=tuner) | route(policy, a=map(float), b=map(float))

    tuner, policy, steps = models()
    run(store, steps)
    found = known(store)
    assert list(found) == ["1:map Tuner", "2:route EarliestFinish"]
    other, another, steps = models()
    run(store, steps, [])
    assert (other.state(), another.state()) == (tuner.state(), policy.state()) == tuple(found.values())


def test_policies_of_a_step_have_names_and_one_that_is_shared_is_kept_once(store: StateStore) -> None:
    shared, own = Counting(), Counting()
    run(store, once() | retry({KeyError: own, ConnectionError: shared}) | once() | retry(shared))
    assert {name: state["asked"] for name, state in known(store).items()} == {
        "2:retry Counting": 0,
        "2:retry Counting 2": 20,
    }


def test_another_version_or_what_is_broken_starts_anew_and_says_so(
    store: StateStore, caplog: pytest.LogCaptureFixture
) -> None:
    run(store, once() | retry(Counting()))
    newer = Counting(version=2)
    assert len(run(store, once() | retry(newer))) == 10
    assert newer.asked == 10
    [record] = caplog.records
    assert "2:retry Counting: it starts anew, as what it had learned cannot be taken over" in record.getMessage()
    assert "version 1" in record.getMessage()
    assert known(store)["2:retry Counting"]["version"] == 2


@pytest.mark.parametrize(
    ("tokens", "text"),
    [("x" * (1 << 20), "1,048,576 at most are kept"), (lambda: None, "2:retry Counting: what it learns is not")],
)
def test_what_cannot_be_kept_is_told_once_and_what_was_kept_before_stays(
    store: StateStore, tokens: Any, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    run(store, once() | retry(Counting()))
    policy = Counting()
    policy.tokens = tokens

    async def main() -> None:
        out: list[int] = []
        flow = memory.items(range(10)) | once() | retry(policy) | memory.into(out)
        await Pipeline("x", flow, state=store, checkpoint="1ms").start()

    asyncio.run(main())
    assert policy.asked == 20
    [record] = caplog.records
    assert text in record.getMessage()
    assert known(store)["2:retry Counting"]["asked"] == 10


def test_a_step_that_is_gone_is_forgotten_and_refuses_nothing(store: StateStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run(store, once() | retry(Counting()))
    assert run(store, map(float)) == list(range(10))
    assert "2:retry Counting: what it had learned is forgotten" in caplog.text
    assert known(store) == {}
    run(store, once() | retry(Counting()) | scan(lambda total, n: total + n, 0))
    assert known(store)["2:retry Counting"]["asked"] == 10


def test_no_message_waits_for_it() -> None:
    store, policy = memory.state(), Counting()
    commits: list[float] = []
    kept = store.commit

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def commit(changes: Any) -> None:
            commits.append(loop.time())
            kept(changes)

        store.commit = commit  # type: ignore[method-assign]  # to listen
        source = memory.items(range(10_000))
        pipeline = Pipeline("x", source | once() | retry(policy) | memory.into([]), state=store, checkpoint="1h", credit=100)
        await pipeline.start()

    asyncio.run(main())
    # Each time that it comes to rest, at its end.
    assert len(commits) <= 2 and known(store)["2:retry Counting"]["asked"] == 10_000


def test_not_more_often_than_once_a_second_unless_the_run_ends() -> None:
    learned, model = Learned(), Counting()
    assert not learned and learned.change(0.0) == [] and not learned.urgent
    learned.add("1:retry", model)
    assert learned.urgent and len(learned.change(0.0)) == 1 and not learned.urgent
    model.asked = 1
    assert learned.change(0.9) == []
    assert len(learned.change(1.0)) == 1 and learned.change(2.0) == []
    model.asked = 2
    # A clock that is set back keeps nothing from being written.
    assert len(learned.change(-5.0)) == 1
    model.asked = 3
    learned.urge()
    assert len(learned.change(-5.0)) == 1


WORKER = """
import os, signal, sys
from warren import Pipeline
from warren.analytics import AdaptiveBackoff
from warren.connectors import memory
from warren.connectors.sqlite.state import StateFile
from warren.operators import map, retry

class Deadly(StateFile):
    def commit(self, changes):
        super().commit(changes)
        os.kill(os.getpid(), signal.SIGKILL)

def call(n):
    if n % 10 == 0:
        raise TimeoutError("not yet")
    return n

policy = AdaptiveBackoff("1ms", mode="act")
path, kill = sys.argv[1], sys.argv[2] == "kill"
source, state = (memory.items(range(100_000)), Deadly(path)) if kill else (memory.items([]), path)
Pipeline("x", source | map(call) | retry(policy) | memory.into([]), state=state, checkpoint="1ms", credit=50).run()
print(policy.state()["rates"][0])
"""


def work(path: Path, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WORKER, str(path), how]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_worker_that_is_killed_has_learned_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.state"
    assert work(path, "kill").returncode == -signal.SIGKILL
    found = work(path, "look")
    assert found.returncode == 0 and float(found.stdout) > 0
    shown = CliRunner().invoke(command, ["ls", str(path)]).output
    assert POLICIES in shown and " 1 " in shown
    shown = CliRunner().invoke(command, ["show", str(path), POLICIES]).output
    assert "'2:retry AdaptiveBackoff'" in shown and "{'version': 2" in shown
    assert CliRunner().invoke(command, ["drop", str(path), POLICIES, "--yes"]).exit_code == 0
    assert float(work(path, "look").stdout) == 0


def test_a_trial_neither_reads_nor_writes_it(store: StateStore) -> None:
    run(store, once() | retry(Counting()))
    policy = Counting()
    flow = memory.items([]) | once() | retry(policy) | memory.into([])
    assert Pipeline("x", flow, state=store).test(range(3)).values == [0, 1, 2]
    assert policy.asked == 3 and known(store)["2:retry Counting"]["asked"] == 10
