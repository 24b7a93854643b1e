from __future__ import annotations

from typing import Any, Literal

import pytest

from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.operators import batch, constant, dead_letter, map, retry, route


def test_each_value_follows_one_branch() -> None:
    low, high = memory.queue("low"), memory.queue("high")
    flow = memory.items([]) | route(lambda x: "low" if x < 3 else "high", low=low, high=map(str) | high)
    result = Pipeline("p", flow).test(range(5))
    assert result.outputs == {"memory:low": [0, 1, 2], "memory:high": ["3", "4"]}


def test_open_branches_join_again() -> None:
    steps = route(lambda x: x % 2, {0: map(lambda x: x * 10), 1: map(lambda x: -x)})
    result = Pipeline("p", memory.items([]) | steps | map(str) | memory.into([])).test(range(4))
    assert sorted(result.values) == ["-1", "-3", "0", "20"]


def test_a_closed_branch_beside_an_open_one() -> None:
    side = memory.queue("side")
    steps = route(lambda x: "side" if x == 1 else "on", on=map(str), side=side)
    result = Pipeline("p", memory.items([]) | steps | memory.into([])).test([0, 1])
    assert result.values.count(1) == 1
    assert result.values.count("0") == 1


def test_routes_within_routes_and_default() -> None:
    inner = route(lambda x: "even" if x % 2 == 0 else "odd", even=memory.queue("even"), default=memory.queue("rest"))
    flow = memory.items([]) | route(lambda x: "n" if x > 0 else "none", n=inner, default=dead_letter("small"))
    result = Pipeline("p", flow).test([0, 1, 2])
    assert result.outputs == {"memory:even": [2], "memory:rest": [1]}
    assert [letter.reason for letter in result.dead_letters["small"]] == ["routed to dead_letter(small)"]


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        ("nowhere", "UnroutableError", "no branch is called 'nowhere'; there are 'a', and no default"),
        ([1], "HandlerError", "the answer [1] is no label; answer one of 'a'"),
    ],
)
def test_an_answer_that_leads_nowhere_fails_its_message(answer: Any, error: str, reason: str) -> None:
    flow = memory.items([]) | route(lambda x: answer if x else "a", a=memory.into([]))
    result = Pipeline("p", flow).test([0, 1, 0])
    assert result.values == [0, 0]
    [letter] = result.dead_letters["p.dead"]
    assert (letter.value, letter.error) == (1, error)
    assert reason in letter.reason


def test_a_choice_that_raises_fails_its_message_and_can_be_tried_again() -> None:
    tries = iter([ConnectionError("no rates")])

    def choose(value: int) -> str:
        if error := next(tries, None):
            raise error
        return "a"

    steps = route(choose, a=map(str)) | retry(constant("1s"))
    assert Pipeline("p", memory.items([]) | steps | memory.into([])).test([1, 2]).values == ["2", "1"]


def test_failures_in_a_branch_reach_the_retry_behind_the_route() -> None:
    tries = iter([ConnectionError("busy")])

    def flaky(value: int) -> int:
        if error := next(tries, None):
            raise error
        return value

    steps = route(lambda x: "a", a=map(flaky) | batch(2)) | retry(constant("1s"))
    assert Pipeline("p", memory.items([]) | steps | memory.into([])).test([1, 2, 3]).values == [[2, 3], [1]]


def test_every_literal_label_must_lead_somewhere() -> None:
    def choose(value: int) -> Literal["a", "b"]:
        return "a"

    with pytest.raises(GraphError, match=r"route\(choose\) can answer 'b', which leads nowhere"):
        route(choose, a=map(str))
    route(choose, a=map(str), default=map(str))
    route(choose, a=map(str), b=map(str))


async def look(value: int) -> str:
    return "a"


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: route(str), r"route\(str\) leads nowhere"),
        (lambda: route("a", a=map(str)), "give a function that answers a branch's name"),
        (lambda: route(look, a=map(str)), "the function must not be async"),
        (lambda: route(str, a=len), "the branch 'a' is <built-in function len>; it must be an operator or a sink"),
        (lambda: route(str, a=memory.into([])) | map(str), "a sink ends its branch"),
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
