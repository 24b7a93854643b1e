"""What limits a pipeline."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.bottlenecks import claims, named
from tests.analytics.feeding import NOW
from warren import Pipeline
from warren.analytics import Bottleneck, Flows, Recorder, bottleneck, limits, render_bottlenecks
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.graph import SinkConnection
from warren.core.hooks import Work
from warren.core.message import Outgoing
from warren.operators import map
from warren.pipelines.trial import Ends

OLD = Path(__file__).parent / "old"


def test_the_slow_stage_of_random_pipelines_is_named_after_ten_seconds() -> None:
    found = {seed: named(seed) for seed in range(5000, 5012)}
    wrong = [seed for seed, (drawn, limit) in found.items() if limit is None or limit.stage != drawn.slow.name]
    assert len(wrong) <= 1, wrong


def test_nothing_is_named_where_nothing_is_slow() -> None:
    _, hours, wrong = claims(5000)
    assert (hours > 0.1, wrong) == (True, [])


class Fed:
    """A recording of one pipeline, second by second."""

    def __init__(self, folder: Path, name: str = "orders", start: float = NOW) -> None:
        self.recorder = Recorder(folder)
        self.recorder.open(name)
        self.start = start
        self.flows = Flows(folder)

    def seconds(self, count: int, *, idle: float = 0.0, depth: int | None = None, **stages: Any) -> Fed:
        """Have so many seconds pass; a stage is a share of the thread, or the numbers of its workers."""
        for second in range(count):
            at = self.start + second
            blocked = 0.0 if "credit" not in stages else 1 - idle
            source = Work(1, 0, 10, idle, 0.0, None, blocked)
            self.recorder.worked("0:in", source, at, at + 1)
            self.recorder.handled("0:in", 10, 10, 0, at, at, 50, depth)
            for number, (stage, told) in enumerate((each for each in stages.items() if each[0] != "credit"), 1):
                name = stage if stage.startswith("out") else f"{number}:{stage}"
                if isinstance(told, float):
                    self.recorder.handled(name, 10, 10, 0, at, at + told, 50, None)
                    continue
                workers, busy, waiting = told
                if name != stage:
                    self.recorder.handled(name, 10, 10, 0, at, at, 50, None)
                here = waiting + busy * (10 if name == stage else 1)
                self.recorder.worked(
                    name, Work(workers, waiting + (second if waiting > 10 else 0), 10, busy, here, busy / 10), at, at + 1
                )
        self.start += count
        return self

    def done(self) -> Flows:
        self.recorder.close()
        return self.flows


def limit(flows: Flows, **options: Any) -> Bottleneck:
    found = bottleneck(flows, "orders", **options)
    assert found is not None
    return found


def test_busy_workers(tmp_path: Path) -> None:
    found = limit(Fed(tmp_path).seconds(20, map=(32, 31.0, 400), clean=0.41).done())
    assert str(found) == (
        "1:map limits 'orders': it is busy 97 % of the time at 32 at once, and 410 message(s) wait for it; "
        "next is 2:clean at 41 %; 2.3 times the rate would pass without it."
    )
    assert (found.pipeline, found.stage, found.cause) == ("orders", "1:map", "workers")
    assert found.utilisation == pytest.approx(31 / 32)
    assert found.share == pytest.approx(1, abs=0.05)
    assert found.evidence.columns == [
        *("stage", "served", "service_ms", "service_p95_ms", "thread", "concurrency", "utilisation", "waiting", "share")
    ]
    row = found.evidence.row(by_predicate=pl.col("stage") == "1:map", named=True)
    assert (row["served"], row["concurrency"]) == (200, 32)
    assert (row["service_ms"], row["service_p95_ms"]) == (pytest.approx(3100), pytest.approx(3100))


def test_the_one_thread(tmp_path: Path) -> None:
    found = limit(Fed(tmp_path).seconds(20, parse=0.7, clean=0.25).done())
    assert found.cause == "thread"
    assert str(found) == (
        "1:parse limits 'orders': the one thread of the process is busy 95 % of the time, 70 % in this step; "
        "next is 2:clean at 25 %; 3.8 times the rate would pass without it."
    )


def test_a_sink(tmp_path: Path) -> None:
    found = limit(Fed(tmp_path).seconds(20, map=(8, 2.0, 0), out=(1, 0.95, 50)).done())
    assert (found.stage, found.cause) == ("out", "sink")
    assert "out limits 'orders': it is busy 95 % of the time at 1 at once" in str(found)


def test_a_source(tmp_path: Path) -> None:
    found = limit(Fed(tmp_path).seconds(20, idle=0.9, depth=500, map=0.1).done())
    assert str(found) == (
        "0:in limits 'orders': messages wait there, and reading them takes 90 % of the time; next is 1:map at 10 %; "
        "9.0 times the rate would pass without it."
    )


def test_one_key(tmp_path: Path) -> None:
    found = limit(Fed(tmp_path).seconds(20, map=(32, 1.0, 400)).done())
    assert (found.stage, found.cause) == ("1:map", "key")
    assert "410 message(s) wait for it, though it is busy only 3 % of the time at 32 at once" in str(found)


def test_credit(tmp_path: Path) -> None:
    found = limit(Fed(tmp_path).seconds(20, credit=True, map=(32, 4.0, 0)).done())
    assert str(found) == (
        "credit limits 'orders': it is used up 100 % of the time, and no step is busy; raise Pipeline(credit=...); "
        "next is 1:map at 12 %; 8.0 times the rate would pass without it."
    )


def test_nothing(tmp_path: Path) -> None:
    flows = Fed(tmp_path).seconds(20, idle=0.95, map=(8, 7.5, 3), parse=0.3, out=(1, 0.98, 5)).done()
    assert bottleneck(flows) is None
    assert limits(flows)["stage"].to_list() == [None] * limits(flows).height
    (text,) = shown(flows)
    assert text == "Nothing limits 'orders': it passes all that comes."


def shown(flows: Flows) -> Sequence[str]:
    group: Any = render_bottlenecks(flows)
    return [str(each) for each in group.renderables if hasattr(each, "plain")]


def test_part_of_the_time(tmp_path: Path) -> None:
    fed = Fed(tmp_path).seconds(60, idle=0.95, map=(8, 2.0, 0)).seconds(20, map=(8, 8.0, 300))
    flows = fed.done()
    found = limit(flows)
    assert found.during == 0.25
    assert str(found).startswith("1:map limits 'orders', 25 % of the time: it is busy 100 % of the time at 8 at once")
    calm = datetime.fromtimestamp(NOW + 60, UTC)
    assert bottleneck(flows, until=calm) is None
    assert limit(flows, since=calm).during == 1
    assert limit(flows, since=calm.replace(tzinfo=None)).during == 1
    table = limits(flows, "20s")
    assert table["stage"].to_list()[-1] == "1:map"
    assert table["stage"].drop_nulls().len() in (1, 2)
    assert table["at"].to_list()[0] == datetime.fromtimestamp(NOW // 20 * 20, UTC)


def test_the_pipeline_that_is_limited_most_is_told(tmp_path: Path) -> None:
    Fed(tmp_path, "calm").seconds(20, idle=0.9, map=0.1).done()
    flows = Fed(tmp_path, "busy").seconds(20, map=(8, 8.0, 300)).done()
    found = bottleneck(flows)
    assert found is not None
    assert found.pipeline == "busy"
    assert limits(flows)["pipeline"].unique().sort().to_list() == ["busy", "calm"]
    assert [text.split(":")[0] for text in shown(flows)] == ["1", "Nothing limits 'calm'"]


def test_two_processes_have_two_threads(tmp_path: Path) -> None:
    one, other = Fed(tmp_path), Fed(tmp_path)
    one.seconds(20, idle=0.3, parse=0.6, map=(4, 2.0, 0))
    other.seconds(20, idle=0.3, parse=0.6, map=(4, 2.0, 0))
    one.done()
    flows = other.done()
    assert bottleneck(flows) is None
    table = flows.utilisation("1m").filter(pl.col("stage").str.contains("map"))
    assert table["utilisation"].sum() == pytest.approx(2 * 0.5 * 20 / 60)


def test_a_pipeline_that_changed_shape(tmp_path: Path) -> None:
    fed = Fed(tmp_path).seconds(20, map=(8, 8.0, 300)).seconds(40, parse=0.1, load=(2, 2.0, 400), **{"rest/x:y": 0.2})
    found = limit(fed.done())
    assert found.stage == "2:load"
    assert "1:map" not in found.evidence["stage"].to_list()


def test_a_gap(tmp_path: Path) -> None:
    fed = Fed(tmp_path).seconds(20, map=(8, 8.0, 300))
    fed.start += 86_400
    found = limit(fed.seconds(20, map=(8, 8.0, 300)).done())
    assert (found.stage, found.during) == ("1:map", 1.0)


def test_too_little_to_tell(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.open("orders")
    recorder.handled("1:map", 1, 1, 0, NOW, NOW, 1, None)
    recorder.close()
    flows = Flows(tmp_path)
    assert bottleneck(flows, "orders") is None
    assert limits(flows).height == 1


def test_a_clock_that_was_turned_back(tmp_path: Path) -> None:
    fed = Fed(tmp_path).seconds(20, map=(8, 8.0, 300))
    fed.recorder.handled("1:map", 1, 1, 0, NOW + 30, NOW + 5, 1, None)
    assert limit(fed.done()).stage == "1:map"


def test_no_flows(tmp_path: Path) -> None:
    flows = Flows(tmp_path)
    assert bottleneck(flows) is None
    assert bottleneck(flows, "unknown") is None
    assert limits(flows).is_empty()
    assert limits(flows).schema == limits(Fed(tmp_path).seconds(2, map=0.1).done()).schema
    with pytest.raises(GraphError, match=r"every='0s'.*longer than nothing"):
        limits(flows, "0s")
    with pytest.raises(GraphError, match="'soon' is not a duration"):
        limits(flows, "soon")


def test_recordings_of_before(tmp_path: Path) -> None:
    assert bottleneck(Flows(OLD)) is None


def test_steps_inside_of_steps_count_once(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.open("orders")
    for second in range(20):
        at = NOW + second
        recorder.worked("0:in", Work(1, 0, 100, 0.0, 0.0, None, 0.0), at, at + 1)
        recorder.handled("2.row/1:map", 100, 100, 0, at, at + 0.95, 100, None)
        recorder.handled("2:for_each", 100, 100, 0, at, at + 0.96, 100, None)
    recorder.close()
    found = limit(Flows(tmp_path))
    assert (found.stage, found.cause) == ("2.row/1:map", "thread")
    assert found.utilisation == pytest.approx(0.96)


class SlowWrites(Ends):
    """Writes that take a time, however much is written."""

    def sink(self, name: str, connection: SinkConnection, *, dead: bool) -> SinkConnection:
        return Slow(connection)


class Slow:
    def __init__(self, connection: SinkConnection) -> None:
        self.connection = connection

    async def write(self, messages: Outgoing) -> None:
        await asyncio.sleep(0.5)
        await self.connection.write(messages)

    async def close(self) -> None:
        await self.connection.close()


def test_a_sink_that_writes_what_has_come_meanwhile_limits_nothing(tmp_path: Path) -> None:
    pipeline = Pipeline("orders", memory.queue("in") | map(abs) | memory.queue("out"), observers=[Recorder(tmp_path)])
    pipeline.test(range(6000), at=[i / 100 for i in range(6000)], faults=SlowWrites())
    flows = Flows(tmp_path)
    assert flows.utilisation("1m").filter(pl.col("stage") == "memory:out")["utilisation"].max() > 0.9
    assert bottleneck(flows) is None


def test_values_that_wait_for_their_key(tmp_path: Path) -> None:
    async def late(value: int) -> int:
        await asyncio.sleep(0.1)
        return value

    flow = memory.queue("in") | map(late, concurrency=16, order_by=lambda value: value % 2) | memory.queue("out")
    Pipeline("orders", flow, credit=200, observers=[Recorder(tmp_path)]).test(range(400))
    found = limit(Flows(tmp_path))
    assert (found.stage, found.cause) == ("1:map(late)", "key")


def recorded(folder: Path, steps: Any, count: int) -> Bottleneck:
    """A pipeline in real time, for about two seconds."""
    flow = memory.items(range(count)) | steps | memory.into([])
    Pipeline("real", flow, credit=64, observers=[Recorder(folder)]).run()
    found = bottleneck(Flows(folder))
    assert found is not None
    return found


def test_a_blocking_step_in_real_time(tmp_path: Path) -> None:
    async def quick(value: int) -> int:
        await asyncio.sleep(0.01)
        return value

    def blocking(value: int) -> int:
        time.sleep(0.01)  # what it does with its time is the point
        return value

    found = recorded(tmp_path, map(quick, concurrency=64) | map(blocking), 250)
    assert (found.stage, found.cause) == ("2:map(blocking)", "thread"), str(found)


def test_an_asynchronous_step_in_real_time(tmp_path: Path) -> None:
    async def slow(value: int) -> int:
        await asyncio.sleep(0.02)
        return value

    found = recorded(tmp_path, map(math.sqrt) | map(slow, concurrency=2) | map(math.floor), 250)
    assert (found.stage, found.cause) == ("2:map(slow)", "workers"), str(found)
    assert found.gain > 2


def test_what_is_named_after_ten_seconds_does_not_look_ahead(tmp_path: Path) -> None:
    flows = Fed(tmp_path).seconds(12, idle=0.9, map=0.1).seconds(60, map=(8, 8.0, 300)).done()
    assert bottleneck(flows, until=datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=12)) is None
