import pytest

from tests.operators.fake import Bench
from warren.core.errors import GraphError, HandlerError
from warren.core.receipt import DELIVERED, Parts
from warren.operators.flat_map import flat_map


def test_every_item_goes_on_in_order() -> None:
    bench = Bench(flat_map(str.split)).push("a b", "", "c")
    assert bench.values == ["a", "b", "c"]
    assert bench.kinds() == ["", "FILTERED", ""]
    bench.finish()


def test_a_message_is_settled_with_the_last_of_its_values() -> None:
    bench = Bench(flat_map(list)).push([1, 2])
    first, second = bench.out[0].tokens
    bench.run.ledger.settle([second], DELIVERED)
    assert bench.kinds() == [""]
    bench.run.ledger.settle([first], DELIVERED)
    assert bench.kinds() == ["DELIVERED"]


def test_an_iterable_that_raises_midway_gives_nothing() -> None:
    def some(value: int):  # type: ignore[no-untyped-def]
        yield value
        yield 1 / value

    bench = Bench(flat_map(some)).push(1, 0, 2, attempt=3)
    assert bench.values == [1, 1.0, 2, 0.5]
    assert [(f.value, f.attempt, type(f.error)) for f in bench.failures] == [(0, 3, ZeroDivisionError)]
    assert {chunk.attempt for chunk in bench.out} == {3}
    bench.finish()


def test_an_answer_is_used_up_before_the_next_call() -> None:
    given: list[int] = []
    calls: list[str] = []

    def same(value: int) -> list[int]:
        given[:] = range(value)
        return given

    def lazy(value: int):  # type: ignore[no-untyped-def]
        calls.append(f"{value} begins")
        yield value
        calls.append(f"{value} ends")

    bench = Bench(flat_map(same)).push(2, 0, 1)
    assert bench.values == [0, 1, 0]
    bench.finish()
    Bench(flat_map(lazy)).push(1, 2).finish()
    assert calls == ["1 begins", "1 ends", "2 begins", "2 ends"]


def test_no_token_is_made_of_values_that_end_together() -> None:
    bench = Bench(flat_map(lambda n: [n] * n)).push(1, 0, 2)
    assert isinstance(bench.out[0].tokens, Parts)
    bench.finish()
    assert bench.out[0].tokens.whole


@pytest.mark.parametrize("answer", ["text", b"bytes", 7, None])
def test_an_answer_that_is_no_list_is_refused(answer: object) -> None:
    bench = Bench(flat_map(lambda _: answer)).push("x")  # type: ignore[arg-type,return-value]
    assert isinstance(bench.failures[0].error, HandlerError)
    assert f"the function answered {answer!r} for 'x'; it must answer with a list" in bench.errors[0]
    bench.finish()


def test_a_graph_that_cannot_work_is_refused() -> None:
    async def later(value: int) -> list[int]:
        return [value]

    with pytest.raises(GraphError, match="give a function"):
        flat_map(3)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"write map\(later\) \| flat_map\(list\)"):
        flat_map(later)  # type: ignore[arg-type]
