"""Series side by side on one grid of local times: what every forecaster reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import polars as pl

from warren.core.clock import Duration, seconds
from warren.core.errors import DataError

__all__ = ["Floats", "Panel", "panel"]

Floats: TypeAlias = "npt.NDArray[np.float64]"

_DAY = 86_400
_EPOCH = datetime(1970, 1, 1)
# A grid with so many times more spans than there are rows comes from a clock that jumped, not from gaps.
_SPARSE = 20


@dataclass(frozen=True)
class Panel:
    """Values of many series, a row each, on one grid of times as the clocks on the wall show them.

    People live by the wall: with a time zone that saves daylight, "yesterday at nine" is a day before on this grid, where it
    is 23 or 25 hours before in UTC. The hour that a spring leaves out is unknown; of one that an autumn repeats, the mean
    counts.
    """

    keys: pl.DataFrame
    """One row for each series: what it is called."""
    values: Floats
    """Series by spans; NaN where nothing is known."""
    first: int
    """Which span since 1970 the first column is."""
    every: int
    """The length of a span, in microseconds."""
    zone: str = "UTC"
    holidays: frozenset[date] = field(default_factory=frozenset)

    @property
    def spans(self) -> int:
        """How many there are."""
        return int(self.values.shape[1])

    @property
    def day(self) -> int:
        """How many spans a day has; 1 where a span is a day or longer."""
        return max(1, round(_DAY * 1e6 / self.every))

    @property
    def week(self) -> int:
        """How many spans a week has."""
        return max(1, round(7 * _DAY * 1e6 / self.every))

    def wall(self, spans: npt.NDArray[np.int64]) -> npt.NDArray[np.datetime64]:
        """The local time at which each of these spans begins."""
        return ((spans + self.first) * self.every).astype("datetime64[us]")

    def calendar(self, spans: npt.NDArray[np.int64]) -> Floats:
        """For each span the hour of the day with its fraction, the weekday (0 is Monday) and whether it is a holiday."""
        wall = self.wall(spans)
        days = wall.astype("datetime64[D]")
        hours = (wall - days).astype(np.int64) / 3.6e9
        weekdays = (days.astype(np.int64) + 3) % 7
        free = np.isin(days, np.array(sorted(self.holidays), "datetime64[D]"))
        return np.column_stack([hours, weekdays, free]).astype(np.float64)

    def until(self, origin: int) -> Panel:
        """The same without what came at this span and later."""
        return replace(self, values=self.values[:, :origin])

    def rows(self, chosen: npt.NDArray[np.bool_]) -> Panel:
        """The same with these series only."""
        return replace(self, keys=self.keys.filter(pl.Series(chosen)), values=self.values[chosen])

    def units(self, origin: int) -> tuple[Floats, Floats]:
        """The level and the unit of each series before a span.

        The level is the mean of the last week, the unit the mean change from one day to the next; never zero.
        """
        past = self.values[:, max(0, origin - 4 * self.week) : origin]
        level = _mean(past[:, -self.week :], _mean(past, np.zeros(len(past))))
        lag = self.day if past.shape[1] > self.day else 1
        change = _mean(np.abs(past[:, lag:] - past[:, :-lag]), np.zeros(len(past)))
        return level, change + 1e-6 * (1e-3 + np.abs(level))

    def following(self, horizon: int) -> tuple[list[datetime], npt.NDArray[np.int64]]:
        """The next instants, in UTC, and the span on the wall that each of them falls into."""
        zone = ZoneInfo(self.zone)
        last = _EPOCH + timedelta(microseconds=(self.first + self.spans - 1) * self.every)
        length = timedelta(microseconds=self.every)
        utc = ZoneInfo("UTC")
        if self.every % (_DAY * 1_000_000) == 0:  # a day of 23 hours is a day
            walls = [last + length * step for step in range(1, horizon + 1)]
            return [wall.replace(tzinfo=zone).astimezone(utc) for wall in walls], np.arange(horizon) + self.spans
        start = last.replace(tzinfo=zone, fold=1).astimezone(utc)
        instants = [start + length * step for step in range(1, horizon + 1)]
        walls = [instant.astimezone(zone).replace(tzinfo=None) for instant in instants]
        return instants, np.array([(wall - _EPOCH) // length - self.first for wall in walls], np.int64)


def _mean(values: Floats, otherwise: Floats) -> Floats:
    """The mean of each row's known values."""
    known = ~np.isnan(values)
    count = known.sum(1)
    total = np.where(known, values, 0.0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), otherwise)


