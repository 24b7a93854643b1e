"""Joins while they run: by the clock, and where late values go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.graph import Source
from warren.operators import dead_letter, join, map, retry
from warren.operators.pairs import Pair
from warren.pipelines.given import Arrival, Script
from warren.pipelines.trial import Trial, try_out
from warren.testing import Faults, fail, virtual

left: Source[Any] = memory.queue("left")
right: Source[Any] = memory.queue("right")
Given = Sequence[tuple[float, str]]


def by_clock(**options: Any) -> Source[Any]:
    return join(left, right, on=lambda value: value[0], within=10, how="outer", **options)


def tried(flow: Source[Any], ls: Given, rs: Given, state: Any = None) -> Trial:
    """What comes of values, each with the time at which it comes; each must be settled exactly once."""
    scripts = {
        source.name: Script([Arrival(value, at) for at, value in given]) for source, given in ((left, ls), (right, rs))
    }
    return try_out(Pipeline("p", flow | memory.into([]), state=state), scripts.__getitem__, 0.0, [Faults()])


def pairs(values: Sequence[Pair[Any, Any, Any]]) -> list[tuple[Any, Any]]:
    return [(pair.left, pair.right) for pair in values]


@pytest.mark.parametrize("state", [None, memory.state()])
def test_without_a_time_values_that_come_within_the_time_are_pairs(state: Any) -> None:
    trial = tried(by_clock(), [(0, "a1"), (30, "a2")], [(10, "a3"), (19, "b"), (40.1, "a4")], state)
    assert set(pairs(trial.values)) == {("a1", "a3"), (None, "b"), ("a2", None), (None, "a4")}


def test_what_has_no_partner_goes_on_when_its_time_is_over() -> None:
    with virtual(Pipeline("p", by_clock() | memory.into([]))) as run:
        run.send("a", to=left.name).advance("9s").send("b", to=right.name).advance("0.9s")
        assert run.values == []
        run.advance("0.2s")
        assert (pairs(run.values), run.in_flight) == ([("a", None)], 1)
        run.advance("9s")
        assert (pairs(run.values), run.in_flight) == ([("a", None), (None, "b")], 0)


def test_what_is_waited_for_by_the_clock_gives_its_credit_back() -> None:
    ls = [(float(20 * i), "a") for i in range(10)]
    pipeline = Pipeline("p", join(left, right, on=str, within=10) | memory.into([]), credit=2)
    scripts = {left.name: Script([Arrival(value, at) for at, value in ls]), right.name: Script([])}
    assert try_out(pipeline, scripts.__getitem__, 0.0, [Faults()]).outcomes == {"filtered": 10}


def test_a_key_that_cannot_be_told_fails_by_the_clock_and_is_tried_again_on_its_side() -> None:
    flow = join(left, right, on=(fail(nth=1)(str.lower), str.lower), within="1m") | retry(constant("1s"))
    trial = tried(flow, [(0, "A")], [(0, "a")])
    assert pairs(trial.values) == [("A", "a")]


def test_what_is_open_by_the_clock_goes_on_in_the_next_run() -> None:
    state, broker = memory.state(), memory.Broker()
    queues = [memory.queue(name, str, broker=broker) for name in ("l", "r")]
    out: list[Any] = []
    joined = join(*queues, on=str, within="1h", how="outer")
    for side, value in ((0, "a"), (1, "b"), (1, "a")):
        Pipeline("feed", memory.items([value]) | queues[side]).run()
        Pipeline("p", joined | map(lambda pair: (pair.left, pair.right)) | memory.into(out), state=state).run(
            until_empty=True
        )
    assert out == [("a", "a")]


def test_late_values_go_to_a_sink_of_their_own() -> None:
    late = memory.queue("late")
    flow = join(left, right, on=len, time=lambda value: float(value[1:]), within=1, how="outer", late=map(str.upper) | late)
    trial = tried(flow, [(0, "a5"), (1, "a9"), (2, "a2")], [(0, "b9"), (3, "b1")])
    assert trial.outputs["memory:late"] == ["A2", "B1"]
    assert trial.dead_letters == {}
    assert "    late:\n      map(" in Pipeline("p", flow | memory.into([])).explain()


def test_late_values_that_become_dead_letters_say_why() -> None:
    flow = join(left, right, on=len, time=lambda value: float(value[1:]), within=1, late=dead_letter("late"))
    trial = tried(flow, [(0, "a9"), (1, "a2")], [(0, "b9")])
    (letter,) = trial.dead_letters["late"]
    assert letter.value == "a2"
    assert "event time had reached 1970-01-01T00:00:09Z" in letter.reason
