from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.graph import Operator
from warren.operators import batch, enrich, flat_map, map, retry
from warren.pipelines import Trial


class Row(msgspec.Struct):
    id: int
    name: str | None = None


@dataclass
class Plain:
    id: int
    name: str = ""


class Table:
    """A service that counts what it is asked."""

    def __init__(self, *, takes: float = 0.0, as_list: bool = False) -> None:
        self.takes = takes
        self.as_list = as_list
        self.calls: list[list[int]] = []
        self.running = self.most = 0

    async def lookup(self, keys: list[int]) -> Any:
        self.calls.append(list(keys))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.takes)
            if -1 in keys:
                raise ConnectionError("away")
        finally:
            self.running -= 1
        known = {key: f"n{key}" for key in keys if key < 100}
        return [known.get(key) for key in keys] if self.as_list else known


def identity(value: Any) -> Any:
    return value


def pair(value: Any, found: Any) -> Any:
    if found == "n13":
        raise ValueError("unlucky")
    return value, found


looked_up: Callable[..., Operator[Any, Any]] = functools.partial(enrich, key=identity, into=pair)


def trial(step: Operator[Any, Any], *values: Any) -> Trial:
    return Pipeline("p", memory.items([]) | step | memory.into([])).test(values)


def reasons(result: Trial) -> list[tuple[Any, str, str]]:
    return [(letter.value, letter.error, letter.reason) for letter in result.dead_letters.get("p.dead", [])]


def test_nothing_is_asked_for_nothing() -> None:
    table = Table()
    assert trial(looked_up(table.lookup)).values == []
    assert table.calls == []


@pytest.mark.parametrize("as_list", [True, False])
def test_each_key_is_asked_for_once_and_the_order_is_kept(as_list: bool) -> None:
    table = Table(as_list=as_list)
    result = trial(looked_up(table.lookup), 3, 1, 3, 2, 1)
    assert result.values == [(3, "n3"), (1, "n1"), (3, "n3"), (2, "n2"), (1, "n1")]
    assert table.calls == [[3, 1, 2]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [({"id": 1}, {"id": 1, "name": "n1"}), (Row(1), Row(1, "n1")), (Plain(1), Plain(1, "n1"))],
)
def test_into_a_field_of_a_copy(value: Any, expected: Any) -> None:
    step = enrich(Table().lookup, key=lambda row: row["id"] if isinstance(row, dict) else row.id, into="name")
    assert trial(step, value).values == [expected]
    assert value != expected


def test_a_value_without_that_field_fails() -> None:
    result = trial(enrich(Table().lookup, key=lambda row: 1, into="more"), Row(1), 5, {"a": 1})
    assert result.values == [{"a": 1, "more": "n1"}]
    assert [(kind, "has no field 'more'" in why or "give enrich(into=...)" in why) for _, kind, why in reasons(result)] == [
        ("HandlerError", True)
    ] * 2


def test_batches_are_no_larger_than_asked_and_no_more_run_at_once() -> None:
    table = Table(takes=1)
    result = trial(looked_up(table.lookup, batch=2, concurrency=2), *range(10))
    assert result.values == [(i, f"n{i}") for i in range(10)]
    assert (max(len(call) for call in table.calls), len(table.calls), table.most) == (2, 5, 2)
    assert result.elapsed == pytest.approx(3)


def test_what_is_on_its_way_is_not_asked_for_again() -> None:
    table = Table(takes=10)

    async def nap(value: int) -> int:
        await asyncio.sleep(value)
        return 7

    assert trial(map(nap) | looked_up(table.lookup), 1, 2, 3).values == [(7, "n7")] * 3
    assert table.calls == [[7]]


def test_an_incomplete_list_waits_for_more_keys() -> None:
    table = Table()

    async def nap(value: int) -> int:
        await asyncio.sleep(value)
        return value

    result = trial(map(nap) | looked_up(table.lookup, batch=3, within="4s"), 1, 2, 10, 11, 12, 20)
    assert result.values == [(i, f"n{i}") for i in (1, 2, 10, 11, 12, 20)]
    assert table.calls == [[1, 2], [10, 11, 12], [20]]
    assert result.elapsed < 21


