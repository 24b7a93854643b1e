from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.operators.rows import Rows, dicts, numbered

SOURCE = pl.DataFrame(
    {
        "n": [1, 2, 3, 2],
        "text": ["x", None, "z", None],
        "list": [[1], [2, None], None, [2, None]],
        "nan": [float("nan"), 1.0, 2.0, 1.0],
        "struct": [{"q": 1}, {"q": None}, None, {"q": None}],
        "category": pl.Series(["u", "v", "u", "v"], dtype=pl.Categorical),
        "bytes": [b"x", None, b"", None],
    }
)


def rows(frame: pl.DataFrame, *parts: int, source: Any = SOURCE) -> tuple[list[Any], str] | None:
    found = Rows(frame)(source, parts)
    return None if found is None else (list(found[0]["n"]), found[1])


def test_a_part_is_the_row_in_its_place() -> None:
    value, number = Rows(SOURCE)(SOURCE, [2]) or (None, "")
    assert value.equals(SOURCE[2]) and value.schema == SOURCE.schema and number == "2"
    assert rows(SOURCE, 0, 1, 3) == ([1, 2, 2], "0-1,3")


def test_a_row_is_found_after_steps_that_filter_sort_or_add_columns() -> None:
    assert rows(SOURCE.filter(pl.col("n") > 2), 0) == ([3], "2")
    assert rows(SOURCE.reverse(), 3, 1) == ([1, 3], "0,2")
    assert rows(SOURCE.with_columns(more=pl.lit(1)).select(reversed(["more", *SOURCE.columns])), 1) == ([2], "1")
    # Of two equal rows both fail: two rows are in the letter, whichever they are.
    assert rows(SOURCE.filter(pl.col("n") == 2), 0, 1) == ([2, 2], "1,1")


def test_other_rows_than_those_of_the_message_are_not_taken_for_them() -> None:
    assert rows(SOURCE.with_columns(pl.col("n") * 100), 0) is None
    assert rows(SOURCE.select("n"), 0) is None
    assert rows(SOURCE.filter(pl.col("n") > 2).with_columns(pl.col("n").cast(pl.Int8)), 0) is None
    assert rows(SOURCE.group_by("category").agg(pl.sum("n")), 0) is None


@pytest.mark.parametrize("source", [b"bytes", {"n": 1}, None, SOURCE[0], pl.DataFrame()])
def test_a_message_without_rows_to_choose_from_is_a_letter_as_a_whole(source: Any) -> None:
    assert rows(SOURCE, 0, source=source) is None


def test_the_rows_of_an_arrow_table_stay_arrow() -> None:
    table = SOURCE.select("n", "text").to_arrow()
    value, number = Rows(SOURCE.reverse())(table, [1]) or (None, "")
    assert value.schema == table.schema
    assert (value.to_pylist(), number) == ([{"n": 3, "text": "z"}], "2")


def test_parts_can_be_runs_of_rows() -> None:
    runs = Rows(SOURCE, [0, 1, 3, 4])
    assert [(list(found[0]["n"]), found[1]) for part in range(3) if (found := runs(SOURCE, [part]))] == [
        ([1], "0"),
        ([2, 3], "1-2"),
        ([2], "3"),
    ]
    assert (runs(SOURCE, [0, 2]) or (0, ""))[1] == "0,3"


def test_a_frame_without_columns_has_no_rows() -> None:
    assert dicts(pl.DataFrame()) == []


@given(st.sets(st.integers(0, 300)))
def test_row_numbers_can_be_read_back(numbers: set[int]) -> None:
    text = numbered(sorted(numbers))
    assert len(text) < 900
    if not text.endswith("…"):
        ends = [run.partition("-")[::2] for run in text.split(",") if run]
        assert {n for first, last in ends for n in range(int(first), int(last or first) + 1)} == numbers


def test_many_runs_are_cut() -> None:
    assert numbered(range(0, 1000, 2)).endswith(",196,198,…")


def test_rows_are_dicts_of_python_values() -> None:
    assert dicts(SOURCE.drop("nan")) == SOURCE.drop("nan").to_dicts()
