"""What the checkers must see of a composition: types flow through ``|``, and what cannot work is refused.

Each ignore here states a refusal: the checkers are told to report ignores that are not needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

import pytest

from warren import Pipeline
from warren.connectors import files, memory
from warren.core.errors import GraphError
from warren.core.graph import Flow, Operator, Sink, Source
from warren.operators import batch, constant, dead_letter, filter, flat_map, map, merge, retry, route, tap, throttle


@dataclass
class Order:
    id: str
    amount: float


def amount(order: Order) -> float:
    return order.amount


async def fetch(order: Order) -> bytes:
    return order.id.encode()


def large(order: Order) -> bool:
    return order.amount > 100


def letters(order: Order) -> list[str]:
    return list(order.id)


orders: Source[Order] = memory.queue("orders", Order)


def test_operators() -> None:
    assert_type(map(amount), Operator[Order, float])
    assert_type(map(fetch, concurrency=4), Operator[Order, bytes])
    assert_type(filter(large), Operator[Order, Order])
    assert_type(flat_map(letters), Operator[Order, str])


def test_sources() -> None:
    assert_type(orders | map(amount), Source[float])
    assert_type(orders | map(fetch), Source[bytes])
    assert_type(orders | filter(large) | map(amount), Source[float])
    assert_type(orders | flat_map(letters) | map(len), Source[int])
    assert_type(orders | map(amount) | batch(5, "1s") | map(len), Source[int])
    assert_type(merge(orders | map(amount), orders | flat_map(letters)), Source[float | str])


def test_compositions() -> None:
    assert_type(map(amount) | map(str), Operator[Order, str])
    assert_type(map(amount) | map(str) | map(len), Operator[Order, int])
    assert_type(map(amount) | memory.into(list[float]()), Sink[Order])
    assert_type(orders | map(amount) | memory.into(list[float]()), Flow)


def test_operators_that_take_anything_go_anywhere() -> None:
    steps = orders | throttle(5) | dead_letter("x") | retry(constant("1s")) | memory.into(list[Any]())
    assert_type(steps, Flow)


def test_files_without_a_type_take_and_give_anything() -> None:
    assert_type(files.parquet("out"), files.Files[Any])
    assert_type(files.jsonl("out.jsonl"), files.Files[Any])
    assert_type(files.csv("out.csv"), files.Files[Any])
    assert_type(orders | batch(500, "1s") | files.parquet("out"), Flow)
    ends: list[Sink[Any]] = [
        batch(5) | files.parquet("out"),
        batch(5) | files.jsonl("o.jsonl"),
        batch(5) | files.csv("o.csv"),
    ]
    assert all(isinstance(end, Sink) for end in ends)


def test_routes() -> None:
    small, big = memory.into(list[float]()), memory.into(list[float]())
    end = route(large, {True: map(amount) | big, False: map(amount) | small})
    assert_type(end, Sink[Order])
    assert_type(orders | end, Flow)
    assert_type(route(large, {True: map(amount), False: map(amount)}), Operator[Order, float])


def test_a_pipeline_takes_a_flow() -> None:
    assert_type(Pipeline("p", orders | tap(large) | memory.into(list[Order]())), Pipeline)


# Refusals


def refused(build: Any) -> None:
    with pytest.raises(GraphError):
        build()


def test_a_step_that_takes_another_type_is_refused() -> None:
    # At runtime the types are not looked at.
    orders | map(amount) | map(letters)  # type: ignore[arg-type]
    map(amount) | filter(large)  # type: ignore[arg-type]
    orders | memory.into(list[int]())  # type: ignore[arg-type]


def test_an_end_that_is_none_is_refused() -> None:
    refused(lambda: Pipeline("p", orders | map(amount)))  # type: ignore[arg-type]
    refused(lambda: Pipeline("p", map(amount) | memory.into(list[float]())))  # type: ignore[arg-type]


def test_a_function_without_map_is_refused() -> None:
    refused(lambda: orders | amount)  # type: ignore[operator]


def test_a_wrong_argument_is_refused() -> None:
    refused(lambda: filter(3))  # type: ignore[arg-type]
    refused(lambda: batch("many"))  # type: ignore[arg-type]
    refused(lambda: retry("1s"))  # type: ignore[arg-type]
    refused(lambda: dead_letter(5))  # type: ignore[arg-type]
