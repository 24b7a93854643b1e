"""What is told of a pipeline, and what a dashboard makes of it; in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from warren import Pipeline, exponential
from warren.analytics import Flows, Recorder, bottleneck
from warren.apps.dashboard.figures import bottleneck_of, edges_of, nodes_of
from warren.apps.dashboard.graph import graph_of
from warren.apps.dashboard.hub import Hub
from warren.apps.dashboard.reporting import Reporting
from warren.apps.dashboard.snapshot import Snapshot, read, written
from warren.connectors import memory, sqlite
from warren.core.errors import GraphError
from warren.core.health import Health
from warren.operators import batch, broadcast, circuit_breaker, dead_letter, map, merge, retry, route


class Kept:
    """Keeps reports, as they would come over a broker."""

    threaded = False

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.closed = False

    async def send(self, snapshot: Snapshot) -> None:
        self.snapshots.append(read(written(snapshot)))

    async def close(self) -> None:
        self.closed = True


async def ask(value: int) -> int:
    await asyncio.sleep(0.1)
    return value


def refuse(value: int) -> int:
    if value % 2:
        raise ValueError(value)
    return value


def told(flow: Any, values: int, a_second: float, **options: Any) -> tuple[Pipeline, list[Snapshot]]:
    pipeline, kept = Pipeline("shop", flow, **options), Kept()
    seen = pipeline.observed(Reporting(graph_of(pipeline), kept))
    seen.test(range(values), at=[number / a_second for number in range(values)])
    assert kept.closed and kept.snapshots[-1].last
    return pipeline, kept.snapshots


def view(snapshots: list[Snapshot], upto: int) -> dict[str, Any]:
    """What a dashboard shows after so many reports, one a second."""
    now = 0.0
    hub = Hub(clock=lambda: now)
    for snapshot in snapshots[:upto]:
        now = snapshot.at
        hub.take(snapshot)
        hub.tick()
    return hub.pipes["shop"].view


def test_every_message_is_counted_once() -> None:
    _, snapshots = told(memory.items([]) | map(refuse) | memory.into([]), 1000, 100)
    assert len(snapshots) in (10, 11)
    assert [each.number for each in snapshots] == list(range(1, len(snapshots) + 1))
    assert sum(each.received for each in snapshots) == 1000
    ended = {kind: sum(each.ended.get(kind, 0) for each in snapshots) for kind in ("delivered", "dead_lettered")}
    assert ended == {"delivered": 500, "dead_lettered": 500}
    assert sum(sum(each.latencies.values()) for each in snapshots) == 1000
    assert sum(each.letters.get("ValueError", 0) for each in snapshots) == 500
    assert sum(each.dead.get("shop.dead", 0) for each in snapshots) == 500
    assert all(0.9 < each.seconds < 1.1 for each in snapshots[:-1])


def test_rates_times_and_states_are_those_of_the_pipeline() -> None:
    flow = memory.items([]) | map(ask, concurrency=20) | map(refuse) | memory.into([])
    shown = view(told(flow, 1000, 100)[1], 8)
    nodes = shown["nodes"]
    assert nodes["1:map(ask)"]["rate"] == pytest.approx(100, rel=0.1)
    assert nodes["1:map(ask)"]["took"] == pytest.approx(0.1, rel=0.1)
    assert nodes["1:map(ask)"]["busy"] == pytest.approx(0.5, abs=0.1)
    assert nodes["1:map(ask)"]["workers"] == 20 and nodes["1:map(ask)"]["state"] == "ok"
    assert nodes["2:map(refuse)"]["failed"] == pytest.approx(50, rel=0.1)
    assert nodes["2:map(refuse)"]["state"] == "failing"
    assert nodes["letters:shop.dead"]["rate"] == pytest.approx(50, rel=0.1)
    rates = [edge["rate"] for edge in shown["edges"]]
    assert rates == pytest.approx([100, 100, 50, 50], rel=0.15)
    assert shown["state"] == "failing"
    assert shown["point"]["p50"] == pytest.approx(0.1, rel=0.2)


def test_the_bottleneck_is_the_one_that_the_recording_tells(tmp_path: Path) -> None:
    pipeline, kept = Pipeline("shop", memory.items([]) | map(ask, concurrency=2) | memory.into([])), Kept()
    seen = pipeline.observed(Reporting(graph_of(pipeline), kept), Recorder(tmp_path / "flows"))
    seen.test(range(900), at=[number / 30 for number in range(900)])
    recorded = bottleneck(Flows(tmp_path / "flows"))
    found = bottleneck_of("shop", [kept.snapshots[10:20]])
    assert recorded is not None and found is not None
    assert (found.stage, found.cause) == (recorded.stage, recorded.cause) == ("1:map(ask)", "workers")
    assert found.utilisation == pytest.approx(1, abs=0.05)
    shown = view(kept.snapshots, 15)
    assert shown["limit"]["stage"] == "1:map(ask)" and shown["limit"]["text"].startswith("map(ask) limits 'shop'")
    assert shown["nodes"]["1:map(ask)"]["state"] == shown["state"] == "strained"
    assert shown["nodes"]["1:map(ask)"]["waiting"] > 100


def test_workers_are_added_up() -> None:
    pipeline, snapshots = told(memory.items([]) | map(ask, concurrency=20) | memory.into([]), 1000, 100)
    graph, three = graph_of(pipeline), snapshots[4:7]
    one, two = (nodes_of(graph, [three] * many, None)["1:map(ask)"] for many in (1, 2))
    assert two["rate"] == pytest.approx(2 * one["rate"]) and two["workers"] == 40
    assert (two["took"], two["busy"]) == pytest.approx((one["took"], one["busy"]))
    assert bottleneck_of("shop", [three, three]) is None
    assert edges_of(graph, nodes_of(graph, [], None))[0]["rate"] == 0


def test_an_open_circuit_is_a_failing_step() -> None:
    def fail(value: int) -> int:
        raise ConnectionError(value)

    flow = memory.items([]) | circuit_breaker(map(fail), failures=3, cooldown="1h") | memory.into([])
    shown = view(told(flow, 500, 100)[1], 4)
    (broken,) = [node for node in shown["nodes"].values() if node["breaker"]]
    assert (broken["breaker"], broken["state"]) == ("open", "failing")


def test_who_does_not_speak_is_silent_and_forgotten_later() -> None:
    now = 100.0
    hub = Hub(clock=lambda: now)
    hub.take(Snapshot("shop", "w", 1, now, 1.0, received=5))
    hub.tick()
    assert hub.pipes["shop"].view["state"] == "ok"
    now += 6
    hub.tick()
    assert hub.pipes["shop"].view["state"] == "silent"
    assert [worker["state"] for worker in hub.pipes["shop"].view["workers"]] == ["silent"]
    now += 60
    hub.tick()
    assert hub.pipes["shop"].view["workers"] == []


def test_one_that_ended_does_not_make_others_silent() -> None:
    now = 100.0
    hub = Hub(clock=lambda: now)
    hub.take(Snapshot("shop", "a", 1, now, 1.0, last=True))
    hub.take(Snapshot("shop", "b", 1, now, 1.0, received=5))
    hub.tick()
    assert hub.pipes["shop"].view["state"] == "ok"
    hub.take(Snapshot("shop", "b", 2, now, 1.0, last=True))
    hub.tick()
    assert hub.pipes["shop"].view["state"] == "ended"


def test_reports_that_come_twice_late_or_from_a_wrong_clock_change_nothing() -> None:
    now = 1000.0
    hub = Hub(clock=lambda: now)
    for number in (2, 2, 1):
        hub.take(Snapshot("shop", "w", number, now, 1.0, letters={"ValueError": 1}))
    hub.take(Snapshot("shop", "late", 1, now - 60, 1.0))
    hub.take(Snapshot("shop", "early", 1, now + 3600, 1.0))
    hub.tick()
    assert list(hub.pipes["shop"].workers) == ["w"]
    assert hub.pipes["shop"].view["letters"] == {"ValueError": 1}
    assert [notice.split(" are ")[0] for notice in hub.notices] == ["reports of late", "reports of early"]


def test_what_is_not_live_is_failing_and_what_is_not_ready_strained() -> None:
    for health, state in ((Health(name="shop", live=False), "failing"), (Health(name="shop", ready=False), "strained")):
        hub = Hub(clock=lambda: 1.0)
        hub.take(Snapshot("shop", "w", 1, 1.0, 1.0, health=health))
        hub.tick()
        assert hub.pipes["shop"].view["state"] == state


def test_the_graph_has_the_names_that_observers_are_told() -> None:
    eu: Any = map(refuse) | batch(5, "1s") | memory.queue("eu")
    us: Any = broadcast(a=map(ask) | memory.queue("us"), b=memory.queue("all"))
    sources: Any = merge(memory.queue("a", int) | map(refuse), memory.queue("b", int))
    flow: Any = (
        sources
        | map(refuse)
        | retry(exponential("1s", attempts=2))
        | route(lambda n: n % 3, {0: eu, 1: us}, default=dead_letter("x"))
    )
    pipeline, kept = Pipeline("shop", flow), Kept()
    graph = graph_of(pipeline)
    pipeline.observed(Reporting(graph, kept)).test(range(300), at=[n / 100 for n in range(300)])
    ids = {node.id for node in graph.nodes}
    seen = {did.stage for each in kept.snapshots for did in (*each.chunks, *each.work)}
    assert seen <= ids, seen - ids
    assert {edge.source for edge in graph.edges} | {edge.target for edge in graph.edges} == ids
    assert {node.queue for node in graph.nodes if node.queue} == {"a", "b", "eu", "us", "all", "x", "shop.dead"}


@pytest.mark.parametrize("every", ["0s", 0])
def test_what_cannot_be_is_refused(every: Any) -> None:
    with pytest.raises(GraphError, match="give a time above 0"):
        Reporting(graph_of(Pipeline("p", memory.items([]) | memory.into([]))), Kept(), every=every)


def test_one_pipeline_that_runs_twice_is_refused(tmp_path: Path) -> None:
    pipeline = Pipeline("p", sqlite.queue(tmp_path / "q.db", "q") | memory.into([]))
    kept = Kept()
    pipeline = pipeline.observed(Reporting(graph_of(pipeline), kept, every="10ms"))

    async def main() -> None:
        first, second = pipeline.start(), pipeline.start()
        with pytest.raises(GraphError, match="reports already"):
            await second
        reports = len(kept.snapshots)
        async with asyncio.timeout(20):
            while len(kept.snapshots) < reports + 3:
                await first.health()
                await asyncio.sleep(0.01)
        first.stop()
        await first

    asyncio.run(main())
