"""The hours of recorded flows: what was unusual in them, and the next day as forecasters see it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import polars as pl

from warren.analytics.alarms import Alarms
from warren.analytics.flows import Flows
from warren.analytics.forecasts import forecast, measures
from warren.analytics.novelty import Novelty
from warren.core.errors import DataError, StorageError

__all__ = ["Recorded", "hours"]

_HOUR = 3600
_SHOWN, _AHEAD = 7 * 24, 24
_QUANTILES = (0.05, 0.5, 0.95)
_AGAIN = 600.0


def hours(flows: Flows) -> dict[str, dict[str, Any]]:
    """For each pipeline the messages received in a second by hour, of the last week, as plots take them.

    With ``alarms`` for unusual hours and ``ahead``, the next day with the bounds that nine of ten hours keep to; where that
    cannot be told yet, ``why``. Raises `StorageError` where the folder holds something else.
    """
    rows = measures(flows, "1h").filter(pl.col("measure") == "rate")
    return {str(name): _hours(mine) for (name,), mine in rows.sort("at").group_by("pipeline", maintain_order=True)}


def _hours(rows: pl.DataFrame) -> dict[str, Any]:
    at = (rows["at"].dt.epoch("s")).to_list()
    values = rows["value"].to_list()
    detector = Novelty()
    bar = Alarms(detector.threshold, quiet=6)
    scores = detector.watch_many(values, at)
    alarms = [{"field": "rate", "at": at[i], "value": values[i]} for i, score in enumerate(scores) if bar.step(score)]
    points = [{"at": each, "rate": value} for each, value in zip(at, values, strict=True)][-_SHOWN:]
    told: dict[str, Any] = {"points": points, "alarms": alarms, "ahead": {}, "why": ""}
    try:
        # The last hour may not be over.
        found = forecast(rows[:-1], _AHEAD, _QUANTILES, every="1h", gaps="zero")
    except DataError as error:
        return {**told, "why": str(error)}
    low, middle, high = (found.table[f"p{round(100 * level):02}"].to_list() for level in _QUANTILES)
    ahead = {"from": at[-1] - _HOUR, "every": _HOUR, "values": middle, "low": low, "high": high}
    return {**told, "ahead": {"rate": ahead}, "method": found.method}


class Recorded:
    """What a folder of recordings tells, looked at anew every ten minutes in a thread. Raises `StorageError` without one."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._flows = Flows(folder)
        self.hours: dict[str, dict[str, Any]] = {}

    async def watch(self, notice: Callable[[str], None]) -> None:
        """Look again and again; what goes wrong is told."""
        while True:
            try:
                self.hours = await asyncio.to_thread(hours, self._flows)
            except (DataError, StorageError) as error:
                notice(f"recordings cannot be read: {error}")
            await asyncio.sleep(_AGAIN)
