"""Windows while they run: what closes them, and where late values go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.chunk import Chunk
from warren.core.errors import GraphError, LateError
from warren.core.receipt import DELIVERED
from warren.operators import batch, count, dead_letter, exponential, map, retry
from warren.operators.window import Window, session, tumbling, window


def itself(value: Any) -> Any:
    return value


def contents(bench: Bench) -> list[tuple[float, float, list[Any]]]:
    return [(w.start, w.end, w.values) for w in bench.values]


def test_an_idle_source_closes_windows_and_they_open_again() -> None:
    bench = Bench(window(tumbling(100), time=itself, idle="30s")).push(1).wait(29).push(2).wait(29)
    assert bench.values == []
    bench.wait(2)
    assert contents(bench) == [(0.0, 100.0, [1, 2])]
    bench.push(3).wait(31)
    assert contents(bench)[1:] == [(0.0, 100.0, [3])]
    bench.finish()


def test_a_held_message_holds_event_time() -> None:
    bench = Bench(window(tumbling(10), time=itself, idle="30s"))
    (held,) = bench.accept([5])
    bench.run.ledger.wait(held)
    bench.push(1).push(25).push(40).wait(100)
    assert bench.values == []
    bench.run.ledger.resume([held])
    bench.hand(Chunk([5], [held], (), 2))
    assert contents(bench) == [(0.0, 10.0, [1, 5]), (20.0, 30.0, [25])]
    assert not bench.finish().failures


def test_event_time_reaches_what_came_before_a_held_message() -> None:
    bench = Bench(window(tumbling(10), time=itself)).push(1).push(12)
    assert contents(bench) == [(0.0, 10.0, [1])]
    bench.push(23)
    (held,) = bench.accept([24])
    bench.run.ledger.wait(held)
    bench.push(35)
    assert [w.end for w in bench.values] == [10.0, 20.0]
    bench.run.ledger.resume([held])
    bench.hand(Chunk([24], [held], (), 2))
    assert [w.end for w in bench.values] == [10.0, 20.0, 30.0]
    bench.finish()


def test_without_time_the_clock_opens_and_closes() -> None:
    bench = Bench(window(tumbling(10)), start=1003).push("a").wait(6).push("b").wait(1.1)
    assert contents(bench) == [(1000.0, 1010.0, ["a", "b"])]
    bench.push("c")
    assert bench.run.pending_timers == 1
    bench.wait(20)
    assert contents(bench)[1:] == [(1010.0, 1020.0, ["c"])]
    bench.finish()


def test_sessions_by_the_clock() -> None:
    bench = Bench(window(session(10), by=itself), start=1000).push("a").wait(9).push("a", "b").wait(9)
    assert bench.values == []
    bench.wait(1.1)
    assert [(w.key, w.start, w.end) for w in bench.values] == [("a", 1000, 1019), ("b", 1009, 1019)]
    bench.finish()


def test_late_events_fail_with_the_remedy() -> None:
    bench = Bench(window(tumbling(10), time=itself)).push(1, 12).push(3, 13)
    (failure,) = bench.failures
    assert isinstance(failure.error, LateError)
    assert failure.redo is None
    assert bench.errors == [
        "window(tumbling(10)): an event of 1970-01-01T00:00:03Z came after its window, which ends at "
        "1970-01-01T00:00:10Z, was closed: event time had reached 1970-01-01T00:00:13Z; "
        "raise lateness above 3s to wait for such events"
    ]
    bench.finish()
    assert contents(bench) == [(0.0, 10.0, [1]), (10.0, 20.0, [12, 13])]


def test_late_events_are_dropped_when_told() -> None:
    bench = Bench(window(tumbling(10), time=itself, late="drop")).push(1, 12).push(3)
    assert bench.kinds()[2] == "FILTERED"
    assert not bench.finish().failures


def test_late_events_go_to_a_sink_of_their_own() -> None:
    late = memory.queue("late")
    flow = memory.items([]) | window(tumbling(10), time=itself, late=map(str) | late) | memory.into([])
    trial = Pipeline("late", flow).test([1, 12, 3, 13, 4], at=range(5))
    assert trial.outputs["memory:late"] == ["3", "4"]
    assert [w.values for w in trial.outputs["memory.into"]] == [[1], [12, 13]]
    assert trial.outcomes == {"delivered": 5}


def test_late_events_that_become_dead_letters_say_why() -> None:
    steps = window(tumbling(10), time=itself, late=dead_letter("late"))
    trial = Pipeline("late", memory.items([]) | steps | memory.into([])).test([1, 12, 3], at=range(3))
    (letter,) = trial.dead_letters["late"]
    assert (letter.value, letter.error) == (3, "LateError")
    assert "came after its window" in letter.reason
    assert trial.outcomes == {"delivered": 2, "dead-lettered": 1}


def test_a_late_event_that_fails_on_its_way_is_a_dead_letter_of_its_own() -> None:
    steps = window(tumbling(10), time=itself, late=map(lambda n: 1 / (n - 3)) | memory.queue("late"))
    trial = Pipeline("late", memory.items([]) | steps | memory.into([])).test([1, 12, 3, 4], at=range(4))
    assert [letter.value for letter in trial.dead_letters["late.dead"]] == [3]
    assert trial.outputs["memory:late"] == [1.0]


def test_the_branch_of_late_events_is_drawn_and_its_batches_need_credit() -> None:
    steps = window(tumbling(10), time=itself, late=batch(50) | memory.queue("late"))
    flow = memory.items([]) | steps | memory.into([])
    assert "    late:\n      batch(50)" in Pipeline("late", flow).explain()
    assert '-->|"late"|' in Pipeline("late", flow).explain().mermaid
    with pytest.raises(GraphError, match="give credit=50"):
        Pipeline("late", flow, credit=49)


def test_in_a_pipeline_event_time_waits_for_a_retry() -> None:
    tried: list[int] = []

    def fail_once(value: int) -> int:
        tried.append(value)
        if value == 5 and tried.count(5) == 1:
            raise ConnectionError("busy")
        return value

    minutes = map(fail_once) | retry(exponential("5s")) | window(tumbling(10), time=itself)
    trial = Pipeline("waits", memory.items([]) | minutes | memory.into([])).test([1, 5, 12, 25])
    assert [sorted(w.values) for w in trial.values] == [[1, 5], [12], [25]]
    assert trial.outcomes == {"delivered": 4}


def test_a_window_by_count_closes_when_it_is_full() -> None:
    bench = Bench(window(count(2), by=lambda e: e[0]), start=100).push("a1").wait(1).push("b1").wait(1).push("a2", "a3")
    assert bench.values == [Window("a", 100.0, 102.0, ["a1", "a2"])]
    assert bench.wait(1_000_000).values[1:] == []
    bench.finish()
    assert [(w.key, w.values) for w in bench.values[1:]] == [("b", ["b1"]), ("a", ["a3"])]


def test_windows_by_count_that_overlap_settle_a_value_with_the_last_of_them() -> None:
    bench = Bench(window(count(3, every=2))).push(*range(4))
    assert [w.values for w in bench.values] == [[0, 1, 2]]
    bench.run.ledger.settle(bench.out[0].tokens, DELIVERED)
    assert bench.kinds() == ["DELIVERED", "DELIVERED", "", ""]
    bench.out.clear()
    assert [w.values for w in bench.push(4).values] == [[2, 3, 4]]
    bench.finish()


def test_a_key_that_cannot_be_told_is_in_no_window_by_count() -> None:
    bench = Bench(window(count(2), by=lambda n: 1 // n)).push(2, 0, 3).finish()
    assert [w.values for w in bench.values] == [[2, 3]]
    assert [f.value for f in bench.failures] == [0]
