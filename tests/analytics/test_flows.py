from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.analytics.feeding import NOW, Feed, feed
from warren.analytics import Flows, Recorder
from warren.core.chunk import Failure
from warren.core.errors import GraphError, StorageError
from warren.core.message import Batch
from warren.core.receipt import DELIVERED, FILTERED, Kind, Outcome

OLD = Path(__file__).parent / "old"
"""Files that the first version wrote: six messages of "orders", of which three went to eu, and one ended a day later."""


@pytest.fixture
def flows(tmp_path: Path) -> Flows:
    """Ten messages: 4 to eu, 2 filtered, 3 dead letters, 1 released."""
    recorder = Recorder(tmp_path)
    recorder.open("orders")
    feed = Feed(recorder)
    delivery = feed.accept(Batch([b"12345"] * 10, range(10), enqueued=[NOW - 1] * 10))
    tokens = delivery.tokens
    feed.now += 0.25
    feed.ledger.settle(tokens[:4], Outcome(Kind.DELIVERED, "eu"))
    feed.ledger.settle(tokens[4:6], FILTERED)
    feed.now += 60
    for token, error in zip(tokens[6:9], (ValueError("a"), ValueError("b"), KeyError("c")), strict=True):
        failure = Failure(token, b"", error, "2:map(enrich)")
        feed.ledger.settle((token,), Outcome(Kind.DEAD_LETTERED, "orders.dead", failure))
    feed.ledger.release_all()
    recorder.handled("1:map", 10, 8, 2, NOW, NOW + 0.5, 10, 7)
    recorder.handled("1:map", 2, 2, 0, NOW + 1, NOW + 1.25, 4, None)
    recorder.close()
    return Flows(tmp_path)


def test_summary(flows: Flows) -> None:
    summary = flows.summary()
    assert summary.select("pipeline", "route", "messages", "delivered", "filtered", "dead_lettered", "released").rows() == [
        ("orders", "eu", 4, 4, 0, 0, 0),
        ("orders", "orders.dead", 3, 0, 0, 3, 0),
        ("orders", None, 3, 0, 2, 0, 1),
    ]
    assert summary.row(0, named=True) | {"latency_p50_ms": 1250.0, "transit_p99_ms": 250.0, "bytes": 20, "attempts": 4} == (
        summary.row(0, named=True)
    )


def test_errors(flows: Flows) -> None:
    errors = flows.errors()
    assert errors.select("error", "stage", "messages").rows() == [
        ("ValueError", "2:map(enrich)", 2),
        ("KeyError", "2:map(enrich)", 1),
    ]


def test_rate(flows: Flows) -> None:
    assert flows.rate("1m")["messages"].to_list() == [6, 4]
    assert flows.rate("1d")["messages"].to_list() == [10]


def test_traffic_of_each_route(flows: Flows) -> None:
    traffic = flows.traffic("1m")
    assert traffic.select("route", "messages", "delivered", "filtered", "dead_lettered", "bytes").rows() == [
        ("eu", 4, 4, 0, 0, 20),
        ("orders.dead", 3, 0, 0, 3, 15),
        (None, 2, 0, 2, 0, 10),
        (None, 1, 0, 0, 0, 5),
    ]
    assert traffic["transit_p95_ms"].to_list() == [250.0, 60250.0, 250.0, 60250.0]


def test_depth_and_credit(flows: Flows) -> None:
    (row,) = flows.depth("1h").rows(named=True)
    assert (row["depth_mean"], row["depth_max"], row["credit_mean"], row["credit_max"]) == (7.0, 7, 7.0, 10)


def test_utilisation_of_each_stage(flows: Flows) -> None:
    (row,) = flows.utilisation("10s").rows(named=True)
    assert (row["stage"], row["taken"], row["failed"], row["busy_s"]) == ("1:map", 12, 2, 0.75)
    assert (row["service_us"], row["utilisation"]) == (62_500.0, 0.075)


def test_retries(flows: Flows) -> None:
    rows = flows.retries().filter(pl.col("route") == "eu").select("attempts", "outcome", "messages").rows()
    assert rows == [(1, "delivered", 4)]


def test_a_trace_through_two_pipelines(flows: Flows) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    for name, pause in (("billing", 2.0), ("clean", 1.0)):
        recorder = Recorder(flows.folder)
        recorder.open(name)
        fed = Feed(recorder)
        fed.now = NOW + pause
        headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        delivery = fed.accept(Batch([b"x"], [0], headers=[headers], enqueued=[fed.now - 0.5]))
        fed.now += 0.25
        fed.ledger.settle(delivery.tokens, Outcome(Kind.DELIVERED, f"after {name}"))
        recorder.close()
    found = flows.trace(trace.upper())
    assert found.select("pipeline", "route", "waited_ms", "transit_ms").rows() == [
        ("clean", "after clean", 500.0, 250.0),
        ("billing", "after billing", 500.0, 250.0),
    ]
    assert flows.trace("f" * 32).is_empty()


def test_a_length_that_is_none(flows: Flows) -> None:
    for table in (flows.rate, flows.traffic, flows.depth, flows.utilisation):
        with pytest.raises(GraphError, match=rf"{table.__name__}\(every='soon'\): write a length such as '10s'"):
            table("soon")


