from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.analytics.reporting import START, busy, record
from warren.analytics.report import capacity_report, parse_target, read_prices, read_report, render, write
from warren.analytics.report.contents import VERSION, Queue
from warren.core.errors import AddressError, DataError, GraphError, StorageError


def told(folder: Path, days: float, **options: object) -> Queue:
    return capacity_report(folder, now=(START + timedelta(days=days)).timestamp(), **options).queues[0]  # type: ignore[arg-type]


def test_no_flows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no flows; record some with: warren run PIPELINE --record"):
        capacity_report(tmp_path)
    with pytest.raises(StorageError, match="does not exist; name the folder"):
        capacity_report(tmp_path / "absent")


def test_one_row_says_what_is_missing(tmp_path: Path) -> None:
    record(tmp_path, np.array([1]))
    with pytest.raises(DataError, match="no queue can be reported"):
        told(tmp_path, 1)
    # Beside another queue it costs nothing but its own figures.
    record(tmp_path, np.full(100, 30), pipeline="steady")
    both = capacity_report(tmp_path, now=(START + timedelta(hours=100)).timestamp())
    one, steady = both.queues
    assert one.messages == 1 and any("no whole hour is recorded" in each for each in one.problems)
    assert one.arrival is None and one.demand == [] and one.headroom is None
    assert steady.arrival is not None and steady.headroom is not None
    for suffix in (".html", ".pdf", ".json"):
        assert render(both, suffix)


def test_a_constant_series(tmp_path: Path) -> None:
    record(tmp_path, np.full(35 * 24, 30), service=1.0)
    queue = told(tmp_path, 35, target="p99=10s")
    assert queue.headroom is not None and queue.headroom.yearly == pytest.approx(0, abs=1e-9)
    assert queue.headroom.at is None and queue.headroom.share > 0.5
    assert {round(each.p50 * 3600) for each in queue.demand} == {30}
    assert queue.options[0].name == "stay at 1"


def test_hours_without_a_row_are_unknown_where_rows_are_usual(tmp_path: Path) -> None:
    counts = busy(np.arange(35 * 24), 100.0)
    counts[400:430] = 0
    record(tmp_path, counts)
    queue = told(tmp_path, 35)
    (gap,) = queue.gaps
    assert (gap.first, gap.last) == (START + timedelta(hours=400), START + timedelta(hours=430))
    assert gap.what == "30 hour(s) without a message where some are usual; taken as unknown"
    assert queue.hours.rate[399] and queue.hours.rate[400:430] == [None] * 30 and queue.hours.rate[430]
    # They bend no growth: there is none.
    assert queue.headroom is not None and queue.headroom.yearly == pytest.approx(0, abs=0.3)


def test_hours_without_a_row_are_zero_where_that_is_usual(tmp_path: Path) -> None:
    hours = np.arange(21 * 24)
    record(tmp_path, np.where((hours % 24 >= 8) & (hours % 24 < 18), 60, 0))
    queue = told(tmp_path, 21)
    assert queue.gaps == [] and None not in queue.hours.rate
    night = [rate for at, rate in zip(queue.hours.at, queue.hours.rate, strict=True) if at.hour == 2]
    assert set(night) == {0.0}


def test_a_clock_that_jumped(tmp_path: Path) -> None:
    record(tmp_path, np.full(30 * 24, 30))
    record(tmp_path, np.array([30]), start=START - timedelta(days=20_000))
    record(tmp_path, np.array([30]), start=START + timedelta(days=4000))
    queue = told(tmp_path, 30)
    assert queue.first is not None and queue.first >= START and queue.messages == 30 * 24 * 30
    assert [each.what for each in queue.gaps] == ["30 message(s) far from the others in time, left out: a clock jumped"] * 2
    assert queue.headroom is not None and queue.demand


def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    record(tmp_path, np.full(5 * 24, 30))
    (file,) = (tmp_path / "trips").rglob("*day=2026-01-07/*.parquet")
    rows = pq.ParquetFile(file).read()
    early = pa.array(np.asarray(rows["received"].cast(pa.int64())) - 3_600_000_000).cast(rows.schema.field("settled").type)
    pq.write_table(rows.set_column(rows.schema.get_field_index("settled"), rows.schema.field("settled"), early), file)
    queue = told(tmp_path, 5)
    # Their settling hour may lie on another day, but all of them ended before they began.
    assert f"{rows.num_rows:,} message(s) ended before they began, left out: a clock was set back" in [
        each.what for each in queue.gaps
    ]
    assert queue.arrival is not None and queue.messages == 4 * 24 * 30


def test_all_of_the_future(tmp_path: Path) -> None:
    record(tmp_path, np.full(24, 30))
    with pytest.raises(DataError, match=r"all its messages are of the future.*set the clock right"):
        told(tmp_path, -10)


def test_a_recording_that_ended(tmp_path: Path) -> None:
    record(tmp_path, np.full(5 * 24, 30))
    queue = told(tmp_path, 9)
    assert queue.gaps[-1].what == "nothing was recorded since; all figures are of the time before"
    assert queue.gaps[-1].last == START + timedelta(days=9)


