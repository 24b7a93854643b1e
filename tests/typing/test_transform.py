"""Steps that look up, check and accumulate say what goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

import polars as pl

from warren.connectors import memory
from warren.core.graph import Operator, Source
from warren.operators import (
    Window,
    aggregate,
    count,
    dead_letter,
    deduplicate,
    distinct,
    distinct_until_changed,
    enrich,
    for_each,
    map,
    mean,
    scan,
    top,
    tumbling,
    validate,
    window,
)


@dataclass
class Order:
    id: str
    amount: float


def add(total: float, order: Order) -> float:
    return total + order.amount


def number(order: Order) -> str:
    return order.id


def amount(order: Order) -> float:
    return order.amount


def renewed(key: str, old: object) -> Order:
    raise NotImplementedError


async def names(ids: list[str]) -> dict[str, str]:
    return dict.fromkeys(ids, "")


def valid(order: Order) -> bool:
    return order.amount > 0


orders: Source[Order] = memory.queue("orders", Order)

assert_type(scan(add, 0.0), Operator[Order, float])
assert_type(scan(add, 0.0, by=number), Operator[Order, float])
assert_type(orders | scan(add, 0.0) | map(round), Source[int])
assert_type(distinct_until_changed(amount, by=number), Operator[Order, Order])
assert_type(deduplicate(number), Operator[Order, Order])
assert_type(orders | deduplicate(number), Source[Order])
assert_type(enrich(names, key=number, into="name"), Operator[Order, Any])
assert_type(validate(Order), Operator[Any, Order])
assert_type(orders | validate(valid), Source[Order])
assert_type(map(amount, executor="process", workers=2), Operator[Order, float])
assert_type(distinct(number), Operator[Order, Order])
assert_type(for_each(map(amount), Order), Operator[Any, list[float]])
assert_type(
    orders | window(tumbling("1m")) | aggregate(n=count(), m=mean(amount), e=pl.col("amount").max()), Source[dict[str, Any]]
)
assert_type(orders | window(count(100), by=number) | aggregate(n=count(), m=mean(amount)), Source[dict[str, Any]])
assert_type(window(tumbling("1m"), time=amount, late=memory.queue("late")), Operator[Order, Window[None, Order]])
assert_type(window(tumbling("1m"), by=number, time=amount, late=dead_letter("late")), Operator[Order, Window[str, Order]])
assert_type(window(tumbling("1m"), by=number, version=2, migrate=renewed), Operator[Order, Window[str, Order]])
assert_type(aggregate(by=number, best=top(3, amount)), Operator[Order, dict[str, Any]])
