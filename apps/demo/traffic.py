"""How the messages moved, from the recording of the flow."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl

from warren.analytics import Flows

__all__ = ["Traffic", "traffic"]


class Traffic(NamedTuple):
    """Figures of a recorded run.

    Latencies are in milliseconds, from receiving a message until what came of it is safe.
    ``spread`` has the share of messages (``share``) that were faster than ``latency``; ``seconds`` has the messages settled
    in each second by outcome; ``routes`` how many went where.
    """

    rate: float
    retried: int
    p50: float
    p99: float
    spread: pl.DataFrame
    seconds: pl.DataFrame
    routes: pl.DataFrame


def traffic(folder: Path, rate: float) -> Traffic:
    """The figures of the recording in a folder; ``rate`` is how many messages a second were measured."""
    trips = Flows(folder).trips.with_columns(
        latency=(pl.col("settled") - pl.col("received")).dt.total_microseconds() / 1000,
        outcome=pl.col("outcome").cast(pl.String),
        route=pl.col("route").cast(pl.String),
    )
    steps = [step / 200 for step in range(1, 199)] + [0.995, 0.999]
    figures = trips.select(
        retried=(pl.col("attempts") > 1).sum(),
        p50=pl.col("latency").quantile(0.5),
        p99=pl.col("latency").quantile(0.99),
    ).collect()
    latencies = trips.select(pl.col("latency").sort()).collect()["latency"]
    places = [round(step * (len(latencies) - 1)) for step in steps] if len(latencies) else []
    spread = pl.DataFrame({"share": steps[: len(places)], "latency": latencies.gather(places)})
    seconds = trips.group_by(pl.col("settled").dt.truncate("1s").alias("second"), "outcome").len().sort("second").collect()
    routes = trips.group_by("route", "outcome").len().sort("len", descending=True).collect()
    retried, p50, p99 = figures.row(0)
    return Traffic(rate, int(retried or 0), float(p50 or 0), float(p99 or 0), spread, seconds, routes)
