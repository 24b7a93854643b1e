"""Recordings of weeks of hourly traffic, written as the recorder writes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from warren.analytics.layout import folder_of
from warren.analytics.schema import STAGES, TRIPS, WORKERS

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
HOUR = 3_600_000_000
CHUNK = 10


def busy(hours: np.ndarray, base: float = 40.0, yearly: float = 0.0) -> np.ndarray:
    """Messages in each hour: busy by day, calm at the weekend, growing by a share in a year."""
    shape = 1 + 0.5 * np.sin((hours % 24 - 8) * np.pi / 12) - 0.3 * (hours // 24 % 7 >= 5)
    return base * shape * (1 + yearly) ** (hours / (365.25 * 24))


def record(
    folder: Path,
    counts: np.ndarray,
    *,
    pipeline: str = "orders",
    start: datetime = START,
    service: float = 0.05,
    stages: Callable[[int], dict[str, float]] | None = None,
    wait: float = 0.5,
    retried: float = 0.0,
    seed: int = 1,
) -> None:
    """Write a recording with so many messages in each hour from ``start`` on; ``service`` is in seconds.

    ``stages`` says which share of it each stage takes, by the day.
    """
    draw = np.random.default_rng(seed)
    began = int(start.timestamp() * 1e6)
    for day in range(-(-len(counts) // 24)):
        part = np.asarray(counts[day * 24 : day * 24 + 24])
        # A few messages tell the first and the last hour whole, as a recorder that runs on would.
        received = np.concatenate(
            [
                began + (day * 24 + hour) * HOUR + np.sort(draw.integers(0, HOUR, int(count)))
                for hour, count in enumerate(part)
            ]
        ).astype(np.int64)
        if not len(received):
            continue
        date = np.datetime64(int(received[0]), "us").astype("datetime64[D]")
        place = f"{folder_of(pipeline)}/day={date}"
        _trips(folder / "trips" / place, received, draw, service, wait, retried)
        shares = stages(day) if stages is not None else {"1:map": 1.0}
        _stages(folder / "stages" / place, received, draw, service, shares)


def work(folder: Path, stage: str, *, workers: int, seconds: float, counts: np.ndarray, pipeline: str = "orders") -> None:
    """Record that calls of a stage took so many seconds for each message, from the first hour of `START` on."""
    began = int(START.timestamp() * 1e6)
    for day in range(-(-len(counts) // 24)):
        part = np.asarray(counts[day * 24 : day * 24 + 24], np.int64)
        starts = began + (day * 24 + np.arange(len(part))) * HOUR
        columns = {
            "stage": _words([stage] * len(part)),
            "start": _times(starts),
            "end": _times(starts + HOUR - 1),
            "workers": pa.array(np.full(len(part), workers, np.int64)),
            "waiting": pa.array(np.zeros(len(part), np.int64)),
            "served": pa.array(part),
            "busy": pa.array(part * seconds),
            "stayed": pa.array(part * seconds),
        }
        date = np.datetime64(int(starts[0]), "us").astype("datetime64[D]")
        _write(folder / "workers" / f"{folder_of(pipeline)}/day={date}", WORKERS, columns, len(part))


def _trips(
    folder: Path, received: np.ndarray, draw: np.random.Generator, service: float, wait: float, retried: float
) -> None:
    count = len(received)
    took = (draw.exponential(service, count) * 1e6).astype(np.int64)
    columns = {
        "source": _words(["orders.in"] * count),
        "route": _words(["orders.out"] * count),
        "size": pa.array(np.full(count, 100, np.int64)),
        "enqueued": _times(received - (draw.exponential(wait, count) * 1e6).astype(np.int64)),
        "received": _times(received),
        "settled": _times(received + took),
        "attempts": pa.array((1 + (draw.random(count) < retried)).astype(np.int32)),
        "outcome": _words(["delivered"] * count),
    }
    _write(folder, TRIPS, columns, count)


def _stages(folder: Path, received: np.ndarray, draw: np.random.Generator, service: float, shares: dict[str, float]) -> None:
    starts = received[::CHUNK]
    taken = np.full(len(starts), CHUNK, np.int64)
    taken[-1] = len(received) - CHUNK * (len(starts) - 1)
    names, begins, ends, counts = [], [], [], []
    for name, share in shares.items():
        took = (draw.gamma(taken, service * share) * 1e6).astype(np.int64)
        names += [name] * len(starts)
        begins.append(starts)
        ends.append(starts + took)
        counts.append(taken)
    all_taken = pa.array(np.concatenate(counts))
    columns = {
        "stage": _words(names),
        "taken": all_taken,
        "given": all_taken,
        "failed": pa.array(np.zeros(len(names), np.int64)),
        "start": _times(np.concatenate(begins)),
        "end": _times(np.concatenate(ends)),
        "credit": pa.array(np.full(len(names), 20, np.int64)),
        "depth": pa.array(draw.poisson(3, len(names)).astype(np.int64)),
    }
    _write(folder, STAGES, columns, len(names))


def _words(values: list[str]) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode()


def _times(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.timestamp("us", tz="UTC"))


def _write(folder: Path, schema: pa.Schema, columns: dict[str, pa.Array], count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = [columns[field.name] if field.name in columns else pa.nulls(count, field.type) for field in schema]
    name = f"made-{len(list(folder.iterdir()))}.parquet"
    pq.write_table(
        pa.Table.from_arrays([array.cast(field.type) for array, field in zip(arrays, schema, strict=True)], schema=schema),
        folder / name,
    )
