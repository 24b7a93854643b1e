from __future__ import annotations

from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import EncodeError, GraphError
from warren.operators import batch, explode, frames, map


class Row(msgspec.Struct):
    id: str
    n: int | None = None


def rows(values: list[pl.DataFrame]) -> list[list[Any]]:
    return [frame.rows() for frame in values]


@given(st.lists(st.lists(st.integers(0, 99), max_size=9)), st.integers(1, 7))
def test_frames_by_count_are_full_and_keep_the_order(chunks: list[list[int]], count: int) -> None:
    bench = Bench(frames(count))
    for chunk in chunks:
        bench.push(*({"n": n} for n in chunk))
    bench.finish()
    assert [n for frame in bench.values for n in frame["n"]] == [n for chunk in chunks for n in chunk]
    assert all(frame.height == count for frame in bench.values[:-1])


def test_a_timer_lets_an_incomplete_frame_go() -> None:
    bench = Bench(frames(3, "1s")).push(Row("a", 1)).wait(1.0)
    assert rows(bench.values) == [[("a", 1)]]
    bench.finish()


def test_a_frame_is_settled_with_its_messages() -> None:
    bench = Bench(frames(2)).push(Row("a"), Row("b"), Row("c"))
    assert rows(bench.values) == [[("a", None), ("b", None)]]
    assert bench.values[0].schema == {"id": pl.String, "n": pl.Int64}
    assert bench.kinds() == ["", "", ""]
    bench.finish()
    assert bench.kinds() == ["DELIVERED"] * 3


def test_frames_by_key() -> None:
    bench = Bench(frames(2, by=lambda row: row.id)).push(Row("a", 1), Row("b", 2), Row("a", 3)).finish()
    assert rows(bench.values) == [[("a", 1), ("a", 3)], [("b", 2)]]


def test_a_schema_says_the_columns() -> None:
    bench = Bench(frames(1, schema={"n": pl.Int8})).push({"n": 1, "more": 2}, {"n": 300}).finish()
    assert [frame.schema for frame in bench.values] == [{"n": pl.Int8}]
    assert "frames(1): a value cannot be a row of a frame: column 'n' has 300, and its type is Int8" in bench.errors[0]


def test_a_value_that_does_not_fit_fails_alone() -> None:
    bench = Bench(frames(4)).push({"n": 1}, {"n": "x"}, 7, {"n": 2}, attempt=1)
    assert rows(bench.values) == [[(1,), (2,)]]
    assert [(f.value, type(f.error)) for f in bench.failures] == [(7, EncodeError), ({"n": "x"}, EncodeError)]
    bench.finish()


def test_values_of_which_none_fits_all_fail() -> None:
    bench = Bench(frames(2)).push(object(), 1)
    bench.push({"a": [object()]}, {"a": [object()]})
    assert bench.values == []
    assert len(bench.failures) == 4
    bench.finish()


def test_what_fails_in_the_last_frame_is_not_lost() -> None:
    bench = Bench(frames(9)).push(7).finish()
    assert len(bench.failures) == 1
    assert bench.kinds() == ["DEAD_LETTERED"]


def test_a_frame_that_cannot_be_is_refused() -> None:
    with pytest.raises(GraphError, match=r"frames\(\): give a limit"):
        frames()
    with pytest.raises(GraphError, match=r"frames\(count=0\): count must be a whole number"):
        frames(0)
    with pytest.raises(GraphError, match="name the columns with their types"):
        frames(2, schema={})
    with pytest.raises(GraphError, match="more than credit=3"):
        Pipeline("p", memory.items([]) | frames(10) | memory.into([]), credit=3)


def test_rows_and_frames_there_and_back() -> None:
    whole = pl.DataFrame({"id": [str(i) for i in range(100)], "n": [*range(99), None]})
    flow = memory.items([]) | frames(7) | explode(Row) | frames(30) | batch(9) | map(pl.concat) | memory.into([])
    trial = Pipeline("p", flow).test(whole.to_dicts())
    assert trial.values[0].equals(whole)
    assert trial.outcomes == {"delivered": 100}
