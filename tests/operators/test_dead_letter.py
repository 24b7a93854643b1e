from __future__ import annotations

from typing import Any

import pytest

from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.operators import dead_letter, flat_map, map


def fail(value: Any) -> Any:
    raise {0: ValueError("zero"), 1: KeyError("one")}.get(value, TypeError("more"))


def test_it_takes_its_exceptions_and_leaves_the_rest() -> None:
    steps = map(fail) | dead_letter("zeros", on=ValueError) | dead_letter("ones", on=(KeyError, OSError))
    result = Pipeline("p", memory.items([]) | steps | memory.into([])).test([0, 1, 2])
    assert {queue: [letter.value for letter in letters] for queue, letters in result.dead_letters.items()} == {
        "zeros": [0],
        "ones": [1],
        "p.dead": [2],
    }
    assert result.outcomes == {"dead-lettered": 3}


def test_values_pass() -> None:
    flow = memory.items([]) | dead_letter("x") | map(str) | memory.into([])
    assert Pipeline("p", flow).test([1]).values == ["1"]


def test_the_headers_say_what_happened() -> None:
    flow = memory.items([]) | map(fail) | memory.into([])
    [letter] = Pipeline("p", flow).test([0], start=1000.0).dead_letters["p.dead"]
    headers = dict(letter.metadata.headers)
    assert len(headers.pop("warren-fingerprint")) == 12
    assert headers == {
        "warren-error": "ValueError",
        "warren-reason": "zero",
        "warren-stage": "1:map(fail)",
        "warren-attempts": "1",
        "warren-first-failed": "1000.000000",
        "warren-last-failed": "1000.000000",
        "warren-pipeline": "p",
        "warren-source": "items",
    } | {"warren-source": headers["warren-source"]}


def test_the_letter_is_the_message_as_it_came() -> None:
    flow = memory.queue("in", list[int]) | map(sum) | map(fail) | memory.into([])
    assert [letter.value for letter in Pipeline("p", flow).test([b"[1, 2]"]).dead_letters["p.dead"]] == [b"[1, 2]"]


def test_one_letter_for_a_message_however_many_of_its_values_fail() -> None:
    flow = memory.items([]) | flat_map(lambda x: [x, x + 1, x + 2]) | map(fail) | memory.into([])
    result = Pipeline("p", flow).test([0])
    assert len(result.dead_letters["p.dead"]) == 1
    assert result.outcomes == {"dead-lettered": 1}


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: dead_letter(""), "give the queue a name"),
        (lambda: dead_letter(3), "give the queue a name"),
        (lambda: dead_letter("x", on="ValueError"), "give an exception type or a tuple of them"),
        (lambda: dead_letter("x", on=()), "give an exception type or a tuple of them"),
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
