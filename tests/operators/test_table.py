from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.operators.rows import dicts
from warren.operators.table import refused, table


class Colour(enum.Enum):
    RED = "red"


class Inner(msgspec.Struct):
    x: int


class Wide(msgspec.Struct, rename="camel"):
    id: str
    how_many: int | None
    price: Annotated[float, msgspec.Meta(ge=0)]
    ok: bool
    raw: bytes
    day: dt.date
    clock: dt.time
    lasted: dt.timedelta
    at: dt.datetime
    exact: Decimal
    tags: list[str]
    inner: Inner | None
    colour: Colour
    number: uuid.UUID


@dataclasses.dataclass
class Line:
    id: str
    n: int | None = None


class Point(NamedTuple):
    x: int
    y: float


class Model(pydantic.BaseModel):
    id: str
    inner: dict[str, int]


WIDE = Wide(
    "a",
    None,
    1.5,
    True,
    b"\xff",
    dt.date(2026, 1, 1),
    dt.time(12),
    dt.timedelta(seconds=1),
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    Decimal("1.50"),
    ["x"],
    Inner(3),
    Colour.RED,
    uuid.UUID(int=1),
)


def test_the_fields_of_a_struct_become_columns_with_its_types() -> None:
    frame = table([WIDE, WIDE], None)
    assert dict(frame.schema) == {
        "id": pl.String,
        "howMany": pl.Int64,
        "price": pl.Float64,
        "ok": pl.Boolean,
        "raw": pl.Binary,
        "day": pl.Date,
        "clock": pl.Time,
        "lasted": pl.Duration("us"),
        "at": pl.Datetime("us", "UTC"),
        "exact": pl.Decimal(38, 2),
        "tags": pl.List(pl.String),
        "inner": pl.Struct({"x": pl.Int64}),
        "colour": pl.String,
        "number": pl.String,
    }
    assert msgspec.convert(dicts(frame), list[Wide]) == [WIDE, WIDE]


@pytest.mark.parametrize(
    ("values", "schema", "rows"),
    [
        ([Line("a", 1), Line("b")], {"id": pl.String, "n": pl.Int64}, [("a", 1), ("b", None)]),
        ([Line("b")], {"id": pl.String, "n": pl.Int64}, [("b", None)]),
        ([Point(1, 2)], {"x": pl.Int64, "y": pl.Float64}, [(1, 2.0)]),
        ([Model(id="a", inner={"k": 1})], {"id": pl.String, "inner": pl.Struct({"k": pl.Int64})}, [("a", {"k": 1})]),
        ([{"a": 1}, {"b": "x"}], {"a": pl.Int64, "b": pl.String}, [(1, None), (None, "x")]),
        ([{"a": 1}, {"a": None}, {"a": 0.5}], {"a": pl.Float64}, [(1.0,), (None,), (0.5,)]),
        ([{"a": None}], {"a": pl.Null}, [(None,)]),
        ([{"a": np.int64(1), "c": Colour.RED}], {"a": pl.Int64, "c": pl.String}, [(1, "red")]),
        ([Line("a", 1), {"id": "b", "more": 1}], {"id": pl.String, "n": pl.Int64, "more": pl.Int64}, None),
    ],
)
def test_other_records_do_too(values: list[Any], schema: dict[str, Any], rows: list[Any] | None) -> None:
    frame = table(values, None)
    assert dict(frame.schema) == schema
    assert rows is None or frame.rows() == rows


def test_a_schema_chooses_columns_and_their_types() -> None:
    frame = table([Line("a", 1)], {"n": pl.Int8, "later": pl.String})
    assert (dict(frame.schema), frame.rows()) == ({"n": pl.Int8, "later": pl.String}, [(1, None)])


def test_hints_that_only_type_checkers_can_read() -> None:
    @dataclasses.dataclass
    class Odd:
        n: Unknown  # type: ignore[name-defined]  # noqa: F821  on purpose

    assert table([Odd(1)], None).rows() == [(1,)]


@pytest.mark.parametrize(
    ("values", "schema", "sentences"),
    [
        (
            [Line("a", 1), Line("b", "x"), Line(3)],
            None,
            {1: "column 'n' has 'x', and its type is Int64", 2: "column 'id' has 3"},
        ),
        ([{"a": 1}, {"a": 1.5}, {"a": "x"}], None, {2: "column 'a' has 'x' where most are numbers"}),
        ([{"a": "x"}, {"a": None}, {"a": [1]}, {"a": "y"}], None, {2: r"column 'a' has \[1\] where most are str"}),
        ([{"a": 1}, 7, object()], None, {1: "7 has no fields to make columns of; map it", 2: "object"}),
        ([{"a": 300}, {"a": 3}], {"a": pl.Int8}, {0: "column 'a' has 300, and its type is Int8"}),
        ([{"a": 1.5}, {"a": 3}], {"a": pl.Int64}, {0: "column 'a' has 1.5, and its type is Int64"}),
        ([{"a": object()}, {"a": [object()]}, {"a": 1}], None, {0: "column 'a' has <object", 1: "type object are unknown"}),
        ([Line("a", 2**70)], None, {0: "and its type is Int64"}),
    ],
)
def test_what_does_not_fit_is_named(values: list[Any], schema: Any, sentences: dict[int, str]) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  Polars raises what it likes
        table(values, schema)
    errors = refused(values, schema)
    assert set(errors) == set(sentences)
    for i, sentence in sentences.items():
        with pytest.raises(TypeError, match=sentence):
            raise errors[i]
    rest = [value for i, value in enumerate(values) if i not in errors]
    assert not rest or table(rest, schema).height == len(rest)


@pytest.mark.parametrize("values", [[{}, {}], [{"a": [1, "x"]}, {"a": ["x", 1]}]])
def test_where_no_single_one_is_to_blame_none_is_named(values: list[Any]) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  Polars raises what it likes
        table(values, None)
    assert refused(values, None) == {}


plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.lists(st.integers(0, 9))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), plain, min_size=1), min_size=1, max_size=9))
def test_whatever_comes_what_is_not_refused_stands_in_the_frame(values: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame()
    while values:
        try:
            frame = table(values, None)
            break
        except Exception:
            errors = refused(values, None)
            assert errors
            # Without those, others may be the odd ones.
            values = [value for i, value in enumerate(values) if i not in errors]
    for row, value in zip(dicts(frame), values, strict=True):
        for name, cell in row.items():
            assert repr(cell) == repr(value.get(name)) or float(value[name]) == cell or cell != cell
