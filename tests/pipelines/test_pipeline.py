from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.pipelines.world import Queue, Recorded, virtually
from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.operators import batch, map, route


def doubled() -> tuple[list[int], Pipeline]:
    out: list[int] = []
    return out, Pipeline("doubled", memory.items([1, 2]) | map(lambda x: x * 2) | memory.into(out))


def test_it_runs_any_number_of_times() -> None:
    out, pipeline = doubled()
    pipeline.run()
    pipeline.run()
    assert out in ([2, 4], [2, 4, 2, 4])


def test_it_cannot_be_changed() -> None:
    _, pipeline = doubled()
    with pytest.raises(AttributeError, match="pipeline 'doubled' is immutable"):
        pipeline.credit = 3
    assert repr(pipeline).startswith("Pipeline('doubled', ")


def test_run_inside_an_event_loop_says_what_to_do() -> None:
    _, pipeline = doubled()

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"use await pipeline.start\(\)"):
            pipeline.run()

    asyncio.run(main())


def test_it_starts_in_a_running_loop_and_can_be_awaited_by_several() -> None:
    queue, out = Queue(range(3), live=True), Recorded()

    async def main() -> None:
        running = Pipeline("p", queue | out).start()
        await asyncio.sleep(5)
        assert running.in_flight == 0
        running.stop()

        async def wait() -> None:
            await running

        await asyncio.gather(wait(), wait())

    virtually(main)
    assert out.values == [0, 1, 2]


def test_it_runs_in_a_thread_without_touching_signals() -> None:
    out, pipeline = doubled()
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    thread.join(10)
    assert out == [2, 4]


def test_it_runs_until_a_queue_is_empty_with_what_it_parked() -> None:
    queue = Queue(range(3), live=True)

    async def main() -> None:
        await Pipeline("p", queue | Recorded()).start(until_empty=True)

    virtually(main)
    assert queue.acknowledged == [0, 1, 2]


def test_observers_are_added_to_a_copy() -> None:
    class Observer:
        def __init__(self) -> None:
            self.calls: list[str] = []

        def open(self, pipeline: str) -> None:
            self.calls.append(f"open {pipeline}")

        def settled(self, delivery: Any, tokens: Any, outcome: Any, at: float) -> None:
            self.calls.append(f"{outcome.kind.name} {len(tokens)}")

        def handled(self, stage: str, taken: int, given: int, failed: int, *rest: Any) -> None:
            self.calls.append(f"{stage} {taken} {given} {failed}")

        def close(self) -> None:
            self.calls.append("close")

    observer = Observer()
    pipeline = Pipeline("p", memory.items([]) | map(lambda x: 1 / x) | memory.into([]))
    observed = pipeline.observed(observer)
    assert (pipeline.observers, observed.observers) == ((), (observer,))
    observed.test([0, 1, 2])
    assert observer.calls[0] == "open p"
    assert observer.calls[-1] == "close"
    assert "1:map(…) 3 2 1" in observer.calls
    assert sorted(call for call in observer.calls if call.isupper() or "ED " in call) == ["DEAD_LETTERED 1", "DELIVERED 2"]


SINK = memory.into([])
SOURCE = memory.items([])


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: Pipeline("", SOURCE | SINK), "give the pipeline a name"),
        (lambda: Pipeline("p", SOURCE | map(str)), r"what map\(str\) gives goes nowhere.*end the pipeline with a sink"),
        (lambda: Pipeline("p", SOURCE), "goes nowhere"),
        (lambda: Pipeline("p", map(str) | SINK), "reads nothing; put a source before it"),
        (lambda: Pipeline("p", SINK), "reads nothing; put a source before it"),
        (lambda: Pipeline("p", print), "is not a flow; compose it as source"),
        (lambda: SOURCE | len, r"wrap the function: map\(len\)"),
        (lambda: SOURCE | SOURCE, "a source starts a pipeline; join sources with merge"),
        (lambda: map(str) | 3, "compose sources, operators and sinks with"),
        (lambda: SINK | map(str), "a sink ends its branch"),
        (lambda: Pipeline("p", SOURCE | route(str, a=map(str))), "goes nowhere"),
        (lambda: Pipeline("p", SOURCE | batch(100) | SINK, credit=99), "give credit=100 or more"),
        (lambda: Pipeline("p", SOURCE | SINK, credit=0), "credit=0 must be a whole number of at least 1"),
        (lambda: Pipeline("p", SOURCE | SINK, credit=True), "credit=True must be a whole number"),
        (lambda: Pipeline("p", SOURCE | SINK, shutdown="soon"), "'soon' is not a duration"),
    ],
)
def test_what_cannot_work_is_refused_with_the_remedy(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
