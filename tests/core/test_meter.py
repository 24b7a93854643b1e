"""What a stage tells of its workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from warren import Pipeline
from warren.connectors import memory
from warren.core.graph import Operator
from warren.core.hooks import FlowObserver, Work, WorkObserver
from warren.core.meter import metered
from warren.core.receipt import Delivery, Outcome
from warren.operators import enrich, map


class Watch:
    """An observer as they were before there was anything to tell of workers."""

    def __init__(self) -> None:
        self.settles = 0

    def open(self, pipeline: str) -> None: ...

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome, at: float) -> None:
        self.settles += len(tokens)

    def handled(self, *details: Any) -> None: ...

    def close(self) -> None: ...


class WorkWatch(Watch):
    """One that wants to know."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, Work, float, float]] = []

    def worked(self, stage: str, work: Work, start: float, end: float) -> None:
        self.told.append((stage, work, start, end))

    def of(self, name: str) -> list[tuple[Work, float, float]]:
        return [(work, start, end) for stage, work, start, end in self.told if name in stage]


class FakeRun:
    """A run with a clock that is turned by hand."""

    def __init__(self, *observers: FlowObserver) -> None:
        self.observers = observers
        self.now = 100.0
        self.closes: list[Callable[[], None]] = []

    def clock(self) -> float:
        return self.now

    def on_close(self, close: Callable[[], None]) -> None:
        self.closes.append(close)


def test_what_workers_do_is_added_up() -> None:
    watch = WorkWatch()
    run: Any = FakeRun(watch)
    meter = metered(run, "1:map", 2)
    meter.queue(3)
    began = meter.begin()
    meter.begin()
    run.now += 0.2
    meter.end(began)
    assert not watch.told
    run.now += 0.1
    meter.begin()
    assert watch.told == [
        ("1:map", Work(2, 1, 1, pytest.approx(0.5), pytest.approx(0.8), pytest.approx(0.2)), 100.0, run.now)
    ]


def test_no_more_workers_are_busy_than_there_are() -> None:
    watch = WorkWatch()
    run: Any = FakeRun(watch)
    meter = metered(run, "1:map", 1)
    meter.queue(6)
    calls = [meter.begin(3), meter.begin(3)]
    run.now += 1
    meter.end(calls[0], 3, timed=False)
    run.now += 1
    meter.end(calls[1], 3, timed=False)
    run.closes[0]()
    assert sum(work.busy for _, work, _, _ in watch.told) == pytest.approx(2)
    assert sum(work.served for _, work, _, _ in watch.told) == 6
    assert all(work.service is None for _, work, _, _ in watch.told)


def test_a_clock_that_is_turned_back_tells_nothing_wrong() -> None:
    watch = WorkWatch()
    run: Any = FakeRun(watch)
    meter = metered(run, "1:map", 1)
    meter.queue(1)
    began = meter.begin()
    run.now -= 50
    meter.end(began)
    run.now += 0.1
    run.closes[0]()
    ((_, work, start, end),) = watch.told
    assert (start, end) == (50.0, 50.1)
    assert (work.busy, work.served) == (0, 1)


def test_nothing_is_told_of_idle_workers() -> None:
    watch = WorkWatch()
    run: Any = FakeRun(watch)
    meter = metered(run, "1:map", 1)
    run.now += 60
    run.closes[0]()
    assert not watch.told
    run.now += 60
    meter.queue(1)
    assert not watch.told


def test_an_observer_that_does_not_ask_is_not_told() -> None:
    watch = Watch()
    assert isinstance(watch, FlowObserver)
    assert not isinstance(watch, WorkObserver)
    flow = memory.items([]) | map(late) | memory.into([])
    Pipeline("p", flow, observers=[watch]).test(range(3))
    assert watch.settles == 3


async def late(value: Any) -> Any:
    await asyncio.sleep(0.5)
    return value


async def looked_up(keys: list[Any]) -> list[Any]:
    await asyncio.sleep(0.5)
    return keys


def told(step: Operator[Any, Any], count: int, **options: Any) -> WorkWatch:
    watch = WorkWatch()
    flow = memory.queue("in") | step | memory.queue("out")
    Pipeline("p", flow, observers=[watch]).test(range(count), **options)
    return watch


def test_an_asynchronous_map() -> None:
    rows = told(map(late, concurrency=2), 6).of("map")
    assert sum(work.served for work, _, _ in rows) == 6
    assert sum(work.busy for work, _, _ in rows) == pytest.approx(3.0)
    assert sum(work.stayed for work, _, _ in rows) == pytest.approx(2 * (0.5 + 1.0 + 1.5))
    assert [work.waiting for work, _, _ in rows] == [4, 2, 0, 0]
    assert {work.workers for work, _, _ in rows} == {2}
    assert rows[-1][0].service == pytest.approx(0.5)


def test_lookups_of_several_messages() -> None:
    rows = told(enrich(looked_up, key=lambda value: value, into=lambda value, found: found, batch=4, concurrency=1), 8).of(
        "enr"
    )
    assert sum(work.served for work, _, _ in rows) == 8
    assert sum(work.busy for work, _, _ in rows) == pytest.approx(1.0)
    assert rows[-1][0].service == pytest.approx(0.125)


def test_a_call_that_fails_is_over() -> None:
    async def broken(value: Any) -> Any:
        await asyncio.sleep(0.5)
        raise ValueError

    rows = told(map(broken, concurrency=4), 4).of("map")
    assert sum(work.served for work, _, _ in rows) == 4
    assert rows[-1][0].waiting == 0


def test_a_pool() -> None:
    rows = told(map(abs, executor="thread", workers=2), 100).of("map")
    assert sum(work.served for work, _, _ in rows) == 100
    assert rows[-1][0].waiting == 0
    assert rows[-1][0].service is None


def test_the_wait_for_a_source_and_the_want_of_credit() -> None:
    watch = WorkWatch()
    flow = memory.queue("in") | map(late, concurrency=1) | memory.queue("out")
    Pipeline("p", flow, observers=[watch], credit=1).test(range(4), at=[10, 10, 10, 10])
    rows = watch.of("0:")
    assert sum(work.busy for work, _, _ in rows) == pytest.approx(10)
    assert sum(work.blocked or 0 for work, _, _ in rows) == pytest.approx(2.0)
    assert sum(work.served for work, _, _ in rows) == 4
    assert all(start <= end for _, start, end in rows)
    assert {work.blocked for work, _, _ in watch.of("1:")} == {None}


def test_a_sink() -> None:
    rows = told(map(late, concurrency=4), 8).of("memory:out")
    assert sum(work.served for work, _, _ in rows) == 8
    assert {work.workers for work, _, _ in rows} == {1}
