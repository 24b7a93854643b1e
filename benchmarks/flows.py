"""The summary of a day of recorded trips: how long it takes, and the most memory, in a process of its own.

    python -m benchmarks.flows --rows 100_000_000

The rows are those of ``warren demo``, departures through its pipeline, repeated and spread over a day, in the recorder's own
schema and encodings. One file is written and linked under other names until there are as many rows as asked for, so the disk
gives little of what is read; the rest, unpacking and counting, is as for different files.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from warren.analytics import Flows
from warren.analytics.layout import Partition
from warren.analytics.rolling import GROUP, options
from warren.analytics.schema import TRIPS
from warren.apps.demo.run import demo

__all__ = ["generate", "main", "summarised"]

SECONDS, GIGABYTES = 30.0, 4.0
"""What a summary of a day of 100 million trips may take."""
FILE = 1_000_000
DEMO = 20_000
GUARD = 8 << 30
"""Bytes of address space, above which the process is not to go, whatever happens."""

_DAY = 86_400_000_000


class Taken(NamedTuple):
    """What a summary took: rows, seconds, processor seconds, and the most memory in GB."""

    rows: int
    seconds: float
    processor: float
    gigabytes: float


def generate(folder: Path, rows: int) -> None:
    """Write recorded flows of one day with so many trips."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        demo("memory:", folder / "demo", DEMO, None, False)
    trips = pa.concat_tables(
        pq.read_table(file, schema=TRIPS, partitioning=None)
        for file in sorted((folder / "demo").glob("flow/trips/**/*.parquet"))
    )
    place = folder / "flows" / "trips" / Partition("flights", datetime.fromtimestamp(_start(trips) / 1e6, UTC).date()).path
    place.mkdir(parents=True)
    count = min(rows, FILE)
    first = _write(trips, count, place / "000000.parquet")
    for number in range(1, rows // count):
        os.link(first, place / f"{number:06d}.parquet")
    if left := rows % count:
        _write(trips, left, place / "last.parquet")


def _start(trips: pa.Table) -> int:
    """Microseconds from 1970 to the day on which the first trip ended."""
    settled = trips["settled"].cast(pa.int64()).to_numpy()
    return int(settled.min()) // _DAY * _DAY


def _write(trips: pa.Table, rows: int, file: Path) -> Path:
    """So many of these trips, again and again, spread over their day."""
    table = pa.concat_tables([trips] * -(-rows // len(trips))).slice(0, rows).unify_dictionaries()
    at = _start(trips) + np.arange(rows) * (_DAY // rows)
    away = at - table["settled"].cast(pa.int64()).to_numpy()
    for name in ("enqueued", "received", "settled"):
        place = table.schema.get_field_index(name)
        moved = pa.array(
            table[name].cast(pa.int64()).fill_null(0).to_numpy() + away, pa.int64(), mask=table[name].is_null().to_numpy()
        )
        table = table.set_column(place, TRIPS.field(name), moved.cast(TRIPS.field(name).type))
    pq.write_table(table.replace_schema_metadata(TRIPS.metadata), file, row_group_size=GROUP, **options(TRIPS))
    return file


def summarised(folder: Path) -> Taken:
    """Take a summary, here and now."""
    resource.setrlimit(resource.RLIMIT_AS, (GUARD, GUARD))
    start = time.perf_counter()
    rows = int(Flows(folder).summary()["messages"].sum())
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Taken(rows, seconds, used.ru_utime + used.ru_stime, _peak() / 1e6)


def _peak() -> float:
    """The most memory of this process in kB; unlike ``ru_maxrss``, without that of the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, summarise in a process of its own, and say what that took; 1 where it is more than it may be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many trips (default: %(default)s)")
    rows: int = parser.parse_args(arguments).rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{rows:,} trips: {DEMO:,} of the demo, repeated over a day, in files of {FILE:,} that are links to one.")
        generate(folder, rows)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            taken = pool.submit(summarised, folder / "flows").result()
    print(
        f"summary of {taken.rows:,} trips: {taken.seconds:.1f} s ({taken.processor:.1f} s of the processors), "
        f"{taken.gigabytes:.2f} GB; the bars are {SECONDS:g} s and {GIGABYTES:g} GB."
    )
    return 0 if taken.rows == rows and taken.seconds <= SECONDS and taken.gigabytes <= GIGABYTES else 1


if __name__ == "__main__":
    sys.exit(main())
