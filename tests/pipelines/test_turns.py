"""Priorities of merged sources: who is read while there is less credit than messages."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.world import Queue, Recorded, virtually
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.graph import Source
from warren.core.message import Outgoing
from warren.operators import map, merge
from warren.pipelines.pipeline import Pipeline


async def nap(value: Any) -> Any:
    await asyncio.sleep(1)
    return value


def source(name: str, count: int, **options: Any) -> Queue:
    return Queue([(name, i) for i in range(count)], **options)


def taken(flow: Source[Any], credit: int) -> list[str]:
    """The names of the sources in the order their messages were read."""
    order: list[str] = []

    def note(value: Any) -> Any:
        order.append(value[0])
        return value

    async def main() -> None:
        await Pipeline("p", flow | map(note) | map(nap, concurrency=credit) | Recorded(), credit=credit).start()

    virtually(main)
    return order


@pytest.mark.parametrize("credit", [1, 2, 10, 64, 1000])
@pytest.mark.parametrize("chunk", [1, 1024])
def test_sources_are_read_by_their_shares_while_both_have_messages(credit: int, chunk: int) -> None:
    order = taken(merge(source("b", 900, chunk=chunk), source("a", 900, chunk=chunk), priorities=[1, 9]), credit)
    both = order[: len(order) - order[::-1].index("a")]
    assert Counter(order) == {"a": 900, "b": 900}
    assert both.count("b") <= 100 + 64
    if credit <= 10:
        assert both.count("b") == pytest.approx(100, abs=credit)
        for start in range(0, 900, 100):
            assert 5 <= order[start : start + 100].count("b") <= 20


def test_without_priorities_both_are_read_alike() -> None:
    order = taken(merge(source("b", 200), source("a", 200)), 10)
    assert 60 <= order[:200].count("b") <= 140


def test_one_that_has_nothing_holds_up_no_other() -> None:
    async def main() -> None:
        quiet = Queue([], live=True)
        out = Recorded()
        flow = merge(quiet, source("b", 100), priorities=[99, 1]) | map(nap, concurrency=10) | out
        running = Pipeline("p", flow, credit=10).start()
        await asyncio.sleep(10.5)
        assert len(out.values) == 100
        running.stop()
        await running

    virtually(main)


def test_what_comes_late_to_a_busy_pipeline_is_read_first_and_catches_up_on_nothing() -> None:
    broker = memory.Broker()
    high, low = memory.queue("high", str, broker=broker), memory.queue("low", str, broker=broker)
    order: list[tuple[float, str]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        connections = await high.open(), await low.open()

        async def note(value: str) -> str:
            order.append((loop.time(), value))
            await asyncio.sleep(1)
            return value

        await connections[1].write(Outgoing(["low"] * 400))
        flow = merge(high, low, priorities=[3, 1]) | map(note, concurrency=4) | memory.into([])
        running = Pipeline("p", flow, credit=4).start()
        await asyncio.sleep(50.5)
        await connections[0].write(Outgoing(["high"] * 100))
        await asyncio.sleep(30)
        running.stop()
        await running

    virtually(main)
    before, after = [v for at, v in order if at < 50.4], [v for at, v in order if 51.4 < at < 79]
    assert len(before) >= 200 and set(before) == {"low"}
    assert after.count("high") == pytest.approx(3 * after.count("low"), abs=8)
    assert any(v == "high" for at, v in order if at < 52.1)


def test_a_source_that_takes_a_while_to_read_keeps_its_share() -> None:
    async def slowly(what: str, *details: Any) -> None:
        if what == "receive":
            await asyncio.sleep(0.002)

    order = taken(merge(source("b", 400, hook=slowly), source("a", 400, hook=slowly), priorities=[1, 9]), 10)
    both = order[: len(order) - order[::-1].index("a")]
    assert both.count("b") <= 80


def test_shares_of_a_merge_within_a_merge() -> None:
    inner = merge(source("a", 300), source("b", 300), priorities=[2, 1])
    order = taken(merge(inner | map(lambda value: value), source("c", 300), priorities=[1, 1]), 6)
    first = Counter(order[:300])
    assert first["c"] == pytest.approx(150, abs=15)
    assert first["a"] == pytest.approx(100, abs=15)
    order = taken(merge(merge(source("a", 300), source("b", 300)), source("c", 300), priorities=[2, 1]), 6)
    assert Counter(order[:300])["a"] == pytest.approx(100, abs=15)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), min_size=1, max_size=4), st.integers(1, 40))
def test_every_message_is_read_once_and_no_source_waits_longer_than_its_share(
    given: Sequence[tuple[int, int]], credit: int
) -> None:
    sources = [source(str(i), count, chunk=1) for i, (count, _) in enumerate(given)]
    order = taken(merge(*sources, priorities=[weight for _, weight in given]), credit)
    assert Counter(order) == {str(i): count for i, (count, _) in enumerate(given) if count}
    whole = sum(weight for _, weight in given)
    for i, (count, weight) in enumerate(given):
        places = [-1, *(place for place, name in enumerate(order) if name == str(i))]
        if count:
            assert max(b - a for a, b in pairwise(places)) <= whole / weight + 2 * len(given)


@pytest.mark.parametrize("priorities", [[1], [1, 0], [1, -1], [1, True], [1, float("inf")], "ab", 3])
def test_priorities_that_mean_nothing_are_refused(priorities: Any) -> None:
    with pytest.raises(GraphError, match=r"give one number above zero for each of the 2 source\(s\)"):
        merge(source("a", 1), source("b", 1), priorities=priorities)


def test_the_shares_are_drawn() -> None:
    text = str(Pipeline("p", merge(source("a", 1), source("b", 1), priorities=[9, 0.5]) | Recorded()).explain())
    assert "read 9:0.5" in text
