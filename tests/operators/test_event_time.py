"""Event time over several sources: who holds it back, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import FakeRun
from warren.core.message import Batch
from warren.core.receipt import DELIVERED
from warren.core.stage import Stage
from warren.operators.event_time import EventTime


class Source:
    ended = False


class Bench:
    """Event time in a fake run of some sources."""

    def __init__(self, sources: int = 2, *, lateness: float = 0.0, idle: float | None = 30.0) -> None:
        self.run = FakeRun()
        self.ledger = self.run.ledger
        self.sources = self.run.sources = [Source() for _ in range(sources)]
        self.event = EventTime(Stage(self.run, "", "here"), lateness=lateness, idle=idle)

    def accept(self, source: object, *times: float) -> range:
        return self.ledger.accept(source, Batch(list(times), list(range(len(times)))), self.run.clock()).tokens

    def give(self, source: int, *times: float) -> float:
        tokens = self.accept(self.sources[source], *times)
        self.event.hear(tokens)
        return self.event.advance(times, tokens)

    def wait(self, seconds: float) -> float:
        self.run.scheduler.advance_by(timedelta(seconds=seconds))
        return self.event.look()


def test_one_source_holds_event_time_alone() -> None:
    bench = Bench(1, lateness=5)
    assert bench.give(0, 10, 30, 20) == 25
    assert bench.give(0, 12) == 25
    assert bench.event.wait() == 30
    assert not bench.event.disputed
    assert bench.wait(31) == 25
    assert bench.event.wait() is None


def test_the_source_furthest_behind_holds_event_time() -> None:
    bench = Bench(3)
    assert bench.give(0, 100) == bench.give(1, 50) == -inf
    assert bench.event.disputed
    assert bench.give(2, 70) == 50
    assert bench.give(1, 90) == 70
    assert bench.give(2, 200) == 90


def test_a_source_that_gave_nothing_yet_is_waited_for_from_the_start() -> None:
    bench = Bench()
    bench.wait(20)
    assert bench.give(0, 100) == -inf
    assert bench.event.wait() == 10
    assert bench.wait(9.9) == -inf
    assert bench.wait(0.2) == 100
    assert not bench.event.disputed


def test_without_idle_a_source_is_waited_for_until_it_ends() -> None:
    bench = Bench(idle=None)
    bench.give(0, 100)
    assert bench.wait(10_000) == -inf
    assert bench.event.wait() == inf
    bench.sources[1].ended = True
    assert bench.event.look() == 100


def test_a_silent_source_that_speaks_again_does_not_turn_event_time_back() -> None:
    bench = Bench()
    bench.give(1, 1)
    bench.wait(20)
    bench.give(0, 100)
    assert bench.wait(15) == 100
    assert bench.give(1, 2) == 100
    assert bench.give(0, 200) == 100
    assert bench.give(1, 150) == 150


def test_an_ended_source_counts_until_all_it_gave_has_come() -> None:
    bench = Bench()
    on_the_way = bench.accept(bench.sources[1], 10, 20)
    bench.sources[1].ended = True
    assert bench.give(0, 100) == -inf
    bench.event.hear(on_the_way[:1])
    assert bench.event.advance([10], on_the_way[:1]) == 10
    bench.event.hear(on_the_way[1:])
    assert bench.event.advance([20], on_the_way[1:]) == 100


def test_an_ended_source_whose_last_values_were_filtered_out_counts_no_more() -> None:
    bench = Bench()
    bench.ledger.settle(bench.accept(bench.sources[1], 10), DELIVERED)
    bench.sources[1].ended = True
    assert bench.give(0, 100) == 100


def test_where_none_holds_event_time_the_furthest_tells() -> None:
    bench = Bench()
    bench.give(0, 100)
    bench.give(1, 50)
    assert bench.wait(31) == 100
    assert bench.event.wait() is None


def test_a_message_held_back_holds_its_source_alone() -> None:
    bench = Bench()
    bench.give(0, 10)
    bench.give(1, 5)
    (held,) = bench.accept(bench.sources[0], 20)
    bench.ledger.wait(held)
    assert bench.give(0, 30) == 5
    assert bench.give(1, 90) == 10
    assert bench.wait(100) == 10
    assert bench.event.wait() == 30
    bench.event.hear([held])
    assert bench.event.advance([20], [held]) == 30


def test_values_made_of_several_sources_are_of_all_of_them() -> None:
    bench = Bench()
    a, b = bench.accept(bench.sources[0], 1), bench.accept(bench.sources[1], 2)
    both = bench.ledger.merge([a, b])
    (other,) = bench.accept(bench.sources[0], 50)
    bench.event.hear([both, other])
    assert bench.event.advance([40, 50], [both, other]) == 40


def test_what_was_made_of_state_is_of_the_sources_of_its_step() -> None:
    class Box:
        def __init__(self, sources: Sequence[Source]) -> None:
            self.sources = sources

    bench = Bench()
    of_one = bench.accept(Box(bench.sources[:1]), 7)
    bench.event.hear(of_one)
    assert bench.event.advance([7], of_one) == -inf
    of_all = bench.accept(Box(bench.sources), 9)
    bench.event.hear(of_all)
    assert bench.event.advance([9], of_all) == 9


def test_it_goes_on_from_an_earlier_run() -> None:
    bench = Bench()
    bench.event = EventTime(Stage(bench.run, "", "here"), idle=30, watermark=60.0)
    assert bench.give(0, 100) == 60
    assert bench.give(1, 40) == 60
    assert bench.give(1, 80) == 80


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(-50, 50), min_size=1, max_size=3)), max_size=30),
    st.integers(0, 9),
)
def test_it_is_the_least_of_the_newest(sources: int, chunks: list[tuple[int, list[int]]], lateness: int) -> None:
    bench, newest, before = Bench(sources, lateness=lateness), [-inf] * sources, -inf
    for source, times in chunks:
        source %= sources
        newest[source] = max(newest[source], *times)
        watermark = bench.give(source, *times)
        assert watermark == min(newest) - lateness >= before
        before = watermark
