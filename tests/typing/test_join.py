"""What the checkers must see of joins."""

from __future__ import annotations

from typing import Any, assert_type

import msgspec

from warren.connectors import memory
from warren.core.graph import Flow, Source
from warren.operators import Pair, join, join_table, map


class Order(msgspec.Struct):
    id: str
    at: float


class Payment(msgspec.Struct):
    order: str
    at: float


orders: Source[Order] = memory.queue("orders", Order)
payments: Source[Payment] = memory.queue("payments", Payment)


def order_id(order: Order) -> str:
    return order.id


def paid_order(payment: Payment) -> str:
    return payment.order


def at(value: Order | Payment) -> float:
    return value.at


def paid(pair: Pair[str, Order, Payment]) -> float:
    return pair.right.at - pair.left.at


ON = order_id, paid_order


def test_the_types_of_both_sides_flow_on() -> None:
    pairs = join(orders, payments, on=ON, time=at, within="10m")
    assert_type(pairs, Source[Pair[str, Order, Payment]])
    assert_type(pairs | map(paid), Source[float])
    assert_type(pairs | memory.into(list[Any]()), Flow)


def test_late_values_may_have_a_sink_and_without_a_time_the_clock_tells() -> None:
    late = join(orders, payments, on=ON, time=at, within=1, late=memory.queue("late"))
    assert_type(late, Source[Pair[str, Order, Payment]])
    assert_type(join(orders, payments, on=ON, within=1, how="left"), Source[Pair[str, Order, Payment | None]])


def new_order(key: str, old: Any) -> Order:
    return Order(key, old)


def new_payment(key: str, old: Any) -> Payment:
    return Payment(key, old)


def test_what_makes_old_values_new() -> None:
    pairs = join(orders, payments, on=ON, within=1, version=2, migrate=(new_order, new_payment))
    assert_type(pairs, Source[Pair[str, Order, Payment]])
    rows = join_table(orders, payments, on=ON, version=2, migrate=new_payment)
    assert_type(rows, Source[Pair[str, Order, Payment]])


def test_a_side_without_a_partner_is_none() -> None:
    assert_type(join(orders, payments, on=ON, time=at, within=1, how="left"), Source[Pair[str, Order, Payment | None]])
    assert_type(
        join(orders, payments, on=ON, time=at, within=1, how="outer"), Source[Pair[str, Order | None, Payment | None]]
    )


def test_a_table_has_rows() -> None:
    assert_type(join_table(orders, payments, on=ON), Source[Pair[str, Order, Payment]])
    assert_type(join_table(orders, payments, on=ON, how="left"), Source[Pair[str, Order, Payment | None]])
    join_table(orders, payments, on=ON, gone=lambda payment: payment.at == 0)


def test_functions_take_the_values_of_their_side() -> None:
    join(orders, payments, on=(paid_order, order_id), time=at, within=1)  # type: ignore[arg-type]
    join(orders, payments, on=ON, time=len, within=1)  # type: ignore[arg-type]
