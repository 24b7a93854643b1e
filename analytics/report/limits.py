"""What limits a pipeline, or would next, with the evidence."""

from __future__ import annotations

import polars as pl

from warren.analytics.bottlenecks import bottleneck
from warren.analytics.flows import Flows
from warren.analytics.report.contents import Limit
from warren.analytics.report.hours import Part, total
from warren.analytics.report.words import length, part

__all__ = ["limit", "steps"]

_ROWS = 12


def limit(recent: Part, pipeline: str, busy: float, consumers: int) -> Limit | None:
    """The bottleneck; or where nothing limits, the step that takes most of the work. None without recorded steps.

    ``busy`` is the rate in busy hours.
    """
    return _limiting(recent, pipeline) or _busiest(recent, busy, consumers)


def steps(recent: Flows) -> pl.DataFrame:
    """Each ``stage``, the messages it has ``taken``, and its ``work`` in seconds, over how many calls of it run at once.

    The most work comes first.
    """
    return (
        recent.utilisation("1d")
        .drop_nulls("taken")
        .group_by("stage")
        .agg(pl.col("taken").sum(), work=pl.col("busy_s").sum() / pl.col("workers").max().fill_null(1))
        .sort("work", "stage", descending=[True, False])
    )


def _limiting(recent: Part, pipeline: str) -> Limit | None:
    told = bottleneck(recent, pipeline)
    if told is None:
        return None
    table = told.evidence.head(_ROWS)
    return Limit(
        stage=told.stage,
        limits=True,
        utilisation=told.utilisation,
        sentence=str(told),
        columns=table.columns,
        rows=[[_cell(value) for value in row] for row in table.iter_rows()],
    )


def _busiest(recent: Part, busy: float, consumers: int) -> Limit | None:
    messages = recent.trips.select(pl.len()).collect().item()
    times = steps(recent)
    work = total(times["work"])
    if not messages or not work:
        return None
    rows = []
    for stage, taken, spent in times.head(_ROWS).iter_rows():
        used = spent / messages * busy / consumers
        each = length(spent / taken) if taken else ""
        rows.append((used, [stage, f"{taken:,}", each, part(spent / work), part(used)]))
    used, (stage, _, _, share, _) = rows[0]
    sentence = (
        f"Nothing limits it now. Most of the work, {share}, is in {stage}, which takes {part(used)} of the consumers' time "
        f"in busy hours: it is what will limit first."
    )
    columns = ["step", "messages", "time for each", "share of the work", "in use in busy hours"]
    return Limit(
        stage=stage, limits=False, utilisation=used, sentence=sentence, columns=columns, rows=[row for _, row in rows]
    )


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
