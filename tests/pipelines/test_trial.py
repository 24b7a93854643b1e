from __future__ import annotations

import asyncio

import msgspec
import pytest

from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import EncodeError
from warren.operators import batch, constant, filter, map, merge, retry, tap


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
