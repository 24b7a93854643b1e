"""A weather service as they are: a short wait for what it has not looked up yet, and now and then no answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import datetime

import msgspec

__all__ = ["Weather", "WeatherService"]


class Weather(msgspec.Struct, frozen=True):
    """One hour at one airport: degrees Fahrenheit, miles an hour, inches of rain and miles; None was not measured."""

    temperature: float | None
    wind: float | None
    gusts: float | None
    rain: float | None
    visibility: float | None


class WeatherService:
    """Answers from measurements; about one call in ``fails_every`` raises `ConnectionError`, the same ones in each run.

    >>> service = WeatherService({}, fails_every=1)
    >>> asyncio.run(service.at("JFK", datetime(2013, 2, 8)))
    Traceback (most recent call last):
        ...
    ConnectionError: the weather service did not answer
    """

    def __init__(
        self, hours: Mapping[tuple[str, datetime], Weather], *, fails_every: int = 500, wait: float = 0.001
    ) -> None:
        self._hours = hours
        self._fails_every = fails_every
        self._wait = wait
        self._random = random.Random(2013)
        self._known: set[tuple[str, datetime]] = set()

    async def at(self, airport: str, time: datetime) -> Weather | None:
        """The weather of an hour, or None where it was not measured."""
        hour = airport, time.replace(minute=0)
        if hour not in self._known:
            self._known.add(hour)
            await asyncio.sleep(self._wait)
        if self._random.random() * self._fails_every < 1:
            raise ConnectionError("the weather service did not answer")
        return self._hours.get(hour)
