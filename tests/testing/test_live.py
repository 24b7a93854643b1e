from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from warren import Pipeline, constant
from warren.analytics import Flows, Recorder
from warren.connectors import memory, sqlite
from warren.core.errors import AddressError, EncodeError, GraphError, PartialWriteError
from warren.core.graph import Outlet
from warren.core.message import Metadata, Outgoing
from warren.operators import map, merge, retry, route, scan
from warren.testing import fail, replay_live
from warren.testing.stored import Choice, stored

FULL = math.inf


def jsonl(folder: Path, *lines: dict[str, Any]) -> Path:
    file = folder / "orders.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def numbers(folder: Path, count: int = 6, step: float = 1.0, **fields: Any) -> Path:
    return jsonl(folder, *({"at": i * step, "value": i, **fields} for i in range(count)))


def kept(out: list[Any], step: Any = None) -> Pipeline:
    return Pipeline("p", memory.queue("in") | (step or map(lambda x: x)) | memory.into(out))


def test_without_sinks_results_are_counted_and_nothing_is_written(tmp_path: Path) -> None:
    out: list[Any] = []
    done = replay_live(kept(out, map(fail(nth=2)(str))), numbers(tmp_path), speed=FULL)
    assert (done.messages, dict(done.outcomes), out) == (6, {"delivered": 5, "dead-lettered": 1}, [])
    assert dict(done.outputs) == {"memory.into": 5, "p.dead": 1}
    assert done.samples["memory.into"] == ["0", "2", "3", "4", "5"] and len(done.samples["p.dead"]) == 1
    assert list(done.failures.items()) == [(("ConnectionError", "1:map(str)"), 1)]
    assert done.rate > 0


def test_messages_come_when_they_came_or_as_much_faster(tmp_path: Path) -> None:
    times: list[float] = []
    watched = kept([])
    done = replay_live(watched, numbers(tmp_path, 4, step=10.0), speed=100, observers=[Watch(times.append)])
    assert [round(later - times[0], 1) for later in times] == [0, 0.1, 0.2, 0.3]
    assert done.elapsed >= 0.3 and done.late < 0.1


class Watch:
    def __init__(self, told: Callable[[float], object]) -> None:
        self.told = told

    def open(self, pipeline: str) -> None: ...
    def close(self) -> None: ...
    def handled(self, *details: Any) -> None: ...
    def settled(self, delivery: Any, tokens: Any, outcome: Any, at: float) -> None:
        for _ in tokens:
            self.told(at)


def test_own_sinks_are_written_to_where_that_is_asked_for(tmp_path: Path) -> None:
    out: list[Any] = []
    file = str(tmp_path / "queues.db")
    pipeline = Pipeline("p", sqlite.queue(file, "in", int) | map(fail(nth=2)(str)) | memory.into(out))
    done = replay_live(pipeline, numbers(tmp_path), speed=FULL, to="own")
    assert out == ["0", "2", "3", "4", "5"]
    assert (dict(done.outputs), done.samples) == ({"memory.into": 5, "p.dead": 1}, {})
    letters: list[Any] = []
    Pipeline("look", sqlite.queue(file, "p.dead") | memory.into(letters)).run(until_empty=True)
    assert letters == [b"1"]


def test_all_results_can_go_to_one_place(tmp_path: Path) -> None:
    a, b, out = memory.queue("a"), memory.queue("b"), []  # type: ignore[var-annotated]
    pipeline = Pipeline("p", memory.items([]) | route(lambda x: x % 2, {0: a, 1: b}))
    done = replay_live(pipeline, numbers(tmp_path), speed=FULL, to=memory.into(out))
    assert (sorted(out), dict(done.outputs)) == ([0, 1, 2, 3, 4, 5], {"memory.into": 6})
    replay_live(pipeline, numbers(tmp_path), speed=FULL, to=f"sqlite://{tmp_path}/q.db?queue=x")
    Pipeline("look", sqlite.queue(str(tmp_path / "q.db"), "x", int) | memory.into(out)).run(until_empty=True)
    assert len(out) == 12
    with pytest.raises(AddressError, match="'nowhere' is not an address"):
        replay_live(pipeline, numbers(tmp_path), to="nowhere")


class Picky(Outlet[Any]):
    name = "picky"

    async def open(self) -> Any:
        return self

    async def write(self, messages: Outgoing) -> None:
        raise PartialWriteError({0: ValueError("no")})

    async def close(self) -> None: ...