def test_stage_times(flows: Flows) -> None:
    (row,) = flows.stage_times().rows(named=True)
    assert (row["chunks"], row["taken"], row["given"], row["failed"], row["busy_s"]) == (2, 12, 10, 2, 0.75)
    assert (row["chunk_p99_ms"], row["credit_max"], row["depth_max"]) == (500.0, 10, 7)


def test_a_notebook_shows_what_there_is_and_the_summary(flows: Flows) -> None:
    shown = flows._repr_html_()
    assert "orders.dead" in shown and "<th>latency_p99_ms</th>" in shown
    assert repr(flows).startswith("Flows(")


def test_an_empty_folder_gives_empty_frames_of_the_same_schema(flows: Flows, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = Flows(tmp_path / "empty")
    assert_frame_equal(empty.trips.collect(), flows.trips.collect().clear())
    assert_frame_equal(empty.stages.collect(), flows.stages.collect().clear())
    assert empty.summary().schema == flows.summary().schema
    for table in (empty.errors, empty.rate, empty.traffic, empty.depth, empty.retries, empty.stage_times, empty.utilisation):
        assert table().is_empty()
    assert empty.trace("0" * 32).is_empty()


def test_new_files_are_seen(flows: Flows) -> None:
    before = flows.trips.collect().height
    recorder = Recorder(flows.folder)
    recorder.open("other")
    feed = Feed(recorder)
    feed.ledger.settle(feed.accept(Batch([1], [0])).tokens, DELIVERED)
    recorder.close()
    assert flows.trips.collect().height == before + 1


@pytest.mark.parametrize(("name", "message"), [("missing", "does not exist"), ("file", "is a file, not a folder")])
def test_a_wrong_folder(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=f"{name} {message}; name the folder"):
        Flows(tmp_path / name)


def test_files_that_are_no_recordings(flows: Flows) -> None:
    foreign = flows.folder / "trips" / "a.parquet"
    pl.DataFrame({"x": [1]}).write_parquet(foreign)
    with pytest.raises(StorageError, match=r"a\.parquet is Parquet, but no recording of flows; move it out"):
        _ = flows.trips
    foreign.write_bytes(b"nonsense")
    with pytest.raises(StorageError, match=r"a\.parquet cannot be read as Parquet"):
        flows.summary()
    foreign.unlink()
    (stage,) = (flows.folder / "stages").rglob("*.parquet")
    stage.rename(flows.folder / "trips" / "b.parquet")
    with pytest.raises(StorageError, match="holds 'stages/2' where 'trips/2' is expected"):
        flows.errors()


def test_a_recording_of_version_1_is_read_with_the_others(flows: Flows) -> None:
    for table in ("trips", "stages"):
        shutil.copy(OLD / f"{table}-1.parquet", flows.folder / table / "old.parquet")
    summary = flows.summary()
    assert summary.row(0, named=True) | {"route": "eu", "messages": 7, "delivered": 7, "bytes": 35} == summary.row(
        0, named=True
    )
    assert flows.stage_times()["taken"].to_list() == [18]
    days = flows.trips.group_by("day").len().sort("day").collect()
    assert [(str(day), count) for day, count in days.rows()] == [("2023-11-14", 15), ("2023-11-15", 1)]


def test_only_the_files_of_a_day_are_read(flows: Flows) -> None:
    (file,) = (flows.folder / "trips").rglob("*.parquet")
    other = file.parent.with_name("day=2023-11-20") / file.name
    other.parent.mkdir()
    other.write_bytes(file.read_bytes())
    assert flows.trips.collect().height == 20
    # Of the other file nothing is left but its end, which names its columns.
    data = bytearray(file.read_bytes())
    data[4 : 4 + 300] = bytes(300)
    file.write_bytes(data)
    assert flows.trips.filter(pl.col("day") == pl.date(2023, 11, 20)).collect().height == 10


def test_a_file_that_was_moved_out_of_its_folder(flows: Flows) -> None:
    (file,) = (flows.folder / "trips").rglob("*.parquet")
    file.rename(flows.folder / "trips" / file.name)
    with pytest.raises(StorageError, match="lies in no folder of a pipeline and a day; move it back"):
        flows.summary()


def test_pipelines_of_any_name_have_folders(tmp_path: Path) -> None:
    for name in ("eu/orders", "a b", "100%", "é=1", ".."):
        recorder = Recorder(tmp_path)
        recorder.open(name)
        feed(recorder, 10)
        recorder.close()
    assert sorted(Flows(tmp_path).summary()["pipeline"]) == ["..", "100%", "a b", "eu/orders", "é=1"]


def test_a_day_begins_with_a_file_of_its_own(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.open("p")
    fed = Feed(recorder)
    for hour in range(60):
        fed.now = NOW + 3600 * hour
        fed.ledger.settle(fed.accept(Batch([b"x"], [hour])).tokens, DELIVERED)
    recorder.close()
    found = Flows(tmp_path).trips.select(pl.col("day") == pl.col("settled").dt.date()).collect().to_series()
    assert found.len() == 60 and found.all()
    assert sorted(path.name for path in (tmp_path / "trips/pipeline=p").iterdir()) == [
        f"day=2023-11-{day}" for day in (14, 15, 16, 17)
    ]
