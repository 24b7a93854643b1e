from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import EncodeError, GraphError
from warren.core.graph import SinkConnection, SourceConnection
from warren.operators import (
    aggregate,
    batch,
    constant,
    count,
    deduplicate,
    filter,
    map,
    merge,
    retry,
    scan,
    tap,
    total,
    tumbling,
    window,
)
from warren.pipelines.given import Arrival
from warren.pipelines.trial import Ends
from warren.testing import Faults


class Order(msgspec.Struct):
    id: int


def test_values_go_through_the_codec_of_the_source() -> None:
    flow = memory.queue("in", Order) | map(lambda order: order.id) | memory.into([])
    result = Pipeline("p", flow).test([Order(1), {"id": 2}, b'{"id": 3}', b"{"])
    assert result.values == [1, 2, 3]
    assert [letter.value for letter in result.dead_letters["p.dead"]] == [b"{"]


def test_a_value_that_cannot_come_from_the_source_is_told() -> None:
    flow = memory.queue("in", Order) | memory.into([])
    with pytest.raises(EncodeError, match="a test value cannot come from memory:in"):
        Pipeline("p", flow).test([object()])


def test_nothing_given_nothing_comes() -> None:
    result = Pipeline("p", memory.items([5]) | batch(3) | memory.into([])).test([])
    assert (result.values, result.outcomes, result.elapsed) == ([], {}, 0)


def test_the_outcomes_are_counted_and_hours_take_no_time() -> None:
    def flaky(value: int) -> int:
        if value == 3:
            raise ConnectionError
        return value

    steps = filter(lambda x: x > 1) | map(flaky) | retry(constant("2h", attempts=2))
    result = Pipeline("p", memory.items([]) | steps | memory.into([])).test([1, 2, 3])
    assert result.outcomes == {"filtered": 1, "delivered": 1, "parked": 1, "dead-lettered": 1}
    assert result.elapsed == pytest.approx(7200, abs=1)


def test_every_source_of_a_merge_gives_the_values() -> None:
    flow = merge(memory.queue("a"), memory.queue("b")) | memory.into([])
    assert sorted(Pipeline("p", flow).test([1, 2]).values) == [1, 1, 2, 2]


def test_real_sources_and_sinks_are_left_alone() -> None:
    out: list[int] = []
    Pipeline("p", memory.items([9]) | memory.into(out)).test([1])
    assert out == []


def test_it_works_inside_a_running_loop_and_tells_errors_there() -> None:
    def gone(value: int) -> None:
        raise SystemExit(3)

    async def main() -> None:
        assert Pipeline("p", memory.items([]) | memory.into([])).test([1]).values == [1]
        with pytest.raises(SystemExit):
            Pipeline("p", memory.items([]) | tap(gone) | memory.into([])).test([1])

    asyncio.run(main())


def test_values_come_at_their_times() -> None:
    flow = memory.items([]) | batch(2, "3s") | memory.into([])
    result = Pipeline("p", flow).test("abc", at=["1s", 2.0, "1m"])
    assert result.values == [["a", "b"], ["c"]]
    assert result.elapsed == pytest.approx(60, abs=0.01)


def test_there_must_be_a_time_for_each_value() -> None:
    with pytest.raises(GraphError, match=r"pipeline 'p', test\(at=...\): 3 value\(s\) come at 1 time\(s\)"):
        Pipeline("p", memory.items([]) | memory.into([])).test("abc", at=[1])


def test_a_retry_that_is_due_before_the_next_value_comes_before_it() -> None:
    tries = iter([ConnectionError("gone")])
    seen: list[int] = []

    def flaky(value: int) -> int:
        seen.append(value)
        if error := next(tries, None):
            raise error
        return value

    flow = memory.items([]) | map(flaky) | retry(constant("2h")) | memory.into([])
    result = Pipeline("p", flow).test([1, 2], at=["0s", "9h"])
    assert (seen, result.values) == ([1, 1, 2], [1, 2])
    assert result.outcomes == {"parked": 1, "delivered": 2}