def test_the_last_incomplete_list_goes_at_the_end_without_waiting() -> None:
    table = Table(takes=1)
    result = trial(looked_up(table.lookup, batch=2, concurrency=1, within="1d"), *range(5))
    assert len(result.values) == 5
    assert result.elapsed == pytest.approx(3)


def test_answers_are_remembered_for_their_time() -> None:
    table = Table()

    async def nap(value: int) -> int:
        await asyncio.sleep(value)
        return value % 10

    trial(map(nap) | looked_up(table.lookup, ttl="15s"), 1, 11, 21, 31)
    assert table.calls == [[1], [1]]


def test_the_least_recently_used_are_forgotten() -> None:
    table = Table()
    keys = iter([1, 2, 1, 3, 1, 2])

    async def nap(value: int) -> int:
        await asyncio.sleep(value)
        return next(keys)

    trial(map(nap) | looked_up(table.lookup, cache=2), *range(1, 7))
    assert table.calls == [[1], [2], [3], [2]]


def test_without_a_cache_each_is_asked_for() -> None:
    table = Table()

    async def nap(value: int) -> int:
        await asyncio.sleep(value)
        return 1

    assert trial(map(nap) | looked_up(table.lookup, cache=0), 1, 2).values == [(1, "n1")] * 2
    assert table.calls == [[1], [1]]


def test_a_missing_key_fails_its_message_and_is_asked_for_again() -> None:
    table = Table()
    result = trial(looked_up(table.lookup), 1, 500)
    assert result.values == [(1, "n1")]
    assert reasons(result) == [
        (
            500,
            "LookupError",
            "1:enrich(lookup): the lookup knows nothing of 500; give default=... to let such values go on",
        )
    ]


@pytest.mark.parametrize("as_list", [True, False])
def test_a_missing_key_gets_the_default_which_is_remembered(as_list: bool) -> None:
    table = Table(as_list=as_list)

    async def nap(value: int) -> int:
        await asyncio.sleep(value)
        return 500

    assert trial(map(nap) | looked_up(table.lookup, default=None), 1, 2).values == [(500, None)] * 2
    assert table.calls == [[500]]


def test_a_lookup_that_raises_fails_the_messages_it_was_asked_for() -> None:
    result = trial(looked_up(Table().lookup, batch=2), 1, -1, 2, 3)
    assert result.values == [(2, "n2"), (3, "n3")]
    assert reasons(result) == [(1, "ConnectionError", "away"), (-1, "ConnectionError", "away")]


def test_a_lookup_past_its_timeout() -> None:
    result = trial(looked_up(Table(takes=5).lookup, timeout="2s"), 1)
    assert reasons(result) == [(1, "TimeoutError", "1:enrich(lookup): no answer within 2 s")]
    assert result.elapsed == pytest.approx(2)


def test_a_key_or_into_that_raises_is_one_messages_failure() -> None:
    def key(value: int) -> Any:
        return [] if value == 0 else 6 // (value - 1)

    async def same(keys: list[Any]) -> list[Any]:
        return ["n13" if key == 6 else key for key in keys]

    async def later() -> None: ...

    result = trial(enrich(same, key=key, into=pair), 0, 1, 2, 3)
    assert result.values == [(3, 3)]
    assert sorted(kind for _, kind, _ in reasons(result)) == ["HandlerError", "ValueError", "ZeroDivisionError"]
    result = trial(enrich(same, key=identity, into=lambda value, found: later()) | retry(constant("1s", attempts=2)), 1)
    assert "into= answered for 1 with a coroutine" in reasons(result)[0][2]


