"""What the settings of a step that collects are told, and when."""

from __future__ import annotations

from typing import Any

import pytest

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.clock import Clock
from warren.core.knobs import Knob
from warren.core.receipt import DELIVERED, Kind, Outcome
from warren.operators import batch, flat_map, map


class Told:
    """A setting that is what it is set to, and writes down what it is told."""

    def __init__(self, value: int) -> None:
        self.knob = Knob("n", 1, 1000, start=value)
        self.value = value
        self.told: list[tuple[float, bool, float, int]] = []
        self.opened = 0

    def open(self, clock: Clock) -> None:
        self.opened += 1

    def ended(self, seconds: float, success: bool, *, in_flight: float = 0.0, count: int = 1) -> None:
        self.told.append((round(seconds, 3), success, in_flight, count))


def trial(steps: Any, values: int, every: float = 0.0) -> Any:
    at = [i * every for i in range(values)]
    return Pipeline("p", memory.items([]) | steps | memory.into([])).test(range(values), at=at)


def test_a_count_that_falls_closes_what_is_too_large() -> None:
    count = Told(10)

    def drop(value: int) -> int:
        count.value = 3 if value >= 6 else 10
        return value

    result = trial(map(drop) | batch(count), 14, 0.01)
    assert result.values == [list(range(6)), [6, 7, 8], [9, 10, 11], [12, 13]]
    assert [each[1:] for each in count.told] == [(True, 6, 6), (True, 3, 3), (True, 3, 3), (True, 0, 2)]
    assert count.opened == 1


def test_each_is_told_which_limit_closed_a_batch() -> None:
    count, wait = Told(3), Told(25)
    assert trial(batch(count, wait), 5, 0.01).values == [[0, 1, 2], [3, 4]]
    assert count.told == [(0.02, True, 3, 3), (0.01, True, 0, 2)]
    assert wait.told == [(0.02, True, 0, 3), (0.01, True, 25, 2)]


def test_a_time_holds_for_batches_that_begin_later() -> None:
    wait = Told(50)

    def later(value: int) -> int:
        wait.value = 50 if value == 0 else 30
        return value

    assert trial(map(later) | batch(100, wait), 6, 0.02).values == [[0, 1, 2], [3, 4], [5]]


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (DELIVERED, [(0.0, True, 2, 2)]),
        (Outcome(Kind.DEAD_LETTERED, "dead"), [(0.0, False, 2, 2)]),
        (Outcome(Kind.RELEASED), []),
    ],
)
def test_a_batch_is_over_when_it_is_settled(end: Outcome, told: list[Any]) -> None:
    count = Told(2)
    bench = Bench(batch(count))
    bench.push(1, 2)
    assert count.told == []
    bench.run.ledger.settle(bench.out[0].tokens, end)
    assert count.told == told


def test_parts_of_one_message_are_in_many_batches() -> None:
    count = Told(2)
    assert trial(flat_map(lambda value: [value] * 5) | batch(count), 2).values == [[0, 0], [0, 0], [0, 1], [1, 1], [1, 1]]
    assert sum(each[3] for each in count.told) == 10
