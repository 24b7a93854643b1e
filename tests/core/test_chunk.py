from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from warren.core.chunk import Chunk, Failure, apply_each


@given(st.lists(st.sampled_from(["value", "error", "stop"])))
def test_each_value_is_handled_exactly_once_in_order(kinds: list[str]) -> None:
    seen: list[int] = []

    def handle(pair: tuple[int, str]) -> int:
        seen.append(pair[0])
        if pair[1] == "error":
            raise ValueError(pair[0])
        if pair[1] == "stop":
            raise StopIteration
        return pair[0]

    results, errors = apply_each(handle, list(enumerate(kinds)))
    assert seen == list(range(len(kinds)))
    assert results == [i for i, kind in enumerate(kinds) if kind == "value"]
    assert sorted(errors) == [i for i, kind in enumerate(kinds) if kind != "value"]
    assert all(isinstance(errors[i], RuntimeError if kinds[i] == "stop" else ValueError) for i in errors)


@given(st.lists(st.booleans()))
def test_select_keeps_values_with_their_tokens(mask: list[bool]) -> None:
    chunk = Chunk(list(range(len(mask))), range(100, 100 + len(mask)), attempt=3).select(mask)
    assert [token - 100 for token in chunk.tokens if isinstance(token, int)] == chunk.values
    assert chunk.values == [i for i, keep in enumerate(mask) if keep]
    assert chunk.attempt == 3
    assert len(chunk) == sum(mask)


def test_failures_are_not_counted_as_values() -> None:
    failure = Failure(1, "value", ValueError("no"), "1:map")
    assert len(Chunk([], (), [failure])) == 0
    assert (failure.attempt, failure.redo) == (1, None)
