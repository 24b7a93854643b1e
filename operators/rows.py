"""Rows of a data frame: which rows of its message they are, and how they become values and frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from warren.core.arrow import frame_of
from warren.core.chunk import apply_each
from warren.core.codecs import converter
from warren.core.errors import DecodeError, shorten

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Rows", "dicts", "numbered", "read_rows"]


class Rows:
    """Says of parts of a frame which rows of its message they are, so that these alone become a dead letter.

    The steps before may have filtered or sorted the frame, or added columns. They may also have made other rows of it, and
    a letter with those could not go through these steps again; so a part counts only if the message has such rows itself.
    ``bounds`` says where each part begins, and where the last one ends, unless every row is one.

    >>> import polars
    >>> source = polars.DataFrame({"a": [1, 2, 3]})
    >>> value, row = Rows(source.filter(polars.col("a") > 1))(source, [1])
    >>> value.rows(), row
    ([(3,)], '2')
    """

    def __init__(self, frame: pl.DataFrame, bounds: Sequence[int] | None = None) -> None:
        self.frame = frame
        self.bounds = bounds

    def __call__(self, source: Any, parts: Sequence[int]) -> tuple[Any, str] | None:
        """Those rows of the message, and their numbers in it; ``None`` where they are not all there, or are all there is."""
        whole, bounds = frame_of(source), self.bounds
        if whole is None or whole.height <= 1 or any(name not in self.frame.columns for name in whole.columns):
            return None
        places = (
            parts if bounds is None else list(chain.from_iterable(range(bounds[part], bounds[part + 1]) for part in parts))
        )
        frame = self.frame.select(whole.columns)
        found = [_find(whole, frame.slice(place, 1), place) for place in places]
        rows = sorted(row for row in found if row is not None)
        if len(rows) < len(found):
            return None
        return (source[rows] if source is whole else source.take(rows)), numbered(rows)


def _find(whole: pl.DataFrame, row: pl.DataFrame, place: int) -> int | None:
    """Where a frame has a row, most often in its own place."""
    if whole.slice(place, 1).equals(row):
        return place
    if whole.schema != row.schema:
        return None
    import polars as pl

    same = pl.all_horizontal([whole[name].eq_missing(row[name]) for name in whole.columns])
    return next(iter(whole.select(same.arg_true()).to_series()), None)


def numbered(rows: Sequence[int]) -> str:
    """Row numbers in order, with runs joined, as long as a header may be.

    >>> numbered([3, 7, 8, 9])
    '3,7-9'
    """
    runs: list[list[int]] = []
    for row in rows:
        if runs and row == runs[-1][1] + 1:
            runs[-1][1] = row
        else:
            runs.append([row, row])
    text = ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs[:100])
    return text if len(runs) <= 100 else f"{text},…"


def dicts(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows as dicts of Python values; in two thirds of the time that ``to_dicts`` takes."""
    names = frame.columns
    columns = [column.to_list() for column in frame]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def read_rows(type: Any, where: object) -> Callable[[pl.DataFrame], tuple[list[Any], dict[int, Exception]]]:
    """What gives the rows of a frame as values of a type (dicts for ``None``), and why some are none, by position.

    Raises `GraphError` for a type that nothing can be read as. ``where`` is what the errors begin with.

    >>> import polars
    >>> read_rows(dict[str, int], "here")(polars.DataFrame({"n": ["x"]}))[1][0]
    DecodeError("here: row 0 of a frame cannot be read: Expected `int`, got `str` - at `$[...]`; the row is {'n': 'x'}")
    """
    if type is None:
        return lambda frame: (dicts(frame), {})
    all, one = converter(list[type]), converter(type)

    def read(frame: pl.DataFrame) -> tuple[list[Any], dict[int, Exception]]:
        rows = dicts(frame)
        try:
            return all(rows), {}
        except Exception:
            values, errors = apply_each(one, rows)
        for i, error in errors.items():
            reason = f"{where}: row {i} of a frame cannot be read: {error}; the row is {shorten(rows[i])}"
            errors[i] = DecodeError(reason)
            errors[i].__cause__ = error
        return values, errors

    return read
