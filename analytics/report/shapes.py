"""What a recording cannot tell, or tells differently: hours without a row, clocks that jumped, steps that changed."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from warren.analytics.report.contents import Gap
from warren.analytics.report.hours import HOUR, Recorded

__all__ = ["changes", "gaps"]

_DAY = timedelta(days=1)


def gaps(recorded: Recorded, changed: list[Gap], now: datetime) -> list[Gap]:
    """Everything about the recording that a reader of the report should know, in the order of time."""
    found = list(changed)
    for first, last in recorded.unrecorded:
        hours = round((last - first) / HOUR)
        found.append(
            Gap(first=first, last=last, what=f"{hours} hour(s) without a message where some are usual; taken as unknown")
        )
    for first, last, count in recorded.outside:
        found.append(
            Gap(first=first, last=last, what=f"{count:,} message(s) far from the others in time, left out: a clock jumped")
        )
    if recorded.reversed:
        what = f"{recorded.reversed:,} message(s) ended before they began, left out: a clock was set back"
        found.append(Gap(first=recorded.first, last=recorded.last, what=what))
    if now - recorded.last > _DAY:
        found.append(
            Gap(first=recorded.last, last=now, what="nothing was recorded since; all figures are of the time before")
        )
    return sorted(found, key=lambda each: each.first)


def changes(recorded: Recorded) -> list[Gap]:
    """When the pipeline got steps, or lost some, more than a day from either end of the recording."""
    seen = (
        recorded.flows.stages.group_by(pl.col("stage").cast(pl.String))
        .agg(first=pl.col("start").min(), last=pl.col("end").max())
        .collect(engine="streaming")
    )
    events: list[tuple[datetime, str]] = []
    for stage, first, last in seen.iter_rows():
        if first - recorded.first > _DAY:
            events.append((first, f"new {stage}"))
        if recorded.last - last > _DAY:
            events.append((last, f"gone {stage}"))
    found: list[Gap] = []
    parts: list[str] = []
    for at, what in sorted(events):
        # What goes and what comes at a restart is one change, also where some hours lie between.
        if found and at - found[-1].last < _DAY:
            parts.append(what)
            first = found.pop().first
        else:
            parts, first = [what], at
        what = f"the steps changed ({', '.join(parts)}); service times are from after that"
        found.append(Gap(first=first, last=at, what=what))
    return found
