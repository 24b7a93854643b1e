"""Two streams joined: orders and payments of one id within a bound of event time, and calls with a table of names.

Bytewax has no join by event time, so there its own join gives each order with its payment, and a filter drops those that are
too far apart. It keeps orders without a payment for ever. Its recovery is off where warren keeps no state.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec

from benchmarks.harness import Bar, Case, Subject
from benchmarks.steps.readings import START, checked
from benchmarks.steps.sides import gathered, in_bytewax
from benchmarks.steps.single import TIMES

__all__ = ["BARS", "CASES"]

RATE = 2_000.0
"""Orders in a second of event time, and as many payments."""
BOUND = 4.0
LATENESS = 1.0


class Order(msgspec.Struct):
    """What is bought."""

    id: str
    time: float
    amount: int


class Payment(msgspec.Struct):
    """What is paid for it."""

    order: str
    time: float
    amount: int


class Streams(NamedTuple):
    """Both streams in order of time."""

    orders: list[Order]
    payments: list[Payment]


Found = list[tuple[str, int, int]]


def streams(size: int) -> Streams:
    """Of ten orders, eight are paid within the bound, one too late, and one never; instead somebody pays for nothing."""
    orders, payments = [], []
    for i in range(size // 2):
        time = START + i / RATE
        orders.append(Order(f"order-{i}", time, i % 401))
        wait = 1.0 + i * 7919 % 2_000 / 1_000
        after = wait + 2 * BOUND if i % 10 == 8 else wait
        payments.append(Payment(f"order-{i}" if i % 10 != 9 else f"none-{i}", time + after, i % 397))
    return Streams(orders, sorted(payments, key=attrgetter("time")))


order_id, payment_id, time = attrgetter("id"), attrgetter("order"), attrgetter("time")


def expected(given: Streams) -> Found:
    by_id = {payment.order: payment for payment in given.payments}
    return [
        (order.id, order.amount, by_id[order.id].amount)
        for order in given.orders
        if order.id in by_id and by_id[order.id].time - order.time <= BOUND
    ]


def by_number(found: Found) -> Found:
    return sorted(found, key=lambda row: int(row[0].partition("-")[2]))


def with_warren(state: bool) -> Callable[[Streams], Found]:
    def run(given: Streams) -> Found:
        from warren.connectors import memory
        from warren.operators import join

        sides = map(memory.items, given)
        pairs = join(*sides, on=(order_id, payment_id), time=time, within=BOUND, lateness=LATENESS)
        return [(pair.key, pair.left.amount, pair.right.amount) for pair in gathered(pairs, state=state)]

    return run


def with_bytewax(state: bool) -> Callable[[Streams], Found]:
    def near(found: tuple[str, tuple[Order, Payment]]) -> bool:
        _, (order, payment) = found
        return abs(payment.time - order.time) <= BOUND

    def build(op: Any, orders: Any, payments: Any) -> Any:
        sides = op.key_on("order", orders, order_id), op.key_on("payment", payments, payment_id)
        return op.filter("near", op.join("join", *sides, emit_mode="complete"), near)

    def run(given: Streams) -> Found:
        return [(key, a.amount, b.amount) for key, (a, b) in in_bytewax(given.orders, build, given.payments, state=state)]

    return run


def frames(size: int) -> tuple[Any, ...]:
    """The streams, and the same as data frames, which are made before the clock starts."""
    import polars as pl

    given = streams(size)
    columns = [{name: [getattr(each, name) for each in side] for name in side[0].__struct_fields__} for side in given]
    return given, *map(pl.DataFrame, columns)


def with_polars(given: Any) -> Found:
    import polars as pl

    _, orders, payments = given
    pairs = orders.join(payments, left_on="id", right_on="order")
    near = pairs.filter((pl.col("time_right") - pl.col("time")).abs() <= BOUND)
    return near.select("id", "amount", "amount_right").rows()  # type: ignore[no-any-return]  # rows of these three


def with_duckdb(given: Any) -> Found:
    import duckdb

    _, orders, payments = given
    query = "SELECT o.id, o.amount, p.amount FROM orders o JOIN payments p ON o.id = p.order AND abs(p.time - o.time) <= ?"
    with duckdb.connect() as db:
        db.register("orders", orders)
        db.register("payments", payments)
        return db.execute(query, [BOUND]).fetchall()  # type: ignore[no-any-return]  # rows of these three


def columnar(work: Callable[[Any], Found]) -> Callable[[int], float]:
    return checked(frames, work, lambda given: expected(given[0]), by_number)


def calls(size: int) -> tuple[list[tuple[int, int]], list[tuple[int, str]]]:
    """Calls of a thousand people, and their names."""
    return [(i * 7919 % 1_000, i) for i in range(size)], [(i, f"name-{i}") for i in range(1_000)]


def named(given: Any) -> list[tuple[int, str]]:
    names = dict(given[1])
    return [(number, names[person]) for person, number in given[0]]


def table_with_warren(given: Any) -> list[tuple[int, str]]:
    from warren.connectors import memory
    from warren.operators import join_table

    found = gathered(join_table(*map(memory.items, given), on=itemgetter(0)))
    return [(pair.left[1], pair.right[1]) for pair in found]


def duo(name: str, state: bool, note: str, *more: Subject) -> Case:
    subjects = [
        Subject("warren", checked(streams, with_warren(state), expected, by_number)),
        Subject("bytewax", checked(streams, with_bytewax(state), expected, by_number), needs="bytewax"),
    ]
    return Case(name, "messages/s", [*subjects, *more], size=400_000, quick_size=100_000, note=note, quick=not state)


CASES = [
    duo(
        "join",
        False,
        "orders and payments of one id within 4 s of event time; no recovery",
        Subject("polars", columnar(with_polars)),
        Subject("duckdb", columnar(with_duckdb), needs="duckdb"),
    ),
    duo("join-state", True, "the same, the state on disk every second"),
    Case(
        "join-table",
        "messages/s",
        [
            Subject("warren", checked(calls, table_with_warren, named, sorted)),
            Subject("python", checked(calls, named, named, sorted)),
        ],
        size=400_000,
        quick_size=100_000,
        note="calls with the newest of a thousand names",
    ),
]
BARS = [Bar(name, "bytewax", TIMES) for name in ("join", "join-state")]
