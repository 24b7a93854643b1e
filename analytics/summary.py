"""Recorded flows as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from warren.analytics.flows import Flows

__all__ = ["render"]


def render(flows: Flows) -> RenderableType:
    """The summary, the dead letters and the stages of recorded flows, for ``rich``'s ``print``.

    Raises `StorageError` where the folder holds something else.

    >>> import tempfile
    >>> print(render(Flows(tempfile.mkdtemp())).renderables[0].plain.split(" in ")[0])
    No flows are recorded
    """
    return Group(*_parts(flows))


def _parts(flows: Flows) -> Iterator[RenderableType]:
    summary, errors, stages = flows.summary(), flows.errors(), flows.stage_times()
    if summary.is_empty() and stages.is_empty():
        yield Text(f"No flows are recorded in {flows.folder} yet.")
        return
    # Columns nobody has anything in are left out: a terminal is narrow.
    unused = [name for name in summary.columns if name in _OPTIONAL and not _any(summary[name])]
    yield _table("Messages", summary.drop(unused))
    if not errors.is_empty():
        yield _table("Dead letters", errors)
    if not stages.is_empty():
        yield _table("Stages", stages.drop([name for name in ("depth_max",) if not _any(stages[name])]))


_OPTIONAL = (
    "delivered",
    "filtered",
    "dead_lettered",
    "parked",
    "released",
    "bytes",
    *(f"{name}_{label}_ms" for name in ("latency", "transit") for label in ("p50", "p95", "p99")),
)


def _any(column: pl.Series) -> bool:
    return bool(column.is_not_null().any()) and bool((column.fill_null(0) != 0).any())


def _table(title: str, frame: pl.DataFrame) -> Table:
    table = Table(title=title, title_justify="left")
    for name, kind in frame.schema.items():
        heading = name.replace("_ms", " ms").replace("_", " ")
        table.add_column(heading, justify="right" if kind.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*map(_cell, row))
    return table


def _cell(value: Any) -> str | Text:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return Text(str(value))
