from __future__ import annotations

import pytest

from tests.operators.fake import Bench
from warren.core.chunk import Chunk
from warren.core.errors import GraphError
from warren.operators import tap
from warren.operators.holding import Alarm, Newest, period, together


def bench_and_alarm(start: float = 0.0) -> tuple[Bench, Alarm, list[float]]:
    bench = Bench(tap(lambda value: None), start)
    rung: list[float] = []
    return bench, Alarm(bench.stages[0], rung.append), rung


def test_an_alarm_rings_at_the_earliest_time_it_was_set_to() -> None:
    bench, alarm, rung = bench_and_alarm()
    alarm.set(5)
    alarm.set(3)
    alarm.set(4)
    bench.wait(2.9)
    assert rung == []
    bench.wait(7)
    assert rung == [3]
    bench.finish()


def test_an_alarm_that_is_cleared_does_not_ring() -> None:
    bench, alarm, rung = bench_and_alarm()
    alarm.set(1)
    alarm.clear()
    alarm.clear()
    bench.wait(2)
    assert rung == []
    bench.finish()


def test_its_time_does_not_go_back_with_the_clock() -> None:
    bench, alarm, rung = bench_and_alarm(1000)
    assert alarm.now() == 1000
    bench.run.clock = lambda: 10.0  # type: ignore[method-assign]
    assert alarm.now() == 1000
    alarm.set(1005)
    bench.wait(5)
    assert rung == [1005]
    assert alarm.now() == 1005


def test_the_newest_of_each_key_waits_in_the_order_they_came() -> None:
    bench, _, _ = bench_and_alarm()
    newest = Newest(bench.stages[0], lambda value: value[0])
    values = ["a1", "b1", "a2", "c1", "b2"]
    assert not newest.add(Chunk(values, bench.accept(values)), 1.0)
    assert bench.kinds() == ["FILTERED", "FILTERED", "", "", ""]
    assert not newest.add(Chunk(["a3"], bench.accept(["a3"]), (), 2), 2.0)
    newest.give(1.0, 2.0)
    assert bench.values == ["c1", "b2"]
    newest.give()
    assert bench.values == ["c1", "b2", "a3"]
    assert [chunk.attempt for chunk in bench.out] == [1, 2]
    bench.finish()


def test_chunks_join_their_neighbours() -> None:
    assert list(together([])) == []
    one = Chunk([1, 2], range(2))
    assert list(together([one])) == [one]
    joined = list(together([one, Chunk([3], [9]), Chunk([4], [5], (), 2), Chunk([6], [7])]))
    assert [(chunk.values, list(chunk.tokens), chunk.attempt) for chunk in joined] == [
        ([1, 2, 3], [0, 1, 9], 1),
        ([4], [5], 2),
        ([6], [7], 1),
    ]


@pytest.mark.parametrize("length", [0, float("inf"), -1, float("nan"), "soon"])
def test_what_is_no_length_of_time_is_refused(length: object) -> None:
    with pytest.raises(GraphError):
        period(length, "sample")  # type: ignore[arg-type]
