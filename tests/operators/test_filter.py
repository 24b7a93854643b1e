from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.operators import filter
from warren.pipelines import Trial


def trial(predicate: Any, *values: Any) -> Trial:
    return Pipeline("p", memory.items([]) | filter(predicate) | memory.into([])).test(values)


@given(st.lists(st.integers()))
def test_it_keeps_what_the_predicate_holds_for_and_settles_the_rest(values: list[int]) -> None:
    result = trial(lambda x: x % 3, *values)
    kept = [x for x in values if x % 3]
    assert result.values == kept
    wanted = {"delivered": len(kept), "filtered": len(values) - len(kept)}
    assert result.outcomes == {kind: count for kind, count in wanted.items() if count}


def test_a_predicate_that_raises_fails_its_message_only() -> None:
    result = trial(lambda x: 1 / x > 0.4, 0, 1, 2, 3)
    assert result.values == [1, 2]
    assert result.outcomes == {"delivered": 2, "filtered": 1, "dead-lettered": 1}


def test_an_answer_that_is_neither_true_nor_false_fails_its_message_only() -> None:
    result = trial(lambda x: np.array([1, 0]) if x == 1 else 1 // (x - 3) + 1, 0, 1, 2, 3, 5)
    assert result.values == [5]
    errors = {letter.value: letter.error for letter in result.dead_letters["p.dead"]}
    assert errors == {1: "ValueError", 3: "ZeroDivisionError"}
    assert result.outcomes == {"delivered": 1, "filtered": 2, "dead-lettered": 2}


def test_a_coroutine_as_the_answer_fails() -> None:
    async def look(value: int) -> bool:
        return True

    def indirect(value: int) -> Any:
        return look(value)

    result = trial(indirect, 1, 2)
    assert [letter.error for letter in result.dead_letters["p.dead"]] == ["HandlerError"] * 2


def test_what_cannot_work_is_refused() -> None:
    async def look(value: int) -> bool:
        return True

    with pytest.raises(GraphError, match=r"filter\(look\): the predicate must not be async"):
        filter(look)
    with pytest.raises(GraphError, match="give a function of one value"):
        filter(None)  # type: ignore[arg-type]
