from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.chunk import Chunk, Failure
from warren.core.errors import GraphError, HandlerError
from warren.core.receipt import Kind, Outcome
from warren.operators import batch, debounce, delay, filter, flat_map, for_each, map, retry, timeout
from warren.pipelines import Trial


class Row(msgspec.Struct):
    id: str
    n: int


FRAME = pl.DataFrame({"id": ["a", "b", "c"], "n": [1, 0, 3]})


def trial(steps: Any, *values: Any) -> Trial:
    return Pipeline("p", memory.items([]) | steps | memory.into([])).test(values)


def letters(result: Trial) -> list[tuple[Any, str | None, str]]:
    dead = result.dead_letters.get("p.dead", [])
    return [(letter.value, letter.metadata.headers.get("warren-row"), letter.metadata.id) for letter in dead]


def flaky(times: int, bad: Any = 2) -> Callable[[Any], Any]:
    tries = iter([ConnectionError("busy")] * times)

    def call(value: Any) -> Any:
        if value == bad and (error := next(tries, None)):
            raise error
        return value

    return call


def test_nothing_comes_of_nothing() -> None:
    bench = Bench(for_each(map(str))).push().push([], FRAME[:0]).finish()
    assert bench.out == []
    assert bench.kinds() == ["FILTERED", "FILTERED"]


def test_one_message_comes_out_for_each_that_goes_in_with_its_token() -> None:
    bench = Bench(for_each(map(lambda n: n * 2))).push([1, 2], [3], (4, 5), attempt=2)
    assert bench.values == [[2, 4], [6], [8, 10]]
    assert [token for chunk in bench.out for token in chunk.tokens] == bench.pushed
    assert [chunk.attempt for chunk in bench.out] == [2]
    assert bench.kinds() == ["", "", ""]
    bench.finish()


def test_rows_of_frames_are_what_the_type_says() -> None:
    assert Bench(for_each(map(lambda row: row["n"]))).push(FRAME).finish().values == [[1, 0, 3]]
    assert Bench(for_each(filter(lambda row: row.n), Row)).push(FRAME).finish().values == [[Row("a", 1), Row("c", 3)]]
    frames = Bench(for_each(filter(lambda row: row["n"])) | map(pl.DataFrame)).push(FRAME).finish().values
    assert frames[0].rows() == [("a", 1), ("c", 3)]


def test_rows_that_are_filtered_out_are_left_out_and_with_the_last_of_them_the_message() -> None:
    bench = Bench(for_each(filter(lambda n: n % 2))).push([1, 2, 3], [2, 4]).finish()
    assert bench.values == [[1, 3]]
    assert bench.kinds() == ["DELIVERED", "FILTERED"]


def test_a_row_may_become_several_or_none_and_several_may_become_one() -> None:
    bench = Bench(for_each(flat_map(range))).push([2, 0, 3], [0]).finish()
    assert bench.values == [[0, 1, 0, 1, 2]]
    assert Bench(for_each(flat_map(range) | batch(2))).push([2, 4]).finish().values == [[[0, 1], [0, 1], [2, 3]]]


def test_what_is_made_of_rows_of_several_messages_fails() -> None:
    bench = Bench(for_each(batch(2))).push([1], [2, 3])
    assert bench.values == []
    assert "[1, 2] is made of rows of several messages" in bench.errors[0]
    assert isinstance(bench.failures[0].error, HandlerError)
    bench.flush()
    assert bench.values == []
    bench.run.ledger.settle([bench.failures[0].token], Outcome(Kind.DEAD_LETTERED))
    assert bench.kinds() == ["", ""]
    bench.wait(0.001)
    assert (bench.values, bench.kinds()) == ([[[3]]], ["DEAD_LETTERED", ""])
    bench.finish()