class Watch(Ends):
    """Notes everything that it is asked."""

    def __init__(self, refuses: bool = False) -> None:
        self.seen: list[Any] = []
        self.refuses = refuses

    def arrivals(self, source: str, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        self.seen.append(("arrivals", source, len(arrivals)))
        return [*arrivals, Arrival(0)]

    def source(self, name: str, connection: SourceConnection) -> SourceConnection:
        self.seen.append(("source", name))
        return super().source(name, connection)

    def sink(self, name: str, connection: SinkConnection, *, dead: bool) -> SinkConnection:
        self.seen.append(("sink", name, dead))
        return super().sink(name, connection, dead=dead)

    def finish(self, error: BaseException | None) -> None:
        self.seen.append(("finish", error))
        if self.refuses:
            raise AssertionError("not well")


def test_what_stands_around_the_ends_changes_them() -> None:
    watch = Watch()
    flow = memory.queue("in", int) | map(lambda value: 1 / value) | memory.into([])
    assert Pipeline("p", flow).test([1], faults=watch).values == [1.0]
    assert watch.seen == [
        ("sink", "memory.into", False),
        ("arrivals", "memory:in", 1),
        ("source", "memory:in"),
        ("sink", "p.dead", True),
        ("finish", None),
    ]


def test_what_stands_around_the_ends_has_the_last_word() -> None:
    with pytest.raises(AssertionError, match="not well"):
        Pipeline("p", memory.items([]) | memory.into([])).test([1], faults=Watch(refuses=True))

    def gone(value: int) -> None:
        raise SystemExit(3)

    watch = Watch()
    with pytest.raises(SystemExit):
        Pipeline("p", memory.items([]) | tap(gone) | memory.into([])).test([1], faults=watch)
    assert watch.seen[-1][0] == "finish" and watch.seen[-1][1] is not None


def test_a_trial_keeps_state_in_memory_and_touches_no_file(tmp_path: Path) -> None:
    path = tmp_path / "p.state"
    source, out = memory.queue("in", int), memory.queue("out")
    steps = window(tumbling("10s"), time=lambda n: n, lateness="1s") | aggregate(n=count(), sum=total())
    pipeline = Pipeline("p", source | deduplicate() | scan(lambda _, n: n, 0) | steps | out, state=path)
    for _ in range(2):
        trial = pipeline.test([1, 2, 11, 13, 25], faults=Faults().duplicate(every=2).drop_connection(nth=2))
        assert [(row["start"], row["n"], row["sum"]) for row in trial.values] == [(0, 2, 3), (10, 2, 24), (20, 1, 25)]
    assert list(tmp_path.iterdir()) == []


def test_in_a_trial_a_message_is_acknowledged_after_the_checkpoint(tmp_path: Path) -> None:
    counts = scan(lambda n, _: n + 1, 0)
    pipeline = Pipeline("p", memory.queue("in", str) | counts | memory.into([]), state=tmp_path / "p.state", checkpoint="1s")
    # When the connection is lost, the first message waits for its checkpoint, or had it; those that come again count once.
    for lost, values in ((0.5, [1, 2, 2, 2]), (2.0, [1, 2, 2])):
        trial = pipeline.test("ab", at=[0, lost], faults=Faults().drop_connection(nth=2))
        assert trial.values == values


def test_a_window_of_the_state_that_fails_is_a_dead_letter_in_a_trial() -> None:
    def refuse(window: object) -> None:
        raise ValueError("no")

    steps = window(tumbling("10s"), time=lambda n: n) | map(refuse)
    trial = Pipeline("p", memory.queue("in", int) | steps | memory.into([]), state=memory.state()).test([1, 2])
    assert [letter.value["values"] for letter in trial.dead_letters["p.dead"]] == [[1, 2]]
    assert trial.outcomes == {"delivered": 2, "dead-lettered": 1}