def test_what_a_sink_refuses_does_not_count_as_written(tmp_path: Path) -> None:
    done = replay_live(kept([]), numbers(tmp_path, 2), speed=FULL, to=Picky())
    assert (done.outputs["picky"], done.outputs["p.dead"]) == (1, 1)


def test_the_state_of_the_pipeline_is_not_touched(tmp_path: Path) -> None:
    total = scan(lambda total, x: total + x, 0)
    pipeline = Pipeline("p", memory.items([]) | total | memory.into([]), state=tmp_path / "p.state")
    done = replay_live(pipeline, numbers(tmp_path), speed=FULL)
    assert done.samples["memory.into"] == [0, 1, 3, 6, 10]
    assert not (tmp_path / "p.state").exists()


def test_what_is_parked_comes_again_as_much_sooner(tmp_path: Path) -> None:
    steps = map(fail(nth=1)(str)) | retry(constant("1h"))
    done = replay_live(kept([], steps), numbers(tmp_path), speed=36_000)
    assert dict(done.outcomes) == {"delivered": 6, "parked": 1}
    assert done.messages == 6 and done.elapsed >= 0.1


def test_observers_see_the_flow_in_place_of_the_pipelines_own(tmp_path: Path) -> None:
    own: list[float] = []
    pipeline = kept([]).observed(Watch(own.append))
    replay_live(pipeline, numbers(tmp_path), speed=FULL, observers=[Recorder(tmp_path / "flows")])
    assert (own, Flows(tmp_path / "flows").summary()["messages"].to_list()) == ([], [6])


def test_each_of_several_sources_gets_its_own_with_what_is_known_of_it(tmp_path: Path) -> None:
    seen: list[Metadata] = []
    both = Pipeline("p", merge(memory.queue("x", str), memory.queue("y", str)) | memory.into([]))

    class Look(Watch):
        def settled(self, delivery: Any, tokens: Any, outcome: Any, at: float) -> None:
            seen.extend(delivery.batch.metadata(token - delivery.base) for token in tokens)

    lines = [
        {"at": 0, "value": "a", "source": "memory:x", "key": "k", "headers": {"h": "1"}, "id": "7"},
        {"at": 50, "body": "b", "source": "memory:y", "content_type": "text/plain"},
    ]
    done = replay_live(both, jsonl(tmp_path, *lines), speed=1000, observers=[Look(seen.append)])  # type: ignore[arg-type]
    assert done.outcomes == {"delivered": 2}
    assert [(each.id, each.key, each.headers, each.content_type) for each in seen] == [
        ("7", "k", {"h": "1"}, ""),
        ("0", None, {}, "text/plain"),
    ]
    assert seen[1].timestamp - seen[0].timestamp == pytest.approx(0.05)
    with pytest.raises(GraphError, match="recorded messages came from 'memory:z'"):
        replay_live(both, numbers(tmp_path, source="memory:z"))


def test_a_flow_without_payloads_reproduces_sizes(tmp_path: Path) -> None:
    source = memory.queue("in", str)
    Pipeline("p", source | memory.into([])).observed(Recorder(tmp_path)).test(["a", "long"])
    done = replay_live(kept([], map(len)), tmp_path, speed=FULL)
    assert done.samples["memory.into"] == [3, 6]
    with pytest.raises(GraphError, match=r"memory:in cannot decode bytes of the recorded sizes; say how to make a payload"):
        replay_live(Pipeline("p", memory.queue("in", dict) | memory.into([])), tmp_path)


def test_a_recording_that_was_looked_through_can_be_given(tmp_path: Path) -> None:
    assert replay_live(kept([]), stored(numbers(tmp_path), choice=Choice(limit=2)), speed=FULL).messages == 2


def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    for speed in (0, -1, math.nan, "fast"):
        with pytest.raises(GraphError, match=r"replay_live\(speed=.*\): give a number above 0"):
            replay_live(kept([]), numbers(tmp_path), speed=speed)  # type: ignore[arg-type]
    typed = Pipeline("p", memory.queue("in", int) | memory.into([]))
    with pytest.raises(EncodeError, match="pipeline 'p': a recorded value cannot come from memory:in"):
        replay_live(typed, numbers(tmp_path), value=lambda line: object())


def test_it_works_where_an_event_loop_runs(tmp_path: Path) -> None:
    async def main() -> int:
        return replay_live(kept([]), numbers(tmp_path), speed=FULL).messages

    assert asyncio.run(main()) == 6
