from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import EncodeError, GraphError
from warren.core.graph import SinkConnection, SourceConnection
from warren.operators import batch, constant, filter, map, merge, retry, tap
from warren.pipelines.given import Arrival
from warren.pipelines.trial import Ends


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
