from __future__ import annotations

import fcntl
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from tests.analytics.feeding import NOW, Feed
from warren.analytics import Flows, Recorder
from warren.analytics.upkeep import compact, expire
from warren.core.errors import GraphError, StorageError
from warren.core.message import Batch
from warren.core.receipt import Kind, Outcome

OLD = Path(__file__).parent / "old"
TODAY = datetime.fromtimestamp(NOW, UTC).date() + timedelta(days=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three days of two pipelines, each of a few files with ten rows."""
    for name in ("orders", "stock"):
        recorder = Recorder(tmp_path, roll_rows=10)
        recorder.open(name)
        feed = Feed(recorder)
        for hour in range(0, 72, 2):
            feed.now = NOW + 3600 * hour
            delivery = feed.accept(Batch([b"x" * hour] * 7, range(7), enqueued=[feed.now - hour] * 7))
            feed.ledger.settle(delivery.tokens, Outcome(Kind.DELIVERED, f"route-{hour % 5}"))
            recorder.handled("1:map", 7, 7, 0, feed.now, feed.now + 0.1, 7, hour)
            recorder.flush()
        recorder.close()
    return tmp_path


def rows(folder: Path) -> pl.DataFrame:
    return Flows(folder).trips.sort("pipeline", "settled", "size").collect()


def files(folder: Path) -> list[Path]:
    return sorted((folder / "trips").rglob("*.parquet"))


def test_the_files_of_past_days_become_one_each(folder: Path) -> None:
    before, many = rows(folder), files(folder)
    found = compact(folder, today=TODAY)
    assert_frame_equal(rows(folder), before)
    assert len(many) > len(files(folder)) == 8
    assert found.before > found.after and found.bytes_before > found.bytes_after > 0
    assert compact(folder, today=TODAY) == (0, 0, 0, 0)


def test_a_day_that_is_not_over_stays(folder: Path) -> None:
    many = files(folder)
    assert compact(folder, today=date(2023, 11, 14)) == (0, 0, 0, 0)
    assert files(folder) == many


def test_large_files_stay_apart(folder: Path) -> None:
    before = rows(folder)
    compact(folder, rows=30, today=TODAY)
    assert max(pq.read_metadata(file).num_rows for file in files(folder)) <= 30
    assert_frame_equal(rows(folder), before)


def test_killed_before_the_old_files_are_gone_nothing_is_read_twice(folder: Path) -> None:
    before = rows(folder)
    kept = {file: file.read_bytes() for file in files(folder)}
    compact(folder, today=TODAY)
    small = len(files(folder))
    for file, data in kept.items():
        file.write_bytes(data)
    assert len(files(folder)) > small
    assert_frame_equal(rows(folder), before)
    compact(folder, today=TODAY)
    assert len(files(folder)) == small
    assert_frame_equal(rows(folder), before)


def test_what_comes_later_is_put_to_the_rest(folder: Path) -> None:
    compact(folder, today=TODAY)
    recorder = Recorder(folder)
    recorder.open("orders")
    feed = Feed(recorder)
    feed.now = NOW + 7200
    feed.ledger.settle(feed.accept(Batch([b"x"], [0])).tokens, Outcome(Kind.DELIVERED, "late"))
    recorder.close()
    before, many = rows(folder), len(files(folder))
    compact(folder, today=TODAY)
    assert len(files(folder)) == many - 1
    assert_frame_equal(rows(folder), before)


def test_old_days_go(folder: Path) -> None:
    for table in ("trips", "stages"):
        (folder / table / "old.parquet").write_bytes((OLD / f"{table}-1.parquet").read_bytes())
    total = Flows(folder).trips.collect().height + Flows(folder).stages.collect().height
    gone = expire(folder, "1d", today=date(2023, 11, 17))
    days = Flows(folder).trips.collect()["day"]
    assert days.min() == date(2023, 11, 16)
    assert gone == total - days.len() - Flows(folder).stages.collect().height
    assert not list(folder.glob("trips/*/day=2023-11-15"))
    assert expire(folder, "1d", today=date(2023, 11, 17)) == 0


def test_bad_input(folder: Path) -> None:
    with pytest.raises(GraphError, match=r"expire\(keep='1h'\): days go as a whole, so keep at least '1d'"):
        expire(folder, "1h")
    with pytest.raises(StorageError, match="is no folder; name the one that a Recorder writes to"):
        compact(folder / "nothing")
    with (folder / ".upkeep").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="another process puts the recordings"):
            compact(folder, today=TODAY)
    file = files(folder)[0]
    file.write_bytes(b"PAR1nonsense")
    with pytest.raises(StorageError, match="cannot be read as Parquet"):
        compact(folder, today=TODAY)
