"""Three whole pipelines, with the state in a file where there is state; the columnar ones beside Polars and DuckDB.

- windows: parse → filter → map → tumbling windows by key → a total of each
- running: parse → a running total by key, of which every value goes on
- frames: structs → frames → Polars expressions → totals by region; expressions: the same of Arrow batches
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.harness import Bar, Case, Subject
from benchmarks.steps import sums
from benchmarks.steps.readings import EPOCH, START, checked
from benchmarks.steps.sides import WINDOW_TALK, in_bytewax, in_warren

__all__ = ["BARS", "CASES"]

KEYS = 1_000
RATE = 2_000.0
"""Messages in a second of event time; without a file a pipeline holds those of its open windows."""
LENGTH = 10.0
FLOOR = 10.0
LATENESS = 5.0
"""Bytewax lets event time go on by the clock as well, so with less a pause of the machine makes its values late."""


class Trade(msgspec.Struct):
    """What a message says."""

    key: str
    time: float
    amount: float


class TradeAt(msgspec.Struct):
    """The same with the time as Bytewax asks for it; the decoder makes it of the number."""

    key: str
    time: datetime
    amount: float


def trades(size: int) -> list[bytes]:
    return [
        b'{"key":"key-%d","time":%.4f,"amount":%.2f}' % (i * 7919 % KEYS, START + i / RATE, i % 401 / 4) for i in range(size)
    ]


def large(trade: Any) -> bool:
    return bool(trade.amount >= FLOOR)


def priced(trade: Any) -> Any:
    trade.amount *= 1.25
    return trade


key, amount = attrgetter("key"), attrgetter("amount")
decode = msgspec.json.Decoder(Trade).decode
decode_at = msgspec.json.Decoder(TradeAt, strict=False).decode

Totals = list[tuple[str, float]]


def expected_windows(bodies: list[bytes]) -> Totals:
    totals: defaultdict[tuple[str, float], float] = defaultdict(float)
    for trade in map(decode, bodies):
        if large(trade):
            totals[trade.key, trade.time // LENGTH] += trade.amount * 1.25
    return sorted((key, total) for (key, _), total in totals.items())


def warren_windows(state: bool) -> Callable[[list[bytes]], Totals]:
    def run(bodies: list[bytes]) -> Totals:
        from warren.operators import aggregate, filter, map, total, tumbling, window

        windows = window(tumbling(f"{LENGTH:g}s"), by=key, time=attrgetter("time"), lateness=LATENESS)
        step = filter(large) | map(priced) | windows | aggregate(total=total(amount))
        return [(row["key"], row["total"]) for row in in_warren(bodies, step, Trade, state=state)]

    return run


def bytewax_windows(bodies: list[bytes]) -> Totals:
    def build(op: Any, stream: Any) -> Any:
        import bytewax.operators.windowing as win

        stream = op.map("price", op.filter("large", op.map("decode", stream, decode_at), large), priced)
        clock = win.EventClock(attrgetter("time"), timedelta(seconds=LATENESS))
        windower = win.TumblingWindower(timedelta(seconds=LENGTH), EPOCH)

        def add(total: float, trade: TradeAt) -> float:
            return total + trade.amount

        pairs = op.key_on("key", stream, key)
        return win.fold_window("sum", pairs, clock, windower, float, add, lambda a, b: a + b, ordered=False).down

    return [(key, total) for key, (_, total) in in_bytewax(bodies, build, state=True, talk=WINDOW_TALK)]


def lines(size: int) -> Any:
    """The messages as lines of a file, which is how Polars and DuckDB read JSON; it goes with the program."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "trades.jsonl"
    path.write_bytes(b"\n".join(trades(size)) + b"\n")
    return str(path), size


