"""Values as rows, and rows as values."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

import msgspec

from warren.core.codecs import register
from warren.core.errors import EncodeError, shorten

__all__ = ["ROW", "blank_fields", "rows_of"]

ROW = "application/x-warren-row"
"""The content type of a row that a file gave: a dict, or, where the file's row is damaged, a sentence that says why."""

_KEPT = (dt.datetime, dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID, bytes)


class _Rows:
    content_types = (ROW,)

    def decoder(self, type: Any) -> Callable[[Any], Any]:
        if hasattr(type, "__pydantic_validator__"):
            validate = type.model_validate
        elif type is dict or type is Any:
            validate = _same
        else:

            def validate(row: Any) -> Any:
                return msgspec.convert(row, type, strict=False)

        def decode(row: Any) -> Any:
            if row.__class__ is str:
                raise ValueError(row)
            return validate(row)

        return decode

    def encoder(self) -> Callable[[Any], bytes]:
        raise TypeError("rows are what files give; no message is sent as one")


def _same(row: Any) -> Any:
    return row


register(_Rows())


def blank_fields(type: Any) -> frozenset[str]:
    """The fields of a type that no empty text can be, so that an empty cell means `None` there.

    >>> class Order(msgspec.Struct):
    ...     id: str
    ...     amount: float | None
    >>> sorted(blank_fields(Order))
    ['amount']
    """
    try:
        hints = get_type_hints(type)
    except TypeError:
        return frozenset()
    return frozenset(name for name, hint in hints.items() if not _takes_blank(hint))


def _takes_blank(hint: Any) -> bool:
    try:
        msgspec.convert("", hint, strict=False)
    except (msgspec.ValidationError, TypeError):
        return False
    return True


def rows_of(value: Any) -> Sequence[Mapping[str, Any]]:
    """The rows of a value: of a struct, dataclass, dict or model its fields, of a list or data frame one for each item.

    Dates, times, decimals and bytes stay as they are. Raises `EncodeError` for anything else.

    >>> rows_of([{"a": 1}, {"a": 2}])
    [{'a': 1}, {'a': 2}]
    """
    kind: Any = type(value)
    if isinstance(value, dict):
        if value and all(isinstance(key, str) for key in value):
            return (value,)
    elif isinstance(value, msgspec.Struct) or dataclasses.is_dataclass(kind):
        try:
            row = msgspec.to_builtins(value, builtin_types=_KEPT)
        except TypeError as error:
            raise EncodeError(f"{shorten(value)} is no row: {error}; map it to plain fields first") from error
        if isinstance(row, dict):
            return (row,)
    elif hasattr(kind, "__pydantic_serializer__"):
        return (value.model_dump(),)
    elif isinstance(value, list | tuple):
        return [row for each in value for row in rows_of(each)]
    else:
        polars, pyarrow = sys.modules.get("polars"), sys.modules.get("pyarrow")
        if polars is not None and isinstance(value, polars.DataFrame):
            return list(value.to_dicts())
        if pyarrow is not None and isinstance(value, pyarrow.Table | pyarrow.RecordBatch):
            return list(value.to_pylist())
    raise EncodeError(
        f"{shorten(value)}, a {type(value).__name__}, is no row of a table: map it to a dict with text keys, a "
        "msgspec.Struct or a dataclass first"
    )