def test_a_pipeline_that_changed_shape(tmp_path: Path) -> None:
    before, after = {"1:map": 1.0}, {"1:filter": 0.1, "2:map": 0.2}
    record(tmp_path, np.full(10 * 24, 40), service=2.0, stages=lambda day: before if day < 6 else after)
    queue = told(tmp_path, 10)
    (gap,) = queue.gaps
    assert gap.what == "the steps changed (gone 1:map, new 1:filter, new 2:map); service times are from after that"
    assert abs(gap.last - (START + timedelta(days=6))) < timedelta(minutes=10)
    # What it takes now, not on average.
    assert queue.service is not None and queue.service.seconds == pytest.approx(0.3 * 2.0, rel=0.1)


def test_a_recording_without_stages(tmp_path: Path) -> None:
    record(tmp_path, np.full(5 * 24, 30))
    for file in (tmp_path / "stages").rglob("*.parquet"):
        file.unlink()
    queue = told(tmp_path, 5)
    assert queue.arrival is not None and queue.demand and queue.service is None and queue.headroom is None
    assert any("no recorded time of a step" in each for each in queue.problems)


def test_a_target_that_no_number_of_consumers_keeps(tmp_path: Path) -> None:
    record(tmp_path, np.full(5 * 24, 30), service=1.0)
    queue = told(tmp_path, 5, target="p99=100ms")
    assert queue.headroom is None and queue.service is not None
    assert queue.problems == ["headroom: the service alone takes 0.999 s, too long for a target of 0.1 s"] or (
        "too long for a target of 0.1 s" in queue.problems[0]
    )


def test_depth_is_unknown_where_the_source_does_not_know(tmp_path: Path) -> None:
    record(tmp_path, np.full(24, 30))
    for file in (tmp_path / "stages").rglob("*.parquet"):
        rows = pq.ParquetFile(file).read()
        place = rows.schema.get_field_index("depth")
        pq.write_table(rows.set_column(place, rows.schema.field("depth"), pa.nulls(rows.num_rows, pa.int64())), file)
    queue = told(tmp_path, 1)
    assert queue.depth is None and queue.arrival is not None


@pytest.mark.parametrize(
    "text", ["", "p99", "2s", "p=2s", "99=2s", "p0=2s", "p100=2s", "p99=soon", "p99=0s", "mean=2s", "pnan=1s"]
)
def test_a_target_that_is_none(text: str) -> None:
    with pytest.raises(GraphError, match="is no target"):
        parse_target(text)


def test_what_else_cannot_be(tmp_path: Path) -> None:
    record(tmp_path, np.full(24, 30))
    with pytest.raises(AddressError, match=r"has no pipeline 'order'; did you mean 'orders'\?"):
        capacity_report(tmp_path, pipelines=["order"])
    with pytest.raises(GraphError, match="horizon '1m' must be from an hour to a year"):
        capacity_report(tmp_path, horizon="1m")
    with pytest.raises(GraphError, match="'Mars' is no time zone"):
        capacity_report(tmp_path, zone="Mars")
    with pytest.raises(GraphError, match=r"report.txt: a report ends in \.html, \.pdf, \.json"):
        write(capacity_report(tmp_path, now=(START + timedelta(days=1)).timestamp()), "report.txt")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("p.toml", "consumer_hour = ", "prices in .*p.toml"),
        ("p.toml", "consumer_hours = 1", "unknown field `consumer_hours`"),
        ("p.toml", "consumer_hour = -1", "not negative"),
        ("p.toml", "consumer_hour = nan", "must be finite"),
        ("p.toml", "", "missing required field `consumer_hour`"),
        ("p.json", "{", "prices in .*p.json"),
        ("p.json", '{"consumer_hour": "much"}', "Expected `float`, got `str`"),
        ("p.json", "[1]", "Expected `object`, got `array`"),
        ("p.toml", "consumer_hour = 1\n[pipelines.a]\nstart = 1", "missing required field `consumer_hour`"),
    ],
)
def test_prices_that_are_none(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=sentence) as error:
        read_prices(tmp_path / name)
    assert "write 'consumer_hour = 0.04'" in str(error.value)


def test_prices_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read: No such file"):
        read_prices(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StorageError, match="cannot be read"):
        read_prices(tmp_path / "binary.toml")


def test_a_last_report_of_another_kind(tmp_path: Path) -> None:
    record(tmp_path, np.full(24, 30))
    made = capacity_report(tmp_path, now=(START + timedelta(days=1)).timestamp())
    file = tmp_path / "report.json"
    write(made, file)
    assert read_report(file) == made
    file.write_bytes(msgspec.json.encode({**msgspec.json.decode(file.read_bytes()), "version": VERSION + 1}))
    with pytest.raises(DataError, match=f"is of version {VERSION + 1}, and {VERSION} is read here"):
        read_report(file)
    for text in ("", "{}", "[]", '{"version": 1}', '{"version": "one"}'):
        file.write_text(text)
        with pytest.raises(DataError, match="is no capacity report in JSON"):
            read_report(file)
    with pytest.raises(StorageError, match="cannot be read"):
        read_report(tmp_path / "absent.json")


def test_figures_that_are_not_numbers_stay_out_of_json(tmp_path: Path) -> None:
    record(tmp_path, np.full(24, 30), service=200.0)
    made = capacity_report(tmp_path, target="p99=30m", now=(START + timedelta(days=1)).timestamp(), consumers={"": [1]})
    (queue,) = made.queues
    assert queue.headroom is not None and queue.headroom.share < 0
    assert queue.failures[0].latency is None and queue.failures[0].drain is None
    text = render(made, ".json").decode()
    assert "NaN" not in text and "Infinity" not in text
    assert msgspec.json.decode(text, type=type(made)) == made
    assert pl.Series(queue.hours.p95).is_finite().all()
