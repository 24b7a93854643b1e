from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import DecodeError, EncodeError, GraphError, HandlerError
from warren.operators import batch, explode, frames, map
from warren.operators.columns import columns


class Row(msgspec.Struct):
    n: int
    name: str | None = None


class Doubled(msgspec.Struct):
    n: int
    double: int


DOUBLE = (pl.col("n") * 2).alias("double")


def test_nothing_comes_of_nothing() -> None:
    assert Bench(columns(DOUBLE)).push().finish().out == []


@pytest.mark.parametrize("count", [1, 3])
def test_each_message_gives_its_row(count: int) -> None:
    bench = Bench(columns(DOUBLE)).push(*({"n": n} for n in range(count)), attempt=2)
    assert bench.values == [{"n": n, "double": 2 * n} for n in range(count)]
    assert type(bench.out[0].tokens) is range
    assert bench.out[0].attempt == 2
    assert bench.finish().kinds() == ["DELIVERED"] * count


def test_structs_become_dicts_or_what_the_type_says() -> None:
    assert Bench(columns(DOUBLE)).push(Row(1), Row(2, "b")).finish().values == [
        {"n": 1, "name": None, "double": 2},
        {"n": 2, "name": "b", "double": 4},
    ]
    bench = Bench(columns(DOUBLE, select=["n", "double"], type=Doubled)).push(Row(1), {"n": 2})
    assert bench.finish().values == [Doubled(1, 2), Doubled(2, 4)]


def test_a_filter_sees_the_new_columns_and_settles_the_rest() -> None:
    bench = Bench(columns(DOUBLE, filter=pl.col("double") > 2)).push({"n": 1}, {"n": 2}, {"n": None}, {"n": 3})
    assert [row["n"] for row in bench.values] == [2, 3]
    assert bench.kinds() == ["FILTERED", "", "FILTERED", ""]
    bench.finish()


def test_all_may_be_filtered_out() -> None:
    bench = Bench(columns(filter=pl.col("n") > 5, select=pl.lit(1).alias("one"))).push({"n": 1}, {"n": 2})
    assert (bench.values, bench.kinds()) == ([], ["FILTERED", "FILTERED"])
    bench.finish()


@pytest.mark.parametrize("select", ["n", ["n"], pl.col("n"), [pl.col("n")]])
def test_select_says_what_goes_on(select: Any) -> None:
    assert Bench(columns(select=select)).push({"n": 1, "m": 2}).finish().values == [{"n": 1}]


def test_a_schema_names_the_columns_and_their_types() -> None:
    bench = Bench(columns(pl.col("n").is_null().alias("none"), schema={"n": pl.Int8})).push({"n": None, "m": 1}, {"n": 300})
    assert bench.values == [{"n": None, "none": True}]
    assert isinstance(bench.failures[0].error, EncodeError)
    assert "its type is Int8" in bench.errors[0]
    bench.finish()


def test_what_does_not_fit_fails_alone() -> None:
    bench = Bench(columns(DOUBLE)).push({"n": 1}, {"n": "x"}, 7, {"n": 2}, attempt=3)
    assert [row["double"] for row in bench.values] == [2, 4]
    assert [(f.value, f.attempt) for f in bench.failures] == [({"n": "x"}, 3), (7, 3)]
    assert {type(f.error) for f in bench.failures} == {EncodeError}
    assert all("a value cannot be a row of a frame" in error for error in bench.errors)
    bench.finish()


def test_an_expression_that_raises_fails_the_row_for_which_it_does() -> None:
    step = columns(pl.col("t").cast(pl.Int64).alias("n"), filter=pl.col("n") > 0)
    bench = Bench(step).push(*({"t": t} for t in ("1", "x", "3", "-4", "y", "6")), attempt=2)
    assert [row["n"] for row in bench.values] == [1, 3, 6]
    assert [(f.value["t"], f.attempt, type(f.error).__name__) for f in bench.failures] == [
        ("x", 2, "InvalidOperationError"),
        ("y", 2, "InvalidOperationError"),
    ]
    assert bench.kinds()[3] == "FILTERED"
    bench.finish()


def test_where_all_fail_nothing_goes_on() -> None:
    bench = Bench(columns(pl.col("missing") * 2)).push({"n": 1}, {"n": 2})
    assert (bench.values, len(bench.failures)) == ([], 2)
    assert "missing" in bench.errors[0]
    bench.finish()
    bench = Bench(columns(DOUBLE)).push(1, 2)
    assert (bench.values, len(bench.failures)) == ([], 2)
    bench.finish()


def test_a_row_that_is_not_of_the_type_fails() -> None:
    bench = Bench(columns(DOUBLE, filter=pl.col("n") != 2, type=Doubled)).push({"n": 1}, {"n": 2}, {"n": None}, {"n": 3})
    assert bench.values == [Doubled(1, 2), Doubled(3, 6)]
    assert bench.failures == []
    bench.finish()
    bench = Bench(columns(DOUBLE, filter=pl.col("n").ne_missing(2), type=Doubled))
    bench.push({"n": 1}, {"n": 2}, {"n": None}, {"n": 3})
    assert bench.values == [Doubled(1, 2), Doubled(3, 6)]
    assert [(f.value, type(f.error)) for f in bench.failures] == [({"n": None}, DecodeError)]
    assert bench.kinds() == ["", "FILTERED", "", ""]
    bench.finish()


