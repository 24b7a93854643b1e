"""Recorded flows as a notebook shows them: what there is, and what became of it where that is quickly said."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from warren.analytics.layout import Recording

__all__ = ["as_html"]

QUICK = 2_000_000
"""So many trips are summed up in a second or two; of more only the ends of the files are read."""
_ROWS = 30


def as_html(folder: Path, trips: Sequence[Recording], summary: Any) -> str:
    """What is recorded of each pipeline; and the ``summary()``, where it does not take long.

    >>> as_html(Path("flows"), [], pl.DataFrame)
    '<div><b>Flows</b> <code>flows</code>: no trips are recorded yet</div>'
    """
    title = f"<b>Flows</b> <code>{escape(os.fspath(folder))}</code>"
    held = _held(trips)
    count = int(held["trips"].sum())
    if not count:
        return f"<div>{title}: no trips are recorded yet</div>"
    told = f"{count:,} trips are summed up by <code>summary()</code>"
    if count <= QUICK:
        table = summary().drop("attempts", "bytes")
        told = _table(table.select(name for name in table.columns if name in ("pipeline", "route") or _any(table[name])))
    return f'<div style="overflow-x: auto">{title}{_table(held)}{told}</div>'


def _any(column: pl.Series) -> bool:
    return column.null_count() < len(column) and column.drop_nulls().ne(0).any()


def _held(files: Sequence[Recording]) -> pl.DataFrame:
    """For each pipeline its days, trips, times and bytes, from the ends of the files."""
    rows = []
    for file in files:
        try:
            end = pq.read_metadata(file.path)
        except FileNotFoundError:  # put together with others, or expired, since
            continue
        place = end.schema.names.index("settled")
        found = [end.row_group(i).column(place).statistics for i in range(end.num_row_groups)]
        spans = [each for each in found if each is not None and each.has_min_max]
        first = min((span.min for span in spans), default=None)
        last = max((span.max for span in spans), default=None)
        # Files of version 1 hold several pipelines and days.
        name, day = file.partition or ("(version 1)", None)
        rows.append((name, day, end.num_rows, first, last, file.path.stat().st_size))
    time = pl.Datetime("us", "UTC")
    schema: dict[str, Any] = {
        "pipeline": pl.String,
        "day": pl.Date,
        "trips": pl.Int64,
        "first": time,
        "last": time,
        "bytes": pl.Int64,
    }
    return (
        pl.DataFrame(rows, schema, orient="row")
        .group_by("pipeline")
        .agg(
            pl.col("day").drop_nulls().n_unique().alias("days"),
            pl.len().alias("files"),
            pl.col("trips").sum(),
            pl.col("first").min(),
            pl.col("last").max(),
            pl.col("bytes").sum(),
        )
        .sort("pipeline")
    )


def _table(table: pl.DataFrame) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.head(_ROWS).rows())
    more = f"<p>… and {len(table) - _ROWS:,} more rows</p>" if len(table) > _ROWS else ""
    return f"<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>{more}"


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        shown = f"{value:%Y-%m-%d %H:%M:%S}"
    elif isinstance(value, float):
        shown = f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    elif isinstance(value, int):
        shown = f"{value:,}"
    else:
        shown = "" if value is None else str(value)
    side = "left" if isinstance(value, str) else "right"
    return f'<td style="text-align: {side}">{escape(shown)}</td>'