def test_a_failed_row_goes_on_at_once_and_the_others_follow_when_its_letter_is_durable() -> None:
    bench = Bench(for_each(map(lambda n: 6 // n))).push([1, 0, 3])
    assert (bench.values, len(bench.failures)) == ([], 1)
    bench.run.ledger.settle([bench.failures[0].token], Outcome(Kind.DEAD_LETTERED))
    assert bench.kinds() == [""]
    bench.wait(0.001)
    assert bench.values == [[6, 2]]
    assert bench.kinds() == [""]
    bench.finish()


def test_a_message_of_which_every_row_failed_is_settled_with_them() -> None:
    result = trial(for_each(map(lambda n: 1 / n)), [0, 0], [0])
    assert (result.values, result.outcomes) == ([], {"dead-lettered": 2})
    assert letters(result) == [([0], "0", "0/0"), ([0], "1", "0/1"), ([0], None, "1")]


def test_what_is_neither_a_frame_nor_a_list_fails_alone() -> None:
    bench = Bench(for_each(map(str))).push("ab", {"a": 1}, [1], attempt=3)
    assert bench.values == [["1"]]
    assert [(f.attempt, type(f.error)) for f in bench.failures] == [(3, HandlerError)] * 2
    assert bench.errors[0].startswith("for_each: got 'ab', which is neither a data frame nor a list")
    bench.finish()


def test_a_row_that_does_not_fit_the_type_fails_alone() -> None:
    result = trial(for_each(map(lambda row: row.n), Row), pl.DataFrame({"id": ["a", None, "c"], "n": [1, 2, 3]}))
    assert result.values == [[1, 3]]
    assert [(value.rows(), row) for value, row, _ in letters(result)] == [([(None, 2)], "1")]


def test_the_letter_of_a_row_is_that_row_alone() -> None:
    result = trial(for_each(map(lambda row: 6 / row["n"])), FRAME)
    assert result.values == [[6.0, 2.0]]
    assert [(value.rows(), row, id) for value, row, id in letters(result)] == [([("b", 0)], "1", "0/1")]
    result = trial(for_each(map(lambda n: 6 / n)), [1, 0, 3])
    assert letters(result) == [([0], "1", "0/1")]
    assert result.values == [[6.0, 2.0]]


def test_items_that_the_message_does_not_have_leave_the_whole_message() -> None:
    steps = map(lambda items: [n - 1 for n in items]) | for_each(map(lambda n: 6 / n))
    assert letters(trial(steps, [1, 2, 3])) == [([1, 2, 3], None, "0")]


@pytest.mark.parametrize("inside", [True, False])
def test_a_row_is_tried_again_by_itself_and_the_others_wait_for_it(inside: bool) -> None:
    again = retry(constant("3s"))
    steps = map(flaky(2))
    result = trial(for_each(steps | again) if inside else for_each(steps) | again, [1, 2, 3], [4])
    assert result.values == [[4], [1, 2, 3]]
    assert result.elapsed == pytest.approx(6)
    assert result.outcomes == {"delivered": 2}


def test_a_row_that_is_parked_takes_its_message_with_it_and_nothing_goes_on_before() -> None:
    result = trial(for_each(map(flaky(1)) | retry(constant("1h"))), [1, 2, 3], [4])
    assert result.values == [[4], [1, 2, 3]]
    assert result.outcomes == {"parked": 1, "delivered": 2}
    assert result.elapsed == pytest.approx(3600, abs=1)


def test_the_order_is_that_of_the_rows_whatever_comes_out_first() -> None:
    async def wait(n: int) -> int:
        await asyncio.sleep(n)
        return n

    result = trial(for_each(map(wait, concurrency=9, ordered=False)), [3, 1, 2], [1, 1])
    assert result.values == [[1, 1], [3, 1, 2]]


def test_a_row_that_is_filtered_out_after_all_the_others_have_come_lets_the_message_go() -> None:
    async def wait(n: int) -> int:
        await asyncio.sleep(n)
        return n

    result = trial(for_each(map(wait, concurrency=9) | filter(lambda n: n < 3)), [1, 2, 3], [3])
    assert (result.values, result.outcomes) == ([[1, 2]], {"delivered": 1, "filtered": 1})
    assert result.elapsed == pytest.approx(3)


def test_steps_that_hold_rows_let_go_of_them_at_the_flush() -> None:
    assert trial(for_each(debounce("1m")), [1, 2, 3], [4]).values == [[4]]
    bench = Bench(for_each(debounce("1m"))).push([1, 2, 3], [4])
    assert bench.values == []
    assert bench.flush().values == [[4]]
    bench.wait(0.001).finish()


def test_one_in_another_and_within_a_timeout() -> None:
    assert Bench(for_each(for_each(map(lambda n: -n)))).push([[1, 2], [3], []], [[4]]).finish().values == [
        [[-1, -2], [-3]],
        [[-4]],
    ]
    slow = timeout(for_each(delay(lambda n: n)), "5s")
    result = trial(slow, [1, 2], [1, 9])
    assert result.values == [[1, 2]]
    assert [letter.error for letter in result.dead_letters["p.dead"]] == ["TimeoutError"]
    inner = for_each(timeout(delay(lambda n: n), "5s"))
    assert trial(inner, [1, 2], [1, 9]).values == [[1, 2], [1]]


def test_ids_are_kept_for_the_sink() -> None:
    broker = memory.Broker()
    flow = memory.items([[1, 2], [3], [4, 4]]) | for_each(map(str)) | memory.queue("out", broker=broker)
    Pipeline("p", flow).run()
    assert broker.peek("out").ids == ["0", "1", "2"]


def test_earlier_failures_pass_it_by() -> None:
    bench = Bench(for_each(map(str)))
    token = bench.accept(["x"])[0]
    bench.hand(Chunk([], (), [Failure(token, "x", ValueError("x"), "before")]))
    assert bench.errors == ["x"]
    bench.finish()


@given(st.lists(st.lists(st.integers(-3, 3), max_size=5), max_size=5), st.lists(st.booleans()))
def test_it_agrees_with_plain_python(messages: list[list[int]], together: list[bool]) -> None:
    steps = filter(lambda n: n != 0) | flat_map(lambda n: [n] * abs(n)) | map(lambda n: 6 / (n + 3))
    bench = Bench(for_each(steps))
    bench.push(*messages) if together else [bench.push(each) for each in messages]
    expected = [[6 / (n + 3) for n in message if n != 0 and n != -3 for _ in range(abs(n))] for message in messages]
    for failure in bench.failures:
        bench.run.ledger.settle([failure.token], Outcome(Kind.DEAD_LETTERED))
    bench.wait(0.001)
    assert sorted(bench.values) == sorted(each for each in expected if each)
    bench.finish()


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: for_each(len), "give the steps for a row"),  # type: ignore[arg-type]
        (lambda: for_each(map(str), list[Row] | list[int]), "nothing can be read as"),
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
