"""Series with days, weeks and noise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday


def hourly(weeks: int, series: int = 1, *, noise: float = 1.0, seed: int = 1, yearly: float = 0.0) -> pl.DataFrame:
    """A row for each hour: busy by day, calm at the weekend, growing by a share in a year."""
    draw = np.random.default_rng(seed)
    hours = np.arange(weeks * 168)
    shape = 50 + 20 * np.sin((hours % 24 - 8) * np.pi / 12) - 15 * (hours // 24 % 7 >= 5)
    grown = shape * (1 + yearly) ** (hours / (365.25 * 24))
    at = pl.datetime_range(START, START + timedelta(hours=len(hours)), "1h", closed="left", eager=True)
    return pl.concat(
        pl.DataFrame({"queue": f"q{each:02}", "at": at, "value": grown * (1 + each) + draw.normal(0, noise, len(hours))})
        for each in range(series)
    )
