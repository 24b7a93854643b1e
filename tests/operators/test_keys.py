from __future__ import annotations

from typing import Any

import pytest

from tests.operators.fake import Bench
from warren.core.chunk import Chunk
from warren.core.errors import GraphError
from warren.operators.keys import check_function, keys_of


def ask(by: Any, *values: Any) -> tuple[list[Any], list[Any], list[tuple[Any, str]], Bench]:
    bench = Bench(_through())
    chunk = Chunk(list(values), bench.accept(values), (), 2)
    keys, kept, failures = keys_of(bench.stages[0], by, chunk)
    assert kept.attempt == 2 and {failure.attempt for failure in failures} <= {2}
    bench.hand(Chunk(kept.values, kept.tokens, failures))
    bench.finish()
    return list(keys), kept.values, [(failure.value, str(failure.error)) for failure in failures], bench


def _through() -> Any:
    from warren.operators import tap

    return tap(lambda value: None)


def test_each_value_has_its_key() -> None:
    assert ask(str, 1, 2)[:3] == (["1", "2"], [1, 2], [])


def test_one_that_raises_and_one_that_cannot_be_a_key_fail_alone() -> None:
    keys, kept, failures, _ = ask(lambda x: 6 // x if x < 5 else [x], 1, 0, 5, 2)
    assert (keys, kept) == ([6, 3], [1, 2])
    assert failures[0] == (0, "integer division or modulo by zero")
    assert failures[1][0] == 5
    assert "by= answered [5] for 5, which cannot be a key; answer with a text" in failures[1][1]


def test_a_coroutine_is_no_key() -> None:
    async def look(value: int) -> int:
        return value

    keys, kept, failures, _ = ask(lambda x: look(x) if x else x, 0, 1)
    assert (keys, kept) == ([0], [0])
    assert "answered with a coroutine for 1; it must not be async" in failures[0][1]


def test_what_is_no_function_of_a_value_is_refused() -> None:
    async def look(value: int) -> int:
        return value

    with pytest.raises(GraphError, match=r"batch\(by=...\): 'id' is not a function; give a function of one value"):
        check_function("id", "batch(by=...)")
    with pytest.raises(GraphError, match="look must not be async; look things up with map first"):
        check_function(look, "batch(by=...)")
