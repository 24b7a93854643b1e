from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from warren import Pipeline, constant
from warren.analytics import Recorder
from warren.connectors import memory
from warren.core.errors import GraphError, StorageError
from warren.operators import batch, map, merge, retry
from warren.pipelines.given import Arrival
from warren.testing import Faults, Tape, fail, recorded, replay
from warren.testing.recording import Recording


class Order(msgspec.Struct):
    id: int


def pairs(name: str = "p") -> Pipeline:
    return Pipeline(name, memory.items([]) | batch(2, "5s") | memory.into([]))


def jsonl(folder: Path, *lines: Mapping[str, Any]) -> Path:
    file = folder / "orders.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_lines_are_replayed_with_their_pauses(tmp_path: Path) -> None:
    file = jsonl(tmp_path, {"at": 100, "value": "a"}, {"at": 103, "value": "b"}, {"at": 110, "value": "c"})
    trial = replay(pairs(), file)
    assert trial.values == [["a", "b"], ["c"]]
    assert trial.elapsed == pytest.approx(10, abs=0.01)


@pytest.mark.parametrize(("speed", "expected"), [(1, [["a"], ["b"]]), (10, [["a", "b"]]), (0.5, [["a"], ["b"]])])
def test_the_speed_changes_the_pauses(tmp_path: Path, speed: float, expected: list[list[str]]) -> None:
    file = jsonl(tmp_path, {"at": 0, "value": "a"}, {"at": 8, "value": "b"})
    trial = replay(pairs(), file, speed=speed)
    assert trial.values == expected
    assert trial.elapsed == pytest.approx(8 / speed, abs=0.01)


def test_times_may_be_written_as_people_do_and_in_any_order(tmp_path: Path) -> None:
    file = jsonl(
        tmp_path,
        {"at": "2026-01-01T00:00:09Z", "value": "b"},
        {"at": "2026-01-01T01:00:01+01:00", "value": "a", "id": "7", "key": "k", "headers": {"h": "1"}},
        {"at": "2026-01-01T00:00:20", "body": "c", "content_type": "text/plain", "source": "orders"},
    )
    recording = recorded(file)
    assert recording.start == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC).timestamp()
    assert recording.arrivals == [
        Arrival("a", 0.0, "7", "k", {"h": "1"}),
        Arrival("b", 8.0),
        Arrival(b"c", 19.0, content_type="text/plain"),
    ]
    assert list(recording.sources) == ["", "orders"]


def test_the_clock_starts_at_the_first_message(tmp_path: Path) -> None:
    seen: list[float] = []

    class Clock:
        def open(self, pipeline: str) -> None: ...
        def close(self) -> None: ...
        def handled(self, *details: Any) -> None: ...

        def settled(self, delivery: Any, tokens: Any, outcome: Any, at: float) -> None:
            seen.append(at)

    file = jsonl(tmp_path, {"at": 1000, "value": "a"}, {"at": 1007, "value": "b"})
    replay(Pipeline("p", memory.items([]) | memory.into([])).observed(Clock()), file)
    assert seen == [1000, pytest.approx(1007, abs=0.01)]


def test_values_go_through_the_codec_of_the_source(tmp_path: Path) -> None:
    file = jsonl(tmp_path, {"at": 0, "value": {"id": 1}}, {"at": 1, "body": '{"id": 2}'}, {"at": 2, "value": {"id": "x"}})
    pipeline = Pipeline("p", memory.queue("in", Order) | map(lambda order: order.id) | memory.into([]))
    trial = replay(pipeline, file)
    assert trial.values == [1, 2]
    assert [letter.value for letter in trial.dead_letters["p.dead"]] == [{"id": "x"}]


def test_payloads_can_be_made_from_the_line(tmp_path: Path) -> None:
    file = jsonl(tmp_path, {"at": 0, "price": 3}, {"at": 1, "price": 4})
    assert replay(pairs(), file, value=lambda line: line["price"]).values == [[3, 4]]


def test_empty_lines_are_passed_by_and_nothing_is_nothing(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('\n{"at": 0, "value": 1}\n\n')
    assert replay(pairs(), file).values == [[1]]
    file.write_text("")
    assert (recorded(file), replay(pairs(), file).values) == (Recording(0.0, {}), [])


@pytest.mark.parametrize(
    "line", ['{"value": 1}', '{"at": 0}', "[]", "{", '{"at": "soon", "value": 1}', '{"at": 0, "base64": "?"}', "\xff"]
)
def test_a_line_that_is_none_is_told_with_its_number(tmp_path: Path, line: str) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b'{"at": 0, "value": 1}\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(StorageError, match=r"x\.jsonl, line 2 is no recorded message: .*; a line is an object such as"):
        recorded(file)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="missing does not exist; name a folder that a Recorder wrote to, or a file"):
        recorded(tmp_path / "missing")