def test_what_is_remembered_takes_the_short_way() -> None:
    calls: list[int] = []

    async def nap(value: int) -> int:
        await asyncio.sleep(value)
        return value

    async def same(keys: list[int]) -> list[str]:
        calls.extend(keys)
        return [f"n{key}" for key in keys]

    repeated = flat_map(lambda pair: pair[1]) | looked_up(same)
    result = trial(map(lambda pair: pair) | repeated, (0, [1, 13]), (0, [1, 13, 1]))
    assert result.values == [(1, "n1")] * 3
    assert calls == [1, 13]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [(None, "the lookup answered None"), ("ab", "the lookup answered 'ab'"), ([1], "answered 1 items for 2 keys")],
)
def test_an_answer_of_the_wrong_kind(answer: Any, sentence: str) -> None:
    async def wrong(keys: list[int]) -> Any:
        return answer

    result = trial(looked_up(wrong), 1, 2)
    assert [(value, kind) for value, kind, _ in reasons(result)] == [(1, "HandlerError"), (2, "HandlerError")]
    assert sentence in reasons(result)[0][2]


def test_what_is_tried_again_does_not_wait_for_more_keys() -> None:
    answers: Any = iter([ConnectionError("busy"), ConnectionError("busy"), {1: "a"}])

    async def flaky(keys: list[int]) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    result = trial(looked_up(flaky, within="1h") | retry(constant("1s"), on=ConnectionError), 1)
    assert result.values == [(1, "a")]
    assert result.elapsed == pytest.approx(2)


def test_a_retry_asks_again() -> None:
    answers: Any = iter([ConnectionError("busy"), {1: "a", 2: "b"}])

    async def flaky(keys: list[int]) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    result = trial(looked_up(flaky) | retry(constant("1s"), on=ConnectionError), 1, 2)
    assert sorted(result.values) == [(1, "a"), (2, "b")]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1, 2, 3, 13, 500, -1])), max_size=20),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([0, 2]),
    st.integers(0, 2),
)
def test_every_message_has_one_end(values: Any, size: int, concurrency: int, within: float, cache: int) -> None:
    async def nap(value: tuple[int, tuple[int, int]]) -> tuple[int, int]:
        await asyncio.sleep(value[1][0])
        return value[0], value[1][1]

    table = Table(takes=1)
    step = enrich(
        table.lookup, key=lambda v: v[1], into=pair, batch=size, concurrency=concurrency, within=within, cache=cache, ttl=2
    )
    result = trial(map(nap, concurrency=3) | step, *enumerate(values))
    numbers = [value[0] for value, _ in result.values]
    assert numbers == sorted(numbers)
    assert all(found == f"n{value[1]}" for value, found in result.values)
    assert sorted(numbers + [letter[0][0] for letter in reasons(result)]) == list(range(len(values)))
    assert table.most <= concurrency
    assert all(len(call) <= size and len(set(call)) == len(call) for call in table.calls)


def test_failures_pass_by_and_merged_messages_go_on() -> None:
    result = trial(map(lambda x: 6 // x) | batch(2) | looked_up(Table().lookup, key=len), 1, 0, 2)
    assert result.values == [([6, 3], "n2")]
    assert len(reasons(result)) == 1


def test_holds_and_names() -> None:
    assert looked_up(Table().lookup).holds == 0
    step = looked_up(Table().lookup, within="1s")
    assert (step.name, step.holds, step.guarantee) == ("enrich(lookup)", None, "4 lookups at once, order kept")
    Bench(step).push().finish()


def test_what_cannot_work_is_refused() -> None:
    for arguments, says in [
        ({"lookup": len}, r"enrich\(len\): give an async function"),
        ({"lookup": 3}, r"enrich\(3\): give an async function"),
        ({"key": "id"}, r"enrich\(lookup, key=\.\.\.\): 'id' is not a function; give a function"),
        ({"into": ""}, r"enrich\(lookup, into=\.\.\.\): '' is not a function; give the name of a field"),
        ({"batch": 0}, r"enrich\(lookup, batch=0\): batch must be a whole number of at least 1"),
        ({"concurrency": 1.5}, "concurrency must be a whole number of at least 1"),
        ({"cache": -1}, "cache must be a whole number of at least 0"),
        ({"ttl": 0}, "ttl must be longer than 0"),
        ({"timeout": "0s"}, "timeout must be longer than 0"),
        ({"within": "soon"}, "'soon' is not a duration"),
    ]:
        with pytest.raises(GraphError, match=says):
            enrich(**{"lookup": Table().lookup, "key": identity, "into": pair, **arguments})  # type: ignore[arg-type]
