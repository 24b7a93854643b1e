"""Gathers the figures of every queue into one report."""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from warren.analytics.flows import Flows
from warren.analytics.report.contents import Queue, Report, Target
from warren.analytics.report.hours import pipelines as recorded_pipelines
from warren.analytics.report.prices import CONSUMER_HOURS, PriceList
from warren.analytics.report.queues import Asked, describe
from warren.core.clock import Duration, seconds
from warren.core.errors import AddressError, DataError, GraphError, WarrenError

__all__ = ["capacity_report", "parse_target"]


def parse_target(text: str) -> Target:
    """What share of the messages is to be done in what time, from enqueued to settled.

    Raises `GraphError` where the text says something else.

    >>> parse_target("p99=2s")
    Target(quantile=0.99, seconds=2.0)
    """
    name, _, length = text.partition("=")
    remedy = "write a quantile and a time, such as 'p99=2s' or 'p95=500ms'"
    try:
        share = float(name.strip().removeprefix("p")) / 100
        if not name.strip().startswith("p") or not 0 < share < 1:
            raise ValueError
        time_ = seconds(length)
    except (ValueError, GraphError) as error:
        raise GraphError(f"{text!r} is no target: {remedy}") from error
    if not time_ > 0:
        raise GraphError(f"{text!r} is no target: nothing is done in no time; {remedy}")
    return Target(quantile=share, seconds=time_)


def capacity_report(
    folder: str | os.PathLike[str],
    *,
    pipelines: Sequence[str] = (),
    target: str | Target = "p99=2s",
    horizon: Duration = "30d",
    zone: str = "UTC",
    prices: PriceList = CONSUMER_HOURS,
    consumers: Mapping[str, Sequence[int]] | None = None,
    last: Report | None = None,
    problems: Sequence[str] = (),
    now: float | None = None,
    progress: Callable[[str, int, int], None] = lambda pipeline, done, of: None,
) -> Report:
    """Work out the capacity report of the flows recorded in a folder.

    - ``pipelines``: which ones; all of them by default
    - ``target``: what share of the messages is to be done in what time, from enqueued to settled
    - ``horizon``: how far to look ahead
    - ``consumers``: by pipeline, how many run on each node; ``""`` is for those that are not named. Otherwise they are told
      from the recording, each on a node of its own
    - ``last``: an earlier report, to compare its forecast with what came
    - ``problems``: what else a reader should know, such as prices that could not be read
    - ``now``: seconds since 1970; the time by the clock by default
    - ``progress``: told of each pipeline before it is worked out, with how many are done, and of how many

    What cannot be worked out for one queue is a sentence in its ``problems``; the report goes on with the others. Raises
    `StorageError` where the folder cannot be read, `DataError` where it holds no flows or none that can be used,
    `AddressError` where a pipeline is unknown, and `GraphError` for a target, horizon or zone that is none.
    """
    wanted = target if isinstance(target, Target) else parse_target(target)
    length = seconds(horizon)
    if not 3600 <= length <= 366 * 86_400:
        raise GraphError(f"the horizon {horizon!r} must be from an hour to a year, such as '30d'")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise GraphError(f"{zone!r} is no time zone; write one such as 'Europe/Berlin'") from error
    flows = Flows(folder)
    made = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    chosen = _chosen(flows, pipelines)
    queues: list[Queue] = []
    known = consumers or {}
    for done, name in enumerate(chosen):
        progress(name, done, len(chosen))
        asked = Asked(wanted, length, zone, made, prices.of(name), known.get(name, known.get("", ())), last)
        try:
            queues.append(describe(flows, name, asked))
        except (WarrenError, pl.exceptions.PolarsError) as error:
            queues.append(Queue(pipeline=name, problems=[" ".join(str(error).split())]))
    if not any(queue.arrival for queue in queues):
        raise DataError(f"no queue can be reported: {'; '.join(each for queue in queues for each in queue.problems)}")
    return Report(
        made=made,
        flows=os.fspath(folder),
        zone=zone,
        target=wanted,
        horizon=length,
        currency=prices.currency,
        queues=queues,
        problems=list(problems),
    )


def _chosen(flows: Flows, pipelines: Sequence[str]) -> list[str]:
    there = recorded_pipelines(flows)
    if not there:
        raise DataError(f"{flows.folder} holds no flows; record some with: warren run PIPELINE --record {flows.folder}")
    for name in pipelines:
        if name not in there:
            close = difflib.get_close_matches(name, there, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(there)}"
            raise AddressError(f"{flows.folder} has no pipeline {name!r}; {hint}")
    return list(dict.fromkeys(pipelines)) or there
