"""Decode, filter, map, sum by key: warren with its receipts beside a plain loop, reactivex, streamz and Bytewax.

Every side uses the same typed decoder and the same functions, and every round's totals are checked, so no side can be
fast by being wrong. The rivals stand in the fastest form their documentation offers; the README says which were tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from benchmarks.harness import Bar, Case, Subject

REGIONS = ("eu", "us", "asia", "africa")
ROWS = 10_000
"""Rows of one Arrow batch."""
TALK = 1_000
"""Messages Bytewax takes from its source at a time: the fastest of 1, 100, 1,000 and 10,000."""

Totals = dict[str, float]


class Order(msgspec.Struct):
    """What a message says."""

    id: str
    region: str
    amount: float


decode = msgspec.json.Decoder(Order).decode


def large(order: Order) -> bool:
    return order.amount >= 10.0


def priced(order: Order) -> tuple[str, float]:
    return order.region, order.amount * 1.25


def accumulate(totals: Totals, pair: tuple[str, float]) -> Totals:
    region, amount = pair
    totals[region] = totals.get(region, 0.0) + amount
    return totals


def messages(size: int) -> list[bytes]:
    return [
        b'{"id":"order-%d","region":"%s","amount":%.2f}' % (i, REGIONS[i % 4].encode(), i % 401 / 4) for i in range(size)
    ]


def frames(size: int) -> list[bytes]:
    """The same orders as Arrow streams of at most `ROWS` rows each."""
    import polars as pl

    from warren.core.codecs import encode

    bodies = []
    for start in range(0, size, ROWS):
        numbers = range(start, min(start + ROWS, size))
        columns = {
            "id": [f"order-{i}" for i in numbers],
            "region": [REGIONS[i % 4] for i in numbers],
            "amount": [i % 401 / 4 for i in numbers],
        }
        bodies.append(encode(pl.DataFrame(columns))[0])
    return bodies


def expected(size: int) -> Totals:
    numbers = np.arange(size)
    amounts = numbers % 401 / 4  # multiples of a quarter, so sums are exact in whatever order they are added
    amounts = np.where(amounts >= 10.0, amounts * 1.25, 0.0)
    return {REGIONS[k]: total for k in range(4) if (total := float(amounts[numbers % 4 == k].sum()))}


def timed(make: Callable[[int], list[bytes]], work: Callable[[list[bytes]], Totals]) -> Callable[[int], float]:
    """A subject that makes its input, times the work alone, and checks the totals; messages (or rows) a second."""

    def run(size: int) -> float:
        bodies = make(size)
        start = time.perf_counter()
        totals = work(bodies)
        seconds = time.perf_counter() - start
        if totals != expected(size):
            raise ValueError(f"the totals are {totals} and should be {expected(size)}")
        return size / seconds

    return run


def plain_loop(bodies: list[bytes]) -> Totals:
    totals: Totals = {}
    for body in bodies:
        order = decode(body)
        if large(order):
            region, amount = priced(order)
            totals[region] = totals.get(region, 0.0) + amount
    return totals


def with_warren(bodies: list[bytes]) -> Totals:
    from warren.connectors import memory

    return run_warren(memory.items(bodies, type=Order))


def with_warren_one_by_one(bodies: list[bytes]) -> Totals:
    return run_warren(one_by_one(bodies))


def run_warren(source: Any) -> Totals:
    from warren import Pipeline
    from warren.connectors import memory
    from warren.operators import aggregate, filter, map, total

    rows: list[Any] = []
    sums = aggregate(by=itemgetter(0), amount=total(itemgetter(1)))
    Pipeline("bench", source | filter(large) | map(priced) | sums | memory.into(rows)).run()
    return {row["key"]: row["amount"] for row in rows}


def one_by_one(bodies: list[bytes]) -> Any:
    """A source that never has more than one message ready: no natural batching."""
    from warren.core.graph import Inlet
    from warren.core.message import Batch

    class OneByOne(Inlet[Order]):
        type = Order

        async def open(self, *, until_empty: bool = False) -> Any:
            return Connection()

    class Connection:
        def __init__(self) -> None:
            self.left = enumerate(bodies)

        async def receive(self, limit: int) -> Batch | None:
            for number, body in self.left:
                return Batch([body], (number,))
            return None

        async def acknowledge(self, handles: Sequence[Any]) -> None: ...
        async def release(self, handles: Sequence[Any], delay: float = 0.0, attempts: int | None = None) -> None: ...
        async def close(self) -> None: ...

    return OneByOne()


def with_reactivex(bodies: list[bytes]) -> Totals:
    import reactivex
    from reactivex import operators as ops

    found: list[Totals] = []
    reactivex.from_iterable(bodies).pipe(
        ops.map(decode), ops.filter(large), ops.map(priced), ops.reduce(accumulate, {})
    ).subscribe(found.append, on_error=_raise)
    return found[0]


def _raise(error: Exception) -> None:
    raise error


def with_streamz(bodies: list[bytes]) -> Totals:
    from streamz import Stream

    totals: Totals = {}
    source = Stream()
    source.map(decode).filter(large).map(priced).accumulate(accumulate, start=totals).sink(lambda state: None)
    for body in bodies:
        source.emit(body)
    return totals


def with_bytewax(at_once: int) -> Callable[[list[bytes]], Totals]:
    """One function call for each message in each step, as with every other side; the sum takes what is ready."""

    def steps(op: Any, stream: Any) -> Any:
        return op.map("price", op.filter("large", op.map("decode", stream, decode), large), priced)

    return lambda bodies: run_bytewax(bodies, at_once, steps)


def with_bytewax_batches(bodies: list[bytes]) -> Totals:
    """The user writes the loop of each step: fewer calls, and one bad message takes its whole batch along."""

    def steps(op: Any, stream: Any) -> Any:
        stream = op.flat_map_batch("decode", stream, lambda batch: [decode(body) for body in batch])
        stream = op.flat_map_batch("large", stream, lambda batch: [order for order in batch if large(order)])
        return op.flat_map_batch("price", stream, lambda batch: [priced(order) for order in batch])

    return run_bytewax(bodies, TALK, steps)


def run_bytewax(bodies: list[bytes], at_once: int, steps: Callable[[Any, Any], Any]) -> Totals:
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, TestingSource, run_main

    class Sum(op.StatefulBatchLogic[float, float, float]):
        def __init__(self) -> None:
            self.total = 0.0

        def on_batch(self, values: list[float]) -> tuple[Iterable[float], bool]:
            self.total += sum(values)
            return (), False

        def on_eof(self) -> tuple[Iterable[float], bool]:
            return (self.total,), True

        def snapshot(self) -> float:
            return self.total

    rows: list[tuple[str, float]] = []
    flow = Dataflow("bench")
    pairs = steps(op, op.input("in", flow, TestingSource(bodies, batch_size=at_once)))
    op.output("out", op.stateful_batch("sum", pairs, lambda state: Sum()), TestingSink(rows))
    run_main(flow)
    return dict(rows)


def read_frame(body: bytes) -> Any:
    import polars as pl
    import pyarrow as pa

    with pa.ipc.open_stream(body) as reader:
        return pl.from_arrow(reader.read_all())


def large_rows(frame: Any) -> Any:
    import polars as pl

    return frame.filter(pl.col("amount") >= 10.0)


def priced_rows(frame: Any) -> Any:
    import polars as pl

    return frame.with_columns(pl.col("amount") * 1.25)


def sums_by_region(frame: Any) -> list[tuple[str, float]]:
    import polars as pl

    return list(frame.group_by("region").agg(pl.col("amount").sum()).iter_rows())


def columnar_limit(bodies: list[bytes]) -> Totals:
    totals: Totals = {}
    for body in bodies:
        for pair in sums_by_region(priced_rows(large_rows(read_frame(body)))):
            accumulate(totals, pair)
    return totals


def columnar_warren(bodies: list[bytes]) -> Totals:
    import polars as pl

    from warren import Pipeline
    from warren.connectors import memory
    from warren.operators import aggregate, flat_map, map, total

    rows: list[Any] = []
    sums = flat_map(sums_by_region) | aggregate(by=itemgetter(0), amount=total(itemgetter(1)))
    orders = memory.items(bodies, type=pl.DataFrame)
    Pipeline("bench", orders | map(large_rows) | map(priced_rows) | sums | memory.into(rows)).run()
    return {row["key"]: row["amount"] for row in rows}


def columnar_bytewax(bodies: list[bytes]) -> Totals:
    def steps(op: Any, stream: Any) -> Any:
        stream = op.map("price", op.map("large", op.map("decode", stream, read_frame), large_rows), priced_rows)
        return op.flat_map("sums", stream, sums_by_region)

    return run_bytewax(bodies, 1, steps)


CASES = [
    Case(
        "keyed-sum",
        "messages/s",
        [
            Subject("warren", timed(messages, with_warren)),
            Subject("python", timed(messages, plain_loop)),
            Subject("reactivex", timed(messages, with_reactivex)),
            Subject("streamz", timed(messages, with_streamz), needs="streamz", share=0.02),
            Subject("bytewax", timed(messages, with_bytewax(TALK)), needs="bytewax"),
            Subject("bytewax-batch", timed(messages, with_bytewax_batches), needs="bytewax"),
        ],
        size=1_000_000,
        quick_size=200_000,
        note="bytewax-batch: loops over batches written by the user, in place of one call for each message",
    ),
    Case(
        "keyed-sum-single",
        "messages/s",
        [
            Subject("warren", timed(messages, with_warren_one_by_one)),
            Subject("reactivex", timed(messages, with_reactivex)),
            Subject("bytewax", timed(messages, with_bytewax(1)), needs="bytewax"),
        ],
        size=200_000,
        quick_size=50_000,
        note="the source never has more than one message ready",
    ),
    Case(
        "columnar",
        "rows/s",
        [
            Subject("warren", timed(frames, columnar_warren)),
            Subject("limit", timed(frames, columnar_limit)),
            Subject("bytewax", timed(messages, with_bytewax(TALK)), needs="bytewax", share=0.2),
            Subject("bytewax-arrow", timed(frames, columnar_bytewax), needs="bytewax"),
        ],
        size=5_000_000,
        quick_size=1_000_000,
        note=f"Arrow batches of {ROWS:,} rows; bytewax: one JSON message for each row; limit: Polars alone",
    ),
]
BARS = [
    Bar("keyed-sum", "bytewax", 1.6),
    Bar("keyed-sum", "reactivex", 3.0),
    Bar("columnar", "bytewax", 5.0),
]
