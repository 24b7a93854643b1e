import pytest

from tests.operators.fake import Bench
from warren.core.errors import GraphError
from warren.operators.tap import tap


def test_values_are_shown_and_pass() -> None:
    seen: list[int] = []
    bench = Bench(tap(seen.append)).push(1, 2).push(3)
    assert (seen, bench.values) == ([1, 2, 3], [1, 2, 3])
    bench.finish()


def test_a_raise_fails_that_message_only() -> None:
    shown: list[int] = []

    def show(value: int) -> None:
        shown.append(value)
        if value == 2:
            raise ValueError("no twos")

    bench = Bench(tap(show)).push(1, 2, 3)
    assert (shown, bench.values, bench.errors) == ([1, 2, 3], [1, 3], ["no twos"])
    bench.finish()


def test_chunks_are_shown_whole_and_fail_whole() -> None:
    seen: list[object] = []
    bench = Bench(tap(seen.append, chunks=True)).push(1, 2)
    assert seen == [(1, 2)]
    bench.finish()
    bench = Bench(tap(lambda values: values.clear(), chunks=True)).push(1, 2)  # type: ignore[attr-defined]
    assert [f.value for f in bench.failures] == [1, 2]
    bench.finish()


def test_what_is_no_function_is_refused() -> None:
    async def later(value: int) -> None: ...

    with pytest.raises(GraphError, match="give a function"):
        tap(None)  # type: ignore[call-overload]
    with pytest.raises(GraphError, match="must not be async"):
        tap(later)
