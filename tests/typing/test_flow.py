"""What the checkers must see of operators for time, failures and branches."""

from __future__ import annotations

from typing import Any, assert_type

from warren.connectors import memory
from warren.core.graph import Flow, Operator, Sink, Source
from warren.operators import (
    broadcast,
    budget,
    circuit_breaker,
    constant,
    debounce,
    decorrelated,
    delay,
    fallback,
    map,
    merge,
    retry,
    sample,
    split,
    timeout,
)


def size(text: str) -> int:
    return len(text)


async def fetch(text: str) -> bytes:
    return text.encode()


texts: Source[str] = memory.queue("texts", str)


def test_a_key_tells_the_type() -> None:
    assert_type(debounce("1s", by=size), Operator[str, str])
    assert_type(sample("1s", by=size), Operator[str, str])
    assert_type(delay(size), Operator[str, str])
    assert_type(texts | debounce("1s", by=size) | map(size), Source[int])


def test_without_one_anything_goes() -> None:
    assert_type(debounce("1s"), Operator[Any, Any])
    assert_type(delay(5), Operator[Any, Any])
    assert_type(fallback(0), Operator[Any, Any])
    assert_type(texts | sample("1s") | fallback("") | memory.into(list[str]()), Flow)


def test_a_broadcast_is_a_sink_where_every_branch_is() -> None:
    sizes = memory.into(list[int]())
    assert_type(broadcast(a=map(size) | sizes, b=memory.into(list[str]())), Sink[str])
    assert_type(texts | broadcast(a=map(size) | sizes, b=memory.into(list[str]())), Flow)
    assert_type(broadcast(a=map(size), b=map(len)), Operator[str, int])


def test_what_says_who_is_next_takes_the_values_of_the_step() -> None:
    assert_type(map(fetch, order_by=size), Operator[str, bytes])
    assert_type(map(fetch, limit_by=size, limit=2, ordered=False), Operator[str, bytes])
    assert_type(texts | map(fetch, priority=size), Source[bytes])


def test_what_stands_around_steps_leaves_their_types() -> None:
    assert_type(circuit_breaker(map(fetch), failures=3), Operator[str, bytes])
    assert_type(timeout(map(size) | map(str), "1s"), Operator[str, str])
    assert_type(texts | circuit_breaker(map(fetch)) | timeout(map(len), 5), Source[int])


def test_a_split_is_a_sink_where_both_branches_are() -> None:
    assert_type(split(size, memory.into(list[str]()), map(size) | memory.into(list[int]())), Sink[str])
    assert_type(split(size, map(size), map(len)), Operator[str, int])
    assert_type(texts | split(size, map(size), map(len)), Source[int])


def test_priorities_leave_the_types_of_sources() -> None:
    numbers: Source[int] = memory.queue("numbers", int)
    assert_type(merge(texts, numbers, priorities=[9, 1]), Source[str | int])


def test_policies_by_type() -> None:
    by_error = {ConnectionError: decorrelated("200ms"), TimeoutError: constant("1s")}
    assert_type(retry(by_error, budget=budget(0.1)), Operator[Any, Any])
    assert_type(retry(constant("1s"), of={str: constant("1m"), (int, float): by_error}), Operator[Any, Any])