def test_a_filter_that_says_neither_true_nor_false() -> None:
    bench = Bench(columns(filter=pl.col("n") * 2)).push({"n": 1})
    assert isinstance(bench.failures[0].error, HandlerError)
    assert "columns(filter): the filter gave 1 of Int64 for 1 row(s); it must say true or false of each" in bench.errors[0]
    bench.finish()


def test_a_selection_with_too_few_rows() -> None:
    bench = Bench(columns(select=pl.col("n").unique(), type=None)).push(pl.DataFrame({"n": [1, 1]}))
    assert isinstance(bench.failures[0].error, HandlerError)
    assert "what is selected has 1 row(s) where there were 2" in bench.errors[0]
    bench.finish()


def test_data_frames_stay_what_they_are() -> None:
    whole = pl.DataFrame({"n": [1, 2, 3]})
    step = columns(DOUBLE, (pl.col("n").sum()).alias("all"), filter=pl.col("n") > 1, select=["double", "all"])
    bench = Bench(step).push(whole, pa.table({"n": [5]}))
    assert [frame.rows() for frame in bench.values] == [[(4, 6), (6, 6)], [(10, 5)]]
    bench.finish()


def test_a_frame_of_which_no_row_is_left_is_settled() -> None:
    bench = Bench(columns(filter=pl.col("n") > 1)).push(pl.DataFrame({"n": [1]}), pl.DataFrame({"n": [2]}))
    assert bench.kinds() == ["FILTERED", ""]
    bench.finish()
    bench = Bench(columns(DOUBLE)).push(pl.DataFrame({"n": [1]}).clear())
    assert bench.values[0].columns == ["n", "double"]
    bench.finish()


def test_a_frame_fails_as_a_whole() -> None:
    bench = Bench(columns(pl.col("t").cast(pl.Int64))).push(pl.DataFrame({"t": ["1", "x"]}), pl.DataFrame({"t": ["2"]}))
    assert ([frame.rows() for frame in bench.values], len(bench.failures)) == ([[(2,)]], 1)
    bench.finish()


def test_frames_and_rows_beside_each_other_keep_their_order() -> None:
    bench = Bench(columns(DOUBLE, filter=pl.col("n") > 0))
    bench.push({"n": 1}, {"n": 0}, pl.DataFrame({"n": [2]}), {"n": 3}, 4, {"n": 5})
    shown = [value.row(0)[0] if isinstance(value, pl.DataFrame) else value["n"] for value in bench.values]
    assert (shown, [f.value for f in bench.failures]) == ([1, 2, 3, 5], [4])
    bench.finish()


def test_a_panic_of_polars_is_a_failure() -> None:
    def panic(column: pl.Series) -> pl.Series:
        raise pl.exceptions.PanicException("deep inside")

    bench = Bench(columns(pl.col("n").map_batches(panic, return_dtype=pl.Int64))).push({"n": 1})
    assert (bench.values, len(bench.failures)) == ([], 1)
    bench.finish()


@given(st.lists(st.lists(st.one_of(st.integers(-9, 9), st.sampled_from(["x", None])), max_size=7), max_size=7))
def test_it_equals_a_loop(chunks: list[list[Any]]) -> None:
    bench = Bench(columns(DOUBLE, filter=pl.col("double").ne_missing(4), schema={"n": pl.Int64}))
    expected: list[Any] = []
    for chunk in chunks:
        bench.push(*({"n": n} for n in chunk))
        expected += [n for n in chunk if n not in ("x", 2)]
    assert [row["n"] for row in bench.values] == expected
    assert [row["double"] for row in bench.values] == [None if n is None else 2 * n for n in expected]
    assert [f.value["n"] for f in bench.failures] == [n for chunk in chunks for n in chunk if n == "x"]
    bench.finish()


def test_in_a_pipeline() -> None:
    flow = memory.items([]) | map(lambda n: {"n": 6 // n}) | columns(DOUBLE) | frames(2) | columns(filter=pl.col("n") > 2)
    result = Pipeline("p", flow | explode() | batch(9) | memory.into([])).test([1, 0, 2, 3, 6])
    assert result.values == [[{"n": 6, "double": 12}, {"n": 3, "double": 6}]]
    assert sum(result.outcomes.values()) == 5


def test_polars_is_imported_on_use_only() -> None:
    program = "import sys, warren.operators; assert 'polars' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_cannot_work_is_refused() -> None:
    for arguments, says in [
        ({}, r"columns\(\): give expressions"),
        ({"select": []}, r"columns\(\): give expressions"),
        ({"filter": "n"}, r"columns\('n'\): this is no Polars expression"),
        ({"select": [3]}, r"columns\(select=\[3\]\): give names"),
        ({"select": "n", "schema": {}}, "name the columns with their types"),
        ({"select": "n", "type": object()}, "nothing can be read as"),
    ]:
        with pytest.raises(GraphError, match=says):
            columns(**arguments)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="this is no Polars expression"):
        columns("n")  # type: ignore[arg-type]


def test_names() -> None:
    assert columns(DOUBLE, pl.all() * 2, filter=pl.col("n") > 1, select="n").name == "columns(double, …, filter, select)"
