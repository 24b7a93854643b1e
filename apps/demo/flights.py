"""The pipeline of the demonstration: what a user of the library writes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

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
    delay: float
    weather: Weather | None


def flights(source: Source[Flight], service: WeatherService, folder: Path) -> Pipeline:
    """One row for each airport and hour, in Parquet files by airport; cancelled flights among the dead letters."""

    def departed(flight: Flight) -> Flight:
        if flight.dep_time is None:
            raise RejectedError("cancelled")
        return flight

    async def join_weather(flight: Flight) -> Departure:
        weather = await service.at(flight.origin, flight.scheduled)
        return Departure(flight, flight.dep_delay or 0.0, weather)

    def airport(departure: Departure) -> str:
        return departure.flight.origin

    hourly = window(tumbling("1h"), by=airport, time=lambda departure: departure.flight.scheduled, idle=None) | aggregate(
        departures=count(),
        delay=mean(lambda departure: departure.delay),
        delay_p50=quantile(0.5, lambda departure: departure.delay),
        delay_p90=quantile(0.9, lambda departure: departure.delay),
        visibility=mean(lambda departure: _measured(departure.weather, "visibility")),
        wind=mean(lambda departure: _measured(departure.weather, "wind")),
        flights=collect(lambda departure: departure.flight.id),
    )

    def parquet(airport: str) -> Sink[dict[str, object]]:
        return batch(500, "1s") | files.parquet(folder / airport)

    return Pipeline(
        "flights",
        source
        | map(departed)
        | map(join_weather, concurrency=64)
        | retry(exponential("20ms", attempts=10), on=ConnectionError)
        | hourly
        | route(lambda hour: hour["key"], **{airport: parquet(airport) for airport in AIRPORTS}),
    )


def _measured(weather: Weather | None, what: str) -> float:
    value = getattr(weather, what, None)
    return float("nan") if value is None else float(value)
