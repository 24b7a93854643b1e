"""The demonstration, checked against Polars on the package's own data."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rich.console import Console

from warren.apps.demo import data, state
from warren.apps.demo.broker import Letter
from warren.apps.demo.publish import broken, messages, number
from warren.apps.demo.run import demo
from warren.apps.demo.totals import Totals, reconcile
from warren.apps.demo.unusual import unusual, worst
from warren.core.errors import AddressError, StorageError

LIMIT = 12_000


def run(
    folder: Path, *, broker: str | None = None, limit: int | None = LIMIT, resume: bool | None = None
) -> tuple[Totals, str]:
    console = Console(file=io.StringIO(), width=100)
    totals = demo(broker, folder, limit, resume, False, console)
    assert totals is not None
    return totals, console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def raw() -> pl.DataFrame:
    """Every flight, numbered as the demonstration numbers them, with how its message is broken."""
    table = data.flights()
    return table.with_columns(broken=pl.col("id").map_elements(broken, return_dtype=pl.String, skip_nulls=False))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Totals, str]:
    folder = tmp_path_factory.mktemp("demo") / "run"
    return folder, *run(folder)


def test_the_data_is_the_whole_package(raw: pl.DataFrame) -> None:
    assert raw.height == 336_776
    assert raw["scheduled"].is_sorted()
    assert dict(raw.group_by("origin").len().iter_rows()) == {"EWR": 120_835, "JFK": 111_279, "LGA": 104_662}
    assert dict(raw["broken"].drop_nulls().value_counts().iter_rows()) == {
        "truncated": 40,
        "wrong type": 40,
        "missing field": 40,
    }


def test_a_message_is_a_flight_and_says_which(raw: pl.DataFrame) -> None:
    bodies = list(messages(raw.drop("broken").head(5_000)))
    assert [number(body) for body in bodies] == list(range(5_000))
    assert list(messages(raw.drop("broken").head(5_000), 4_990)) == bodies[4_990:]


def test_the_account_matches_the_raw_data(finished: tuple[Path, Totals, str], raw: pl.DataFrame) -> None:
    _, totals, text = finished
    sent = raw.head(LIMIT)
    cancelled = sent.filter(pl.col("dep_time").is_null() & pl.col("broken").is_null())
    left = sent.filter(pl.col("dep_time").is_not_null() & pl.col("broken").is_null())
    assert totals.problems == []
    assert (totals.messages, totals.out, totals.again, totals.dead_again) == (LIMIT, left.height, 0, 0)
    assert totals.dead["cancelled"] == cancelled.height
    assert totals.dead_lettered == LIMIT - left.height
    assert sorted(totals.dead) == [
        "cancelled",
        "undecodable: Expected `int`, got `str` - at `$.distance`",
        "undecodable: Input data was truncated",
        "undecodable: Object missing required field `origin`",
    ]
    assert totals.airports.select("airport", "messages").equals(
        sent.group_by(airport="origin").agg(messages=pl.len()).sort("airport")
    )
    assert "reconciled" in text


def test_every_hour_matches_the_raw_data(finished: tuple[Path, Totals, str], raw: pl.DataFrame) -> None:
    _, totals, _ = finished
    late = pl.col("dep_delay")
    expected = (
        raw.head(LIMIT)
        .filter(pl.col("broken").is_null())
        .group_by(airport="origin", hour=pl.col("scheduled").dt.truncate("1h"))
        .agg(
            delay=late.mean(),
            delay_p50=late.quantile(0.5, "linear"),
            delay_p90=late.quantile(0.9, "linear"),
            departures=late.count().cast(pl.Int64),
            cancelled=late.null_count().cast(pl.Int64),
        )
        .sort("hour", "airport")
    )
    assert_frame_equal(totals.hours.select(expected.columns), expected, check_exact=False)


def test_the_weather_is_the_airports(finished: tuple[Path, Totals, str]) -> None:
    _, totals, _ = finished
    measured = data.weather()
    row = totals.hours.drop_nulls("wind").row(100, named=True)
    assert row["wind"] == pytest.approx(measured[row["airport"], row["hour"]].wind)


def test_a_finished_run_starts_again(finished: tuple[Path, Totals, str], tmp_path: Path) -> None:
    run(tmp_path / "run", limit=500)
    totals, text = run(tmp_path / "run", limit=600)
    assert totals.messages == 600 and "Going on" not in text


def test_memory_gives_the_same_account(finished: tuple[Path, Totals, str], tmp_path: Path) -> None:
    totals, _ = run(tmp_path, broker="memory:")
    assert (totals.out, totals.dead) == (finished[1].out, finished[1].dead)
    assert totals.hours.equals(finished[1].hours)


def test_a_broker_that_holds_other_things_can_be_named(tmp_path: Path) -> None:
    for _ in range(2):
        totals, _ = run(tmp_path / "run", broker=f"sqlite:{tmp_path / 'queues.db'}", limit=500)
        assert totals.problems == []


def test_an_unfinished_run_is_gone_on_with(tmp_path: Path) -> None:
    state.save(tmp_path, state.State(f"sqlite:{tmp_path / 'broker.db'}", "flights-1", 500))
    with pytest.raises(AddressError, match="unfinished run with --limit 500, not 600"):
        run(tmp_path, limit=600)
    totals, text = run(tmp_path, limit=None)
    assert totals.messages == 500 and "Going on with the unfinished run" in text
    with pytest.raises(AddressError, match="there is no unfinished run"):
        run(tmp_path, resume=True)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StorageError, match="holds other files"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_damaged_state_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text("{")
    with pytest.raises(StorageError, match="run the demo with --fresh"):
        run(tmp_path)
    assert run(tmp_path, resume=False, limit=500)[0].messages == 500


def test_a_missing_library_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(AddressError, match=r"pip install 'warren\[demo\]'"):
        data.flights()


def test_what_was_written_twice_counts_once_and_what_is_lost_is_told(
    finished: tuple[Path, Totals, str], raw: pl.DataFrame, tmp_path: Path
) -> None:
    folder, totals, _ = finished
    for file in (folder / "hours").glob("*/*.parquet"):
        target = tmp_path / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    part = next((tmp_path / "hours" / "JFK").glob("*.parquet"))
    (part.parent / "again.parquet").write_bytes(part.read_bytes())
    gone = raw.head(LIMIT).filter(pl.col("dep_time").is_null() | pl.col("broken").is_not_null())
    letters = [
        Letter(b'{"id":%d' % id, "DecodeError" if how else "RejectedError", "cancelled")
        for id, how in gone.select("id", "broken").rows()
    ]
    twice = reconcile(raw.head(LIMIT), tmp_path / "hours", [*letters, letters[0]])
    assert (twice.out, twice.problems) == (totals.out, [])
    assert twice.again == pl.read_parquet(part)["departures"].sum() and twice.dead_again == 1
    assert twice.hours["departures"].to_list() == totals.hours["departures"].to_list()

    part.unlink()
    left = pl.read_parquet(part.parent / "again.parquet")["flights"].explode()[0]
    late = reconcile(raw.head(LIMIT), tmp_path / "hours", [*letters, Letter(b'{"id":%d' % left, "LateError", "late")])
    assert late.problems == ["1 flight(s) are in an hour and among the dead letters"]
    (part.parent / "again.parquet").unlink()
    late = reconcile(raw.head(LIMIT), tmp_path / "hours", [*letters, Letter(b'{"id":%d' % left, "LateError", "late")])
    assert "1 flight(s) are dead letters through no fault of their own" in late.problems
    lost = reconcile(raw.head(LIMIT), tmp_path / "hours", letters[1:])
    assert lost.problems == [f"{twice.again + 1:,} message(s) came out nowhere"]


def test_a_row_that_was_written_in_part_counts_once(
    finished: tuple[Path, Totals, str], raw: pl.DataFrame, tmp_path: Path
) -> None:
    folder, totals, _ = finished
    for file in (folder / "hours").glob("*/*.parquet"):
        target = tmp_path / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    # What a killed run had acknowledged of a row does not come again, and the rest makes a row of its own.
    rows = pl.read_parquet(next((tmp_path / "hours" / "JFK").glob("*.parquet"))).filter(pl.col("departures") > 2)
    rest = rows.with_columns(pl.col("flights").list.head(2), departures=pl.lit(2, pl.Int64), delay=pl.lit(999.0))
    rest.write_parquet(tmp_path / "hours" / "JFK" / "rest.parquet")
    part = reconcile(raw.head(LIMIT), tmp_path / "hours", [])
    assert part.again == 2 * rows.height
    assert_frame_equal(part.hours.drop("cancelled"), totals.hours.filter(pl.col("departures") > 0).drop("cancelled"))


def test_the_storms_are_the_most_unusual(raw: pl.DataFrame) -> None:
    hours = raw.group_by(airport="origin", hour=pl.col("scheduled").dt.truncate("1h")).agg(
        departures=pl.col("dep_delay").count().cast(pl.Int64),
        cancelled=pl.col("dep_delay").null_count().cast(pl.Int64),
        delay=pl.col("dep_delay").mean(),
        visibility=pl.lit(10.0),
        wind=pl.lit(5.0),
    )
    days = [f"{day:%d %b}" for day in worst(unusual(hours))["day"]]
    assert {"09 Feb", "08 Feb", "08 Mar", "05 Dec", "10 Dec", "14 Dec"} <= set(days)