def record(folder: Path, name: str, values: str, at: list[float], start: float = 1.7e9, **options: Any) -> None:
    steps = map(fail(**(options or {"nth": 10_000}))(str)) | retry(constant("2h"))
    pipeline = Pipeline(name, memory.queue("in", str) | steps | memory.into([]))
    pipeline.observed(Recorder(folder)).test(values, at=at, start=start)


def letter(row: Mapping[str, Any]) -> str:
    return f"{row['index']}:{row['size']}"


def test_a_recorded_flow_is_replayed_with_payloads_made_from_its_rows(tmp_path: Path) -> None:
    record(tmp_path, "p", "abc", [0, 3, 60])
    trial = replay(pairs(), tmp_path, value=letter)
    assert trial.values == [["0:3", "1:3"], ["2:3"]]
    assert trial.elapsed == pytest.approx(60, abs=0.01)
    assert recorded(tmp_path, value=letter).start == pytest.approx(1.7e9)


def test_a_message_that_was_parked_comes_once_when_it_came_last(tmp_path: Path) -> None:
    record(tmp_path, "p", "ab", [0, 60], nth=1)
    assert [round(each.at) for each in recorded(tmp_path, value=letter).arrivals] == [0, 7140]


def test_of_several_pipelines_one_is_read(tmp_path: Path) -> None:
    record(tmp_path, "p", "a", [0])
    record(tmp_path, "q", "ab", [0, 1])
    assert replay(pairs("q"), tmp_path, value=letter).values == [["0:3", "1:3"]]
    assert len(recorded(tmp_path, pipeline="p", value=letter).arrivals) == 1
    with pytest.raises(GraphError, match="it holds flows of p, q; say which, with pipeline="):
        recorded(tmp_path, value=letter)
    with pytest.raises(StorageError, match="holds no flow of 'r'; it holds p, q"):
        recorded(tmp_path, pipeline="r", value=letter)


def test_a_recorded_flow_holds_no_payloads_but_their_sizes(tmp_path: Path) -> None:
    record(tmp_path, "p", "a", [0])
    assert replay(pairs(), tmp_path).values == [[bytes(3)]]
    with pytest.raises(GraphError, match=r"'p': a recorded flow holds no payloads, .* or keep messages with a Tape"):
        replay(Pipeline("p", memory.queue("in", Order) | memory.into([])), tmp_path)


def test_a_trial_takes_recorded_messages(tmp_path: Path) -> None:
    file = jsonl(tmp_path, {"at": 100, "value": "a", "id": "x"}, {"at": 103, "value": "b"}, {"at": 110, "value": "c"})
    recording = recorded(file)
    assert pairs().test(recording.arrivals, start=recording.start).values == [["a", "b"], ["c"]]
    assert pairs().test(recording.arrivals, at=[0, 9, 10]).values == [["a"], ["b", "c"]]


def test_an_empty_folder_holds_no_flows(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no flows; it holds nothing"):
        recorded(tmp_path, value=letter)


def both() -> Pipeline:
    return Pipeline("both", merge(memory.queue("x", str), memory.queue("y", str)) | memory.into([]))


def test_each_of_several_sources_gets_its_own(tmp_path: Path) -> None:
    lines = [{"at": i, "value": value, "source": f"memory:{value}"} for i, value in enumerate("xyx")]
    assert replay(both(), jsonl(tmp_path, *lines)).values == ["x", "y", "x"]
    with pytest.raises(
        GraphError, match="recorded messages came from 'memory:z', and its sources are 'memory:x', 'memory:y'"
    ):
        replay(both(), jsonl(tmp_path, {"at": 0, "value": "z", "source": "memory:z"}))


def test_what_a_tape_kept_comes_as_it_came(tmp_path: Path) -> None:
    file = tmp_path / "tape.jsonl"
    given = pairs().observed(Tape(file)).test("abc", at=[0, 3, 60], start=1.7e9)
    trial = replay(pairs(), file)
    assert (trial.values, round(trial.elapsed)) == (given.values, 60)


def test_a_recording_and_faults_can_be_given(tmp_path: Path) -> None:
    file = jsonl(tmp_path, {"at": 0, "value": "a"})
    assert replay(pairs(), recorded(file), faults=Faults().duplicate(nth=1)).values == [["a", "a"]]


@pytest.mark.parametrize("speed", [0, -1, float("inf"), float("nan"), "fast"])
def test_a_speed_is_above_nothing(tmp_path: Path, speed: Any) -> None:
    with pytest.raises(GraphError, match=r"replay\(speed=.*\): give a number above 0"):
        replay(pairs(), Recording(0.0, {}), speed=speed)