def panel(
    frame: pl.DataFrame | pl.LazyFrame,
    *,
    time: str = "at",
    value: str = "value",
    series: Sequence[str] | None = None,
    every: Duration | None = None,
    zone: str = "UTC",
    holidays: Iterable[date] = (),
    gaps: Literal["unknown", "zero"] = "unknown",
) -> Panel:
    """Lay rows of a time and a value on a grid.

    - ``series``: the columns that tell series apart; if not given, all but the time and the value
    - ``every``: the length of a span; if not given, the most frequent distance of two times
    - ``zone``: the time zone people live in. Times without one are UTC
    - ``gaps``: whether a span without a row is unknown, or zero as in counts

    Several values in one span are averaged. NaN and infinite values are unknown. Raises `DataError` where the rows make no
    grid.

    >>> rows = pl.DataFrame({"at": [datetime(2026, 1, 1, hour) for hour in (0, 1, 3)], "value": [1, 2, 4]})
    >>> panel(rows).values
    array([[ 1.,  2., nan,  4.]])
    """
    rows = frame.lazy().collect() if isinstance(frame, pl.DataFrame | pl.LazyFrame) else _refuse(frame)
    for name, role in ((time, "time"), (value, "value")):
        if name not in rows.columns:
            raise DataError(f"there is no column {name!r} among {rows.columns}; name the {role} column with {role}=")
    keys = [name for name in rows.columns if name not in (time, value)] if series is None else list(series)
    if absent := [name for name in keys if name not in rows.columns]:
        raise DataError(f"series={keys}: there is no column {absent[0]!r} among {rows.columns}")
    rows = rows.select(*keys, _moment(rows.schema[time], time), _number(rows.schema[value], value))
    if rows.height < 2:
        raise DataError(f"{rows.height} row(s) are too few to forecast from; record for longer, or ask for shorter spans")
    if unknown := rows["_at"].null_count():
        raise DataError(f"{unknown} of {rows.height} rows have no time in {time!r}; leave them out")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DataError(f"zone={zone!r} is no time zone; write one such as 'Europe/Berlin'") from error
    length = round(seconds(every) * 1e6) if every is not None else _usual(rows, keys)
    if length < 1:
        raise DataError(f"every={every!r}: a span must last at least a microsecond")
    return _grid(rows, keys, length, zone, _dates(holidays), gaps)


def _refuse(frame: Any) -> pl.DataFrame:
    raise DataError(f"{type(frame).__name__} is no frame; give a Polars frame with a time and a value in each row")


def _moment(kind: pl.DataType, name: str) -> pl.Expr:
    if kind == pl.Date:
        return pl.col(name).cast(pl.Datetime("us", "UTC")).alias("_at")
    if not isinstance(kind, pl.Datetime):
        raise DataError(f"the column {name!r} holds {kind}, not times; parse it first, such as with str.to_datetime()")
    column = pl.col(name).cast(pl.Datetime("us", kind.time_zone))
    return (column if kind.time_zone else column.dt.replace_time_zone("UTC")).dt.convert_time_zone("UTC").alias("_at")


def _number(kind: pl.DataType, name: str) -> pl.Expr:
    if kind.is_temporal() or not (kind.is_numeric() or kind in (pl.Boolean, pl.Null)):
        raise DataError(f"the column {name!r} holds {kind}, not numbers; turn it into numbers first")
    column = pl.col(name).cast(pl.Float64)
    return pl.when(column.is_finite()).then(column).alias("_value")


def _usual(rows: pl.DataFrame, keys: Sequence[str]) -> int:
    """The most frequent distance between two times of a series."""
    times = rows.select(*keys, "_at").unique().sort(*keys, "_at")
    away = pl.col("_at").diff()
    steps = times.select((away.over(keys) if keys else away).dt.total_microseconds().alias("step"))["step"].drop_nulls()
    if steps.is_empty():
        raise DataError("no series has two different times; record for longer, or say which spans to use with every=")
    return int(steps.value_counts().sort(["count", "step"], descending=[True, False])["step"][0])


def _dates(holidays: Iterable[date]) -> frozenset[date]:
    found = set()
    for each in holidays:
        if not isinstance(each, date):
            raise DataError(f"holidays holds {each!r}; give each as a datetime.date")
        found.add(each.date() if isinstance(each, datetime) else each)
    return frozenset(found)


def _grid(rows: pl.DataFrame, keys: Sequence[str], length: int, zone: str, holidays: frozenset[date], gaps: str) -> Panel:
    wall = pl.col("_at").dt.convert_time_zone(zone).dt.replace_time_zone(None)
    rows = (
        rows.with_columns((wall.dt.epoch("us") // length).alias("_span"))
        .group_by(*keys, "_span", maintain_order=True)
        .agg(pl.col("_value").mean())
    )
    first, last = int(rows["_span"].min()), int(rows["_span"].max())  # type: ignore[arg-type]
    spans = last - first + 1
    known = rows["_span"].n_unique()
    if spans > _SPARSE * known + 1000:
        ends = [_EPOCH + timedelta(microseconds=span * length) for span in (first, last)]
        raise DataError(
            f"the times reach from {ends[0]} to {ends[1]}, but only {known:,} of {spans:,} spans hold a row; leave out "
            f"the rows of a clock that jumped, or give longer spans with every="
        )
    names = rows.select(keys).unique(maintain_order=True).sort(keys) if keys else pl.DataFrame({"series": ["all"]})
    numbered = names.with_row_index("_row")
    rows = rows.join(numbered, on=keys, nulls_equal=True) if keys else rows.with_columns(pl.lit(0).alias("_row"))
    values = np.full((len(names), spans), np.nan)
    values[rows["_row"].to_numpy(), (rows["_span"] - first).to_numpy()] = rows["_value"].to_numpy()
    if gaps == "zero":
        values = np.nan_to_num(values, nan=0.0)
    return Panel(names, values, first, length, zone, holidays)
