"""What models decide reaches the observers that ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from warren import Pipeline, exponential
from warren.analytics import AdaptiveBackoff, Flows, Recorder
from warren.connectors import memory
from warren.core.hooks import DecisionObserver, FlowObserver
from warren.core.journal import Journal
from warren.core.policies import Deciding, Decision, Past
from warren.core.stage import Stage
from warren.operators import map, retry


class Told:
    """Writes down what it is told of."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[int]]] = []

    def decided(self, stage: str, decisions: Sequence[Decision]) -> None:
        self.told.append((stage, [decision.number for decision in decisions]))


class Model:
    def __init__(self) -> None:
        self.past = Past(100)

    def over(self) -> Sequence[Decision]:
        return self.past.new()

    def decide(self, number: int) -> None:
        self.past.append(Decision("model", number, 0.0, 1, 1, 1, 1.0, "shadow", "", {}))


class Run:
    """As much of a run as a journal needs."""

    ledger: Any

    def __init__(self, *observers: object) -> None:
        self.observers = observers
        self.now = 0.0
        self.closes: list[Any] = []
        self.ledger = type("Ledger", (), {"settle": None})

    def clock(self) -> float:
        return self.now

    def on_close(self, close: Any) -> None:
        self.closes.append(close)


def stage(run: Any) -> Stage:
    return Stage(run, "1", "1:route")


def test_decisions_are_told_four_times_a_second_at_most_and_in_the_end() -> None:
    told, model = Told(), Model()
    run = Run(told, object())
    model.decide(-1)
    journal = Journal(stage(run), [model, object()])
    for tick in range(11):
        model.decide(tick)
        journal.tick(tick / 10)
    assert told.told == [("1:route", [0, 1, 2, 3]), ("1:route", [4, 5, 6]), ("1:route", [7, 8, 9])]
    [close] = run.closes
    close()
    close()
    assert told.told[3:] == [("1:route", [10])]


def test_a_clock_that_goes_back_keeps_none_of_them() -> None:
    told, model = Told(), Model()
    run = Run(told)
    run.now = 100.0
    journal = Journal(stage(run), [model])
    model.decide(1)
    journal.tick(5.0)
    assert told.told == [("1:route", [1])]


def test_where_nobody_asks_nothing_is_told() -> None:
    run, model = Run(object()), Model()
    journal = Journal(stage(run), [model])
    model.decide(1)
    journal.tick(9.0)
    assert run.closes == [] and [decision.number for decision in model.over()] == [1]


def test_the_recorder_and_the_models_are_such() -> None:
    assert isinstance(Recorder("flows"), DecisionObserver) and isinstance(Recorder("flows"), FlowObserver)
    assert isinstance(AdaptiveBackoff(), Deciding) and not isinstance(exponential("1s"), Deciding)


def test_retries_that_learn_are_recorded(tmp_path: Path) -> None:
    calls: dict[int, int] = {}

    def work(value: int) -> int:
        calls[value] = calls.get(value, 0) + 1
        if calls[value] <= value:
            raise ConnectionError("busy")
        return value

    policy = AdaptiveBackoff("10ms", attempts=3)
    flow = Pipeline("p", memory.items(range(4)) | map(work) | retry(policy) | memory.into([]))
    flow.observed(Recorder(tmp_path)).run()
    rows = Flows(tmp_path).decisions.collect()
    # 1 fails once, 2 twice, 3 until it is given up.
    assert sorted(rows["success"].to_list(), key=str) == [False, False, False, None, True, True]
    assert rows["done"].null_count() == 1 and rows["messages"].sum() == rows.height == 6
    assert set(rows["stage"].cast(str)) == {"2:retry(adaptive(10ms))"}