def polars_windows(given: Any) -> Totals:
    import polars as pl

    trades = pl.scan_ndjson(given[0], schema={"key": pl.String, "time": pl.Float64, "amount": pl.Float64})
    totals = (
        trades.filter(pl.col("amount") >= FLOOR)
        .with_columns(pl.col("amount") * 1.25, (pl.col("time") // LENGTH).alias("window"))
        .group_by("key", "window")
        .agg(pl.col("amount").sum())
        .collect(engine="streaming")
    )
    return list(totals.select("key", "amount").iter_rows())


def duckdb_windows(given: Any) -> Totals:
    import duckdb

    query = (
        "SELECT key, sum(amount * 1.25) FROM read_json(?, format='newline_delimited', "
        "columns={key: 'VARCHAR', time: 'DOUBLE', amount: 'DOUBLE'}) WHERE amount >= ? GROUP BY key, floor(time / ?)"
    )
    with duckdb.connect() as db:
        return db.execute(query, [given[0], FLOOR, LENGTH]).fetchall()


def expected_running(bodies: list[bytes]) -> list[float]:
    totals: defaultdict[str, float] = defaultdict(float)
    found = []
    for trade in map(decode, bodies):
        totals[trade.key] += trade.amount
        found.append(totals[trade.key])
    return found


def add(total: float, trade: Trade) -> float:
    return total + trade.amount


def warren_running(state: bool) -> Callable[[list[bytes]], list[float]]:
    def run(bodies: list[bytes]) -> list[float]:
        from warren.operators import scan

        return in_warren(bodies, scan(add, 0.0, by=key), Trade, state=state)

    return run


def bytewax_running(bodies: list[bytes]) -> list[float]:
    def added(total: float | None, trade: Trade) -> tuple[float, float]:
        total = add(total or 0.0, trade)
        return total, total

    def build(op: Any, stream: Any) -> Any:
        pairs = op.key_on("key", op.map("decode", stream, decode), key)
        return op.key_rm("total", op.stateful_map("add", pairs, added))

    return in_bytewax(bodies, build, state=True)


def structs(size: int) -> list[sums.Order]:
    return list(map(sums.decode, sums.messages(size)))


def columns_of(step: Any) -> Any:
    """Expressions on whatever comes, then totals by region."""
    import polars as pl

    from warren.operators import aggregate, columns, flat_map, total

    expressions = columns(pl.col("amount") * 1.25, filter=pl.col("amount") >= 10.0 * 1.25)
    step = expressions if step is None else step | expressions
    return step | flat_map(sums.sums_by_region) | aggregate(by=itemgetter(0), amount=total(itemgetter(1)))


def warren_frames(orders: list[sums.Order]) -> sums.Totals:
    from warren.operators import frames

    return {row["key"]: row["amount"] for row in in_warren(orders, columns_of(frames(sums.ROWS)))}


def by_hand(orders: list[sums.Order]) -> sums.Totals:
    """A loop over slices, each made a frame column by column."""
    import polars as pl

    totals: sums.Totals = {}
    for start in range(0, len(orders), sums.ROWS):
        part = orders[start : start + sums.ROWS]
        columns = {
            "id": pl.Series([order.id for order in part], dtype=pl.String),
            "region": pl.Series([order.region for order in part], dtype=pl.String),
            "amount": pl.Series([order.amount for order in part], dtype=pl.Float64),
        }
        for pair in sums.sums_by_region(sums.priced_rows(sums.large_rows(pl.DataFrame(columns)))):
            sums.accumulate(totals, pair)
    return totals


def warren_expressions(bodies: list[bytes]) -> sums.Totals:
    import polars as pl

    return {row["key"]: row["amount"] for row in in_warren(bodies, columns_of(None), pl.DataFrame)}


def polars_expressions(bodies: list[bytes]) -> sums.Totals:
    import polars as pl

    frame = pl.concat([sums.read_frame(body) for body in bodies], rechunk=False)
    rows = frame.lazy().with_columns(pl.col("amount") * 1.25).filter(pl.col("amount") >= 10.0 * 1.25)
    return dict(rows.group_by("region").agg(pl.col("amount").sum()).collect(engine="streaming").iter_rows())


def duckdb_expressions(bodies: list[bytes]) -> sums.Totals:
    import duckdb
    import pyarrow as pa

    tables = []
    for body in bodies:
        with pa.ipc.open_stream(body) as reader:
            tables.append(reader.read_all())
    with duckdb.connect() as db:
        db.register("orders", pa.concat_tables(tables))
        return dict(db.execute("SELECT region, sum(amount * 1.25) FROM orders WHERE amount >= 10 GROUP BY 1").fetchall())


WINDOWS = Case(
    "pipeline-windows",
    "messages/s",
    [
        Subject("warren", checked(trades, warren_windows(state=True), expected_windows, sorted)),
        Subject("warren-memory", checked(trades, warren_windows(state=False), expected_windows, sorted)),
        Subject("bytewax", checked(trades, bytewax_windows, expected_windows, sorted), needs="bytewax"),
        Subject("polars", checked(lines, polars_windows, lambda given: expected_windows(trades(given[1])), sorted)),
        Subject(
            "duckdb", checked(lines, duckdb_windows, lambda given: expected_windows(trades(given[1])), sorted), "duckdb"
        ),
    ],
    size=1_000_000,
    quick_size=100_000,
    note=f"{KEYS:,} keys; warren and bytewax with their state on disk every second, warren-memory without; Polars "
    "(streaming) and DuckDB read a file of JSON lines",
    quick=False,
)
RUNNING = Case(
    "pipeline-running",
    "messages/s",
    [
        Subject("warren", checked(trades, warren_running(state=True), expected_running)),
        Subject("warren-memory", checked(trades, warren_running(state=False), expected_running)),
        Subject(
            "bytewax", checked(trades, bytewax_running, lambda given: sorted(expected_running(given)), sorted), "bytewax"
        ),
    ],
    size=1_000_000,
    quick_size=100_000,
    note=f"{KEYS:,} keys; warren and bytewax with their state on disk every second, warren-memory without",
)
FRAMES = Case(
    "pipeline-frames",
    "rows/s",
    [
        Subject("warren", checked(structs, warren_frames, lambda given: sums.expected(len(given)), dict)),
        Subject("limit", checked(structs, by_hand, lambda given: sums.expected(len(given)), dict)),
    ],
    size=2_000_000,
    quick_size=200_000,
    note=f"structs to frames of {sums.ROWS:,}; limit: a loop by hand, with Polars",
    quick=False,
)
EXPRESSIONS = Case(
    "pipeline-columns",
    "rows/s",
    [
        Subject("warren", sums.timed(sums.frames, warren_expressions)),
        Subject("polars", sums.timed(sums.frames, polars_expressions)),
        Subject("duckdb", sums.timed(sums.frames, duckdb_expressions), needs="duckdb"),
    ],
    size=5_000_000,
    quick_size=1_000_000,
    note=f"Arrow batches of {sums.ROWS:,} rows, all of which Polars (streaming) and DuckDB get at once",
    quick=False,
)
CASES = [WINDOWS, RUNNING, FRAMES, EXPRESSIONS]
BARS = [
    Bar(WINDOWS.name, "bytewax", 1.5),
    Bar(RUNNING.name, "bytewax", 1.5),
    Bar(FRAMES.name, "limit", 0.5),
    Bar(EXPRESSIONS.name, "polars", 0.5),
    Bar(EXPRESSIONS.name, "duckdb", 0.5),
]
