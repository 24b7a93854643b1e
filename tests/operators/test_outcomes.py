"""What a policy is told of its retries."""

from __future__ import annotations

from pathlib import Path

import pytest

from warren import Pipeline
from warren.connectors import memory, sqlite
from warren.core.chunk import Failure
from warren.core.graph import Operator
from warren.operators import batch, constant, flat_map, map, retry
from warren.operators.outcomes import Learning, Outcomes
from warren.pipelines import Trial


class Told:
    """Waits as long as said, and writes down what it is told."""

    __name__ = "told"

    def __init__(self, *delays: float) -> None:
        self.delays = delays
        self.told: list[tuple[object, ...]] = []

    def __call__(self, failed: int) -> float | None:
        raise AssertionError("a policy that learns is asked by wait()")

    def kind(self, error: Exception) -> str:
        return type(error).__name__

    def wait(self, failed: int, error: Exception, kind: str, now: float) -> float | None:
        return self.delays[failed - 1] if failed <= len(self.delays) else None

    def ended(self, kind: str, delay: float, attempts: int, ok: bool, now: float) -> None:
        self.told.append((kind, delay, attempts, ok))

    def succeeded(self, count: int, now: float) -> None:
        self.told.append(("succeeded", count))


def trial(steps: Operator[object, object], values: list[int]) -> Trial:
    return Pipeline("p", memory.items([]) | steps | memory.into([])).test(values)


def failing(times: int) -> Operator[object, object]:
    calls: dict[object, int] = {}

    def step(value: object) -> object:
        calls[str(value)] = calls.get(str(value), 0) + 1
        if value != 0 and calls[str(value)] <= times:
            raise ConnectionError("busy")
        return value

    return map(step)


def test_it_is_a_policy_that_learns() -> None:
    assert isinstance(Told(), Learning) and not isinstance(constant("1s"), Learning)


def test_first_successes_failures_and_successes_of_retries_are_told() -> None:
    policy = Told(1.0, 2.0)
    assert trial(failing(2) | retry(policy), [0, 7]).values == [0, 7]
    assert policy.told == [
        ("succeeded", 1),
        ("ConnectionError", 1.0, 2, False),
        ("ConnectionError", 2.0, 3, True),
    ]


@pytest.mark.parametrize("then", [flat_map(lambda value: [value, value]), batch(1, "1s")])
def test_what_is_made_of_a_value_tells_of_it_once(then: Operator[object, object]) -> None:
    policy = Told(1.0)
    trial(failing(1) | then | retry(policy), [7])
    assert policy.told.count(("ConnectionError", 1.0, 2, True)) == 1
    assert ("ConnectionError", 1.0, 2, False) not in policy.told


def test_what_is_given_up_is_not_told() -> None:
    given_up = Told()
    trial(failing(1) | retry(given_up), [7])
    assert given_up.told == []


def test_what_is_parked_is_told_when_it_comes_back() -> None:
    policy = Told(3600.0, 1.0, 7200.0)
    assert trial(failing(3) | retry(policy), [7, 0, 8]).values == [0, 7, 8]
    assert policy.told == [
        ("succeeded", 1),
        *[("ConnectionError", 3600.0, 2, False)] * 2,
        *[("ConnectionError", 1.0, 3, False)] * 2,
        *[("ConnectionError", 7200.0, 4, True)] * 2,
    ]


@pytest.mark.parametrize("kept", ["in memory", "in a file"])
def test_what_a_queue_hands_out_again_is_told(kept: str, tmp_path: Path) -> None:
    policy, out = Told(0.02, 0.03), list[object]()
    queue = memory.queue("in", int) if kept == "in memory" else sqlite.queue(str(tmp_path / "q.db"), "in", int)
    Pipeline("fill", memory.items([7, 0]) | queue).run(until_empty=True)
    steps = failing(2) | retry(policy, park=0.01)
    Pipeline("p", queue | steps | memory.into(out)).run(until_empty=True)
    assert out == [0, 7]
    assert [each for each in policy.told if each[0] != "succeeded"] == [
        ("ConnectionError", 0.02, 2, False),
        ("ConnectionError", 0.03, 3, True),
    ]


def test_each_policy_hears_of_its_own_retries() -> None:
    mine, other = Told(1.0), Told(2.0)
    trial(failing(1) | retry({ConnectionError: mine, ValueError: other}), [7])
    assert mine.told == [("ConnectionError", 1.0, 2, True)] and other.told == []


def test_a_retry_behind_another_one_hears_of_its_own_retries() -> None:
    first, second = Told(1.0), Told(0.0, 2.0)
    assert trial(failing(2) | retry(first) | retry(second), [7, 8]).values == [7, 8]
    assert first.told == [("ConnectionError", 1.0, 2, False)] * 2
    assert second.told == [("ConnectionError", 2.0, 3, True)] * 2


def test_of_what_is_dropped_on_its_way_back_nothing_is_remembered_for_long() -> None:
    policy = Told(1.0)
    outcomes = Outcomes([policy], lambda: 0.0, None, None)  # type: ignore[arg-type]  # nothing is told of decisions
    for token in range(20_001):
        outcomes.wait(policy, Failure(token, token, ConnectionError("busy"), "1:map"), 1)
        outcomes.early[token] = None
    assert len(outcomes.early) == 10_000
