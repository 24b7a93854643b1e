"""The pipeline of the demonstration: what a user of the library writes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from warren.apps.demo.weather import Weather, WeatherService
from warren.connectors import files
from warren.core.errors import RejectedError
from warren.core.graph import Sink, Source
from warren.operators import (
    aggregate,
    batch,
    collect,
    count,
    exponential,
    map,
    mean,
    quantile,
    retry,
    route,
    tumbling,
    window,
)
from warren.pipelines import Pipeline

__all__ = ["AIRPORTS", "Departure", "Flight", "flights"]

AIRPORTS = ("EWR", "JFK", "LGA")


class Flight(msgspec.Struct, frozen=True, gc=False):
    """A flight as its message tells it. Delays are in minutes; without a departure time it was cancelled."""

    id: int
    scheduled: datetime
    origin: Literal["EWR", "JFK", "LGA"]
    dest: str
    carrier: str
    flight: int
    distance: int
    dep_time: int | None
    dep_delay: float | None


class Departure(msgspec.Struct, frozen=True):
    """A flight that left, and the weather it left in."""

    flight: Flight
    weather: Weather | None


def airport(departure: Departure) -> str:
    """Where it left."""
    return departure.flight.origin


def scheduled(departure: Departure) -> datetime:
    """When it was to leave."""
    return departure.flight.scheduled


def delay(departure: Departure) -> float:
    """How many minutes late it left; negative where it was early."""
    return departure.flight.dep_delay or 0.0


def visibility(departure: Departure) -> float:
    """How many miles one could see; not a number where that was not measured."""
    return _number(departure.weather.visibility if departure.weather else None)


def wind(departure: Departure) -> float:
    """The wind in miles an hour; not a number where that was not measured."""
    return _number(departure.weather.wind if departure.weather else None)


def number(departure: Departure) -> int:
    """Which flight it was."""
    return departure.flight.id


def departed(flight: Flight) -> Flight:
    """The flight, if it left."""
    if flight.dep_time is None:
        raise RejectedError("cancelled")
    return flight


def flights(source: Source[Flight], service: WeatherService, folder: Path, dead_letters: str | None = None) -> Pipeline:
    """One row for each airport and hour, in Parquet files by airport; cancelled flights go to the dead letters.

    Delivery: at least once. A row can be written again after a crash; it then has the same ``flights``.
    """

    async def join_weather(flight: Flight) -> Departure:
        return Departure(flight, await service.at(flight.origin, flight.scheduled))

    hourly = window(tumbling("1h"), by=airport, time=scheduled, idle=None) | aggregate(
        departures=count(),
        delay=mean(delay),
        delay_p50=quantile(0.5, delay),
        delay_p90=quantile(0.9, delay),
        visibility=mean(visibility),
        wind=mean(wind),
        flights=collect(number),
    )

    return Pipeline(
        "flights",
        source
        | map(departed)
        | map(join_weather, concurrency=64)
        | retry(exponential("20ms", attempts=10), on=ConnectionError)
        | hourly
        | route(
            airport_of,
            EWR=_parquet(folder / "EWR"),
            JFK=_parquet(folder / "JFK"),
            LGA=_parquet(folder / "LGA"),
        ),
        dead_letters=dead_letters,
    )


def airport_of(hour: dict[str, Any]) -> str:
    """The airport of a row."""
    return str(hour["key"])


def _parquet(folder: Path) -> Sink[Any]:
    return batch(500, "1s") | files.parquet(folder)


def _number(measured: float | None) -> float:
    return float("nan") if measured is None else measured
