from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from tests.analytics.forecasting import START, hourly
from warren.analytics.forecasts import panel
from warren.core.errors import DataError


def rows(times: list[datetime], values: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame({"at": times, "value": values})


def test_series_stand_side_by_side_with_their_gaps() -> None:
    frame = pl.DataFrame(
        {
            "queue": ["b", "a", "a", "b"],
            "at": [START, START + timedelta(hours=2), START, START + timedelta(hours=1)],
            "value": [1, 4, 3, 2],
        }
    )
    told = panel(frame, every="1h")
    assert told.keys["queue"].to_list() == ["a", "b"]
    np.testing.assert_array_equal(told.values, [[3, np.nan, 4], [1, 2, np.nan]])
    assert panel(frame, every="1h", gaps="zero").values[0, 1] == 0


def test_rows_in_any_order_and_several_in_a_span_are_averaged() -> None:
    times = [START + timedelta(hours=1), START, START + timedelta(minutes=59)]
    np.testing.assert_array_equal(panel(rows(times, [5, 1, 3]), every="1h").values, [[2, 5]])


def test_what_is_not_finite_is_unknown() -> None:
    times = [START + timedelta(hours=hour) for hour in range(4)]
    told = panel(rows(times, [1.0, float("nan"), float("inf"), None]))
    assert np.isnan(told.values[0, 1:]).all() and told.values[0, 0] == 1


def test_the_length_of_a_span_is_the_most_frequent_distance() -> None:
    assert panel(hourly(1).gather_every(2)).every == 2 * 3_600_000_000
    assert panel(hourly(1).filter(pl.col("at").dt.hour() != 3)).every == 3_600_000_000


def test_a_day_saved_leaves_a_gap_and_an_hour_repeated_is_one() -> None:
    # In Berlin the clock went from 2 to 3 on 29 March 2026, and goes from 3 back to 2 on 25 October.
    spring = [datetime(2026, 3, 28, 23, tzinfo=UTC) + timedelta(hours=hour) for hour in range(4)]
    told = panel(rows(spring, [0, 1, 3, 4]), zone="Europe/Berlin")
    np.testing.assert_array_equal(told.values, [[0, 1, np.nan, 3, 4]])
    autumn = [datetime(2026, 10, 24, 23, tzinfo=UTC) + timedelta(hours=hour) for hour in range(4)]
    told = panel(rows(autumn, [1, 2, 4, 5]), zone="Europe/Berlin")
    np.testing.assert_array_equal(told.values, [[1, 3, 5]])


@pytest.mark.parametrize("day", [date(2026, 3, 28), date(2026, 10, 24)])
def test_the_next_instants_are_hours_apart_whatever_the_clock_shows(day: date) -> None:
    zone = ZoneInfo("Europe/Berlin")
    times = [datetime(day.year, day.month, day.day, hour, tzinfo=zone) for hour in range(24)]
    told = panel(rows(times, list(range(24))), zone="Europe/Berlin")
    instants, spans = told.following(6)
    assert instants[0] == times[-1].astimezone(UTC) + timedelta(hours=1)
    assert {b - a for a, b in pairwise(instants)} == {timedelta(hours=1)}
    walls = told.wall(spans).astype(object)
    assert walls.tolist() == [each.astimezone(zone).replace(tzinfo=None) for each in instants]


def test_days_follow_each_other_at_midnight_of_the_zone() -> None:
    zone = ZoneInfo("Europe/Berlin")
    times = [datetime(2026, 3, 20 + each, tzinfo=zone) for each in range(9)]
    instants, _ = panel(rows(times, list(range(9))), every="1d", zone="Europe/Berlin").following(2)
    assert [each.astimezone(zone).replace(tzinfo=None) for each in instants] == [
        datetime(2026, 3, 29),
        datetime(2026, 3, 30),
    ]


def test_the_calendar_is_the_wall() -> None:
    told = panel(hourly(1), zone="America/New_York", holidays=[date(2026, 1, 6)])
    calendar = told.calendar(np.array([0, 5, 29]))
    assert calendar.tolist() == [[19, 6, 0], [0, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    ("frame", "options", "sentence"),
    [
        (hourly(1).clear(), {}, "0 row"),
        (hourly(1).head(1), {}, "1 row"),
        (hourly(1), {"value": "depth"}, "there is no column 'depth' among"),
        (hourly(1), {"series": ["route"]}, "there is no column 'route'"),
        (hourly(1).with_columns(at=pl.lit("Monday")), {}, "not times"),
        (hourly(1).with_columns(value=pl.lit("many")), {}, "not numbers"),
        (hourly(1).with_columns(at=pl.when(pl.col("value") > 50).then("at")), {}, "have no time in 'at'"),
        (hourly(1), {"zone": "Berlin"}, "is no time zone"),
        (hourly(1), {"holidays": ["2026-01-06"]}, "datetime.date"),
        (hourly(1), {"every": 0.0}, "a span must last"),
        (rows([START] * 3, [1, 2, 3]), {}, "no series has two different times"),
        ([1, 2, 3], {}, "list is no frame"),
    ],
)
def test_what_makes_no_grid_is_refused(frame: pl.DataFrame, options: dict, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        panel(frame, **options)


def test_a_clock_that_jumped_is_told() -> None:
    jumped = pl.concat([hourly(1), hourly(1).head(1).with_columns(at=pl.lit(datetime(1970, 1, 1, tzinfo=UTC)))])
    with pytest.raises(DataError, match=r"reach from 1970-01-01 .* of a clock that jumped"):
        panel(jumped)
