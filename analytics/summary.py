"""Recorded flows as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from warren.analytics.bottlenecks import bottleneck
from warren.analytics.flows import Flows
from warren.analytics.loads import names

__all__ = ["render", "render_bottlenecks"]


def render(flows: Flows) -> RenderableType:
    """The summary, the dead letters and the stages of recorded flows, for ``rich``'s ``print``.

    Raises `StorageError` where the folder holds something else.

    >>> import tempfile
    >>> print(render(Flows(tempfile.mkdtemp())).renderables[0].plain.split(" in ")[0])
    No flows are recorded
    """
    return Group(*_parts(flows))


def render_bottlenecks(flows: Flows) -> RenderableType:
    """What limits each recorded pipeline, with what tells so, for ``rich``'s ``print``.

    Raises `StorageError` where the folder holds something else.

    >>> import tempfile
    >>> print(render_bottlenecks(Flows(tempfile.mkdtemp())).renderables[0].plain.split(" in ")[0])
    No flows are recorded
    """
    parts: list[RenderableType] = []
    for name in names(flows):
        found = bottleneck(flows, name)
        if found is None:
            parts.append(Text(f"Nothing limits {name!r}: it passes all that comes."))
            continue
        rows = found.evidence.with_columns(pl.col("utilisation", "thread", "share") * 100)
        parts += [Text(str(found)), *(_table(title, rows.select("stage", *rest)) for title, rest in _EVIDENCE.items())]
    return Group(*(parts or [_nothing(flows)]))


def _nothing(flows: Flows) -> Text:
    return Text(f"No flows are recorded in {flows.folder} yet.")


def _parts(flows: Flows) -> Iterator[RenderableType]:
    summary, errors, stages = flows.summary(), flows.errors(), flows.stage_times()
    if summary.is_empty() and stages.is_empty():
        yield _nothing(flows)
        return
    for pipeline in sorted({*summary["pipeline"], *stages["pipeline"]}):
        yield Text(pipeline, style="bold")
        # Each table has few enough columns for a terminal of 80.
        for title, frame, columns in (
            ("Messages", summary, ["route", "messages", *_OUTCOMES, "attempts"]),
            ("Sizes and times", summary, ["route", "bytes", *_quantiles("latency"), *_quantiles("transit")]),
            ("Dead letters", errors, ["error", "fingerprint", "stage", "messages", "last"]),
            ("Stages", stages, ["stage", "chunks", "taken", "given", "failed", "credit_max", "depth_max"]),
            ("Times of stages", stages, ["stage", "busy_s", *_quantiles("chunk")]),
        ):
            rows = frame.filter(pl.col("pipeline") == pipeline).select(columns)
            if not rows.is_empty():
                yield _table(title, rows.drop([name for name in columns if name in _OPTIONAL and not _any(rows[name])]))


def _quantiles(name: str) -> list[str]:
    return [f"{name}_{label}_ms" for label in ("p50", "p95", "p99")]


_OUTCOMES = ("delivered", "filtered", "dead_lettered", "parked", "released")
# Columns nobody has anything in are left out.
_OPTIONAL = (*_OUTCOMES, "bytes", *_quantiles("latency"), *_quantiles("transit"), "depth_max")


_EVIDENCE = {
    "Calls": ["served", "service_ms", "service_p95_ms", "concurrency", "waiting"],
    "Shares, in %": ["utilisation", "thread", "share"],
}


def _any(column: pl.Series) -> bool:
    return bool(column.is_not_null().any()) and bool((column.fill_null(0) != 0).any())


def _table(title: str, frame: pl.DataFrame) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name, kind in frame.schema.items():
        words = name.replace("_", " ")
        if kind.is_numeric():  # a heading breaks between words, a number never
            table.add_column(words.replace(" ", "\n", 1), justify="right", no_wrap=True)
        else:
            table.add_column(words, overflow="fold")
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
