from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.operators.fake import Bench
from warren.core.chunk import Chunk
from warren.core.errors import GraphError
from warren.operators.keys import answers, check_function, is_async, keys_of


def ask(by: Any, *values: Any, ask_with: Any = keys_of) -> tuple[list[Any], list[Any], list[tuple[Any, str]], Bench]:
    bench = Bench(_through())
    chunk = Chunk(list(values), bench.accept(values), (), 2)
    keys, kept, failures = ask_with(bench.stages[0], by, chunk)
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


def test_the_answers_of_all_values() -> None:
    assert ask(lambda x: [x], 1, 2, ask_with=answers)[:3] == ([[1], [2]], [1, 2], [])


def test_one_that_raises_and_one_that_answers_with_a_coroutine_fail_alone() -> None:
    async def look(value: int) -> int:
        return value

    values, kept, failures, _ = ask(lambda x: look(x) if x > 5 else [6 // x], 1, 7, 0, 2, ask_with=answers)
    assert (values, kept) == ([[6], [3]], [1, 2])
    assert failures[0] == (0, "integer division or modulo by zero")
    assert failures[1][0] == 7
    assert "the answer for 7 is a coroutine; give a function that answers at once" in failures[1][1]


def test_async_functions_of_every_shape_are_seen() -> None:
    class Later:
        async def __call__(self, value: int) -> int:
            return value

    async def plain(value: int) -> int:
        return value

    shapes = [Later(), plain, functools.partial(plain), Later().__call__]
    assert all(map(is_async, shapes))
    assert not any(map(is_async, [len, functools.partial(max, 1), int]))
    for shape in shapes:
        with pytest.raises(GraphError, match="must not be async"):
            check_function(shape, "batch(by=...)")
