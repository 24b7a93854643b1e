"""How structs, dicts and other records become the columns of a data frame."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from warren.core.chunk import apply_each
from warren.core.codecs import to_plain
from warren.core.errors import shorten

if TYPE_CHECKING:
    import polars as pl

__all__ = ["refused", "table"]

_TIMES = (dt.datetime, dt.date, dt.time, dt.timedelta, Decimal, bytes)
_PLAIN = {str, int, float, bool, type(None), *_TIMES}
_NUMBERS = {int, float}


class _Field(NamedTuple):
    column: str
    attribute: str
    hint: Any


def table(values: Sequence[Any], schema: Mapping[str, Any] | None) -> pl.DataFrame:
    """A frame with one row for each record. Raises what Polars raises where some do not fit; `refused` says which.

    >>> table([{"a": 1}, {"a": 2.5, "b": None}], None).rows()
    [(1.0, None), (2.5, None)]
    """
    import polars as pl

    columns = _columns(values, schema)
    if not columns:
        raise _unknown(values[0])
    return pl.DataFrame([_series(name, column, dtype) for name, (column, dtype) in columns.items()])


def refused(values: Sequence[Any], schema: Mapping[str, Any] | None) -> dict[int, Exception]:
    """Which records do not fit into a frame with the others, and why; none of them where it lies in no single one.

    >>> refused([{"a": 1}, {"a": 2}, {"a": "x"}], None)
    {2: TypeError("column 'a' has 'x' where most are numbers")}
    """
    errors: dict[int, Exception] = {}
    for i, value in enumerate(values):
        if not isinstance(value, Mapping) and not _fields(type(value)):
            errors[i] = _unknown(value)
    if errors:
        return errors
    for name, (column, dtype) in _columns(values, schema).items():
        try:
            _series(name, column, dtype)
        except Exception:
            found = _odd(name, column) if dtype is None else _unfit(name, column, dtype)
            for i, error in found.items():
                errors.setdefault(i, error)
    return errors


def _columns(values: Sequence[Any], schema: Mapping[str, Any] | None) -> dict[str, tuple[list[Any], Any]]:
    """The columns of some records, each with its type where that is known."""
    kinds = set(map(type, values))
    kind = kinds.pop() if len(kinds) == 1 else None
    fields = _fields(kind) if kind is not None else ()
    dtypes: dict[str, Any] = dict(schema) if schema is not None else {f.column: _dtype(f.hint) for f in fields}
    if fields:
        columns = {f.column: list(map(attrgetter(f.attribute), values)) for f in fields}
    else:
        rows = [value if isinstance(value, Mapping) else _row(value) for value in values]
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in names}
    wanted = list(columns) if schema is None else list(schema)
    return {name: (columns.get(name) or [None] * len(values), dtypes.get(name)) for name in wanted}


def _series(name: str, column: list[Any], dtype: Any) -> pl.Series:
    import polars as pl

    if dtype in (pl.String, pl.Int64, pl.Float64, pl.Boolean):
        # Polars refuses what is not of these types, so the values are looked at once and not twice.
        with contextlib.suppress(Exception):
            return pl.Series(name, column, dtype=dtype, strict=True)
    if not _PLAIN.issuperset(map(type, column)):
        column = list(map(_builtins, column))
    try:
        series = pl.Series(name, column, dtype=dtype, strict=True)
    except TypeError:
        if dtype is not None or not _NUMBERS.issuperset({type(each) for each in column if each is not None}):
            raise
        # JSON writes a whole number as an integer.
        series = pl.Series(name, column, dtype=pl.Float64, strict=True)
    if series.dtype == pl.Object:
        raise TypeError(f"column {name!r} holds values that Arrow has no type for, such as {shorten(column[0])}")
    return series


def _odd(name: str, column: list[Any]) -> dict[int, Exception]:
    """The values that no column takes, or of another type than most, in a column whose type nobody has said."""
    wrong = apply_each(_builtins, column)[1]
    if wrong:
        return {i: TypeError(f"column {name!r} has {shorten(column[i])}: {error}") for i, error in wrong.items()}
    kinds = [float if type(each) in _NUMBERS else type(each) for each in column]
    main = Counter(kind for kind in kinds if kind is not type(None)).most_common(1)[0][0]
    shown = main.__name__ if main is not float else "numbers"
    return {
        i: TypeError(f"column {name!r} has {shorten(column[i])} where most are {shown}")
        for i, kind in enumerate(kinds)
        if kind not in (main, type(None))
    }


def _unfit(name: str, column: list[Any], dtype: Any, start: int = 0) -> dict[int, Exception]:
    """The values that a column's type does not take, found by halving."""
    try:
        _series(name, column, dtype)
    except Exception as error:
        if len(column) == 1:
            reason = str(error).partition("\n")[0]
            return {start: TypeError(f"column {name!r} has {shorten(column[0])}, and its type is {dtype}: {reason}")}
        half = len(column) // 2
        return _unfit(name, column[:half], dtype, start) | _unfit(name, column[half:], dtype, start + half)
    return {}


def _fields_of(kind: Any) -> tuple[_Field, ...]:
    """The columns of a class of records; none where it is no such class."""
    if issubclass(kind, msgspec.Struct):
        return tuple(_Field(f.encode_name, f.name, f.type) for f in msgspec.structs.fields(kind))
    if dataclasses.is_dataclass(kind):
        names = [f.name for f in dataclasses.fields(kind)]
    elif hasattr(kind, "model_fields"):
        names = list(kind.model_fields)
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names = list(getattr(kind, "_fields"))  # noqa: B009  no checker knows that it is a named tuple
    else:
        return ()
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except NameError:
        # A name that is known to type checkers only; the values will show.
        hints = {}
    return tuple(_Field(name, name, hints.get(name)) for name in names)


_fields: Callable[[Any], tuple[_Field, ...]] = functools.cache(_fields_of)


def _row(value: Any) -> dict[str, Any]:
    fields = _fields(type(value))
    if not fields:
        raise _unknown(value)
    return {f.column: getattr(value, f.attribute) for f in fields}


def _unknown(value: Any) -> TypeError:
    return TypeError(f"{shorten(value)} has no fields to make columns of; map it to a struct, a dataclass or a dict")


def _dtype(hint: Any) -> Any:
    """The column type that a hint says by itself."""
    import polars as pl

    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        known = [each for each in typing.get_args(hint) if each is not type(None)]
        return _dtype(known[0]) if len(known) == 1 else None
    found: dict[Any, Any] = {
        str: pl.String,
        int: pl.Int64,
        float: pl.Float64,
        bool: pl.Boolean,
        bytes: pl.Binary,
        dt.date: pl.Date,
        dt.time: pl.Time,
        dt.timedelta: pl.Duration("us"),
    }
    return found.get(hint) if isinstance(hint, type) else None


_builtins: Callable[[Any], Any] = functools.partial(msgspec.to_builtins, builtin_types=_TIMES, enc_hook=to_plain)
