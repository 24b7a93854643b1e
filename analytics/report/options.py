"""What is left when nodes fail, and what can be done: consumers, schedules, batches, each with cost and risk."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import polars as pl

from warren.analytics.capacity import Prices, Schedule, Workload, schedule, survivors
from warren.analytics.flows import Flows
from warren.analytics.queueing import drain_time
from warren.analytics.report.contents import Failure, Option
from warren.analytics.report.hours import total
from warren.analytics.report.limits import steps
from warren.core.errors import DataError

__all__ = ["Plan", "failures", "options", "planned"]

_DAYS = 30.0
_BATCH = 4
"""How many times larger a batch is tried."""


@dataclass(frozen=True)
class Plan:
    """What options are made from."""

    work: Workload
    prices: Prices
    consumers: int
    nodes: Sequence[int]
    busy: float
    ahead: Sequence[float]
    """The P95 rate of each hour to come."""
    limit: float
    """The P95 rate of the busiest hour within the horizon."""


def failures(plan: Plan) -> list[Failure]:
    """Today's busy hours with none, one and two of the nodes lost."""
    lost = range(min(2, len(plan.nodes)) + 1)
    found = []
    for row in survivors(plan.busy, plan.work, plan.nodes, lost).iter_rows(named=True):
        left = row["consumers"]
        drain = drain_time(plan.busy * 3600, plan.busy, 3600.0, plan.work.service, left) if left else math.inf
        latency = plan.work.queue(plan.busy, left).latency(plan.work.quantile) if left else math.inf
        found.append(
            Failure(
                lost=row["lost"],
                consumers=left,
                utilisation=_finite(row["utilisation"]),
                latency=_finite(latency),
                keeps=row["keep"],
                backlog=row["growth"],
                drain=_finite(drain),
            )
        )
    return found


def planned(plan: Plan) -> Schedule:
    """The cheapest consumers for each hour to come. Raises `DataError` where none keep the target."""
    # In steps of a percent, upwards, so that few different rates are worked out.
    rates = np.asarray(plan.ahead, np.float64)
    steps = np.where(rates > 0, 1.01 ** np.ceil(np.log(np.maximum(rates, 1e-9)) / math.log(1.01)), 0.0)
    return schedule(steps, plan.work, plan.prices, running=plan.consumers)


def options(plan: Plan, flows: Flows, slowest: str | None) -> list[Option]:
    """What can be done, that which keeps the target first, then by cost. Raises `DataError` where nothing keeps it."""
    work, now = plan.work, plan.consumers
    needed = work.consumers(plan.limit)
    safe = needed + max(plan.nodes)
    found = [_steady(plan, f"stay at {now}", now)]
    if needed != now:
        found.append(_steady(plan, f"{'add' if needed > now else 'remove'} {abs(needed - now)}", needed))
    if safe not in (now, needed):
        found.append(_steady(plan, f"run {safe}, so that one node may fail", safe, spare=True))
    if plan.ahead and len(set((told := planned(plan)).consumers.tolist())) > 1:
        found.append(_scheduled(plan, told))
    changes: tuple[Callable[[], tuple[str, float, str] | None], ...] = (
        lambda: _batches(flows),
        lambda: _faster(flows, slowest) if slowest else None,
    )
    for change in changes:
        if (changed := change()) is not None:
            name, share, why = changed
            quicker = replace(plan, work=replace(work, service=work.service * share))
            fewer = quicker.work.consumers(plan.limit)
            if fewer < needed:
                found.append(_option(quicker, name, fewer, "medium", why))
    return sorted(found, key=lambda each: (each.keeps < 0.99, each.cost if each.keeps >= 0.99 else -each.keeps))


def _steady(plan: Plan, name: str, consumers: int, *, spare: bool = False) -> Option:
    keeps = _keeps(plan, consumers)
    if keeps < 0.99:
        risk, why = "high", f"too few in {1 - keeps:.0%} of the hours ahead at P95; a backlog builds up in them"
    elif spare:
        risk, why = "low", "keeps the target also with the largest node lost"
    elif _survives(plan, consumers):
        risk, why = "low", "keeps the target at P95 demand, and survives the loss of a node"
    else:
        risk, why = "medium", "keeps the target at P95 demand, but not with a node lost in the busiest hour"
    return _option(plan, name, consumers, risk, why)


def _scheduled(plan: Plan, told: Schedule) -> Option:
    starts = sum(max(0, after - before) for before, after in pairwise([plan.consumers, *told.consumers.tolist()]))
    hours = len(told.consumers)
    low, high = int(told.consumers.min()), int(told.consumers.max())
    return Option(
        name="follow the hours",
        consumers=f"{low}–{high}",
        cost=told.cost / hours * 24 * _DAYS,
        per_million=_finite(told.per_million),
        keeps=1.0,
        risk="medium",
        why=f"{starts} starts in {hours / 24:.0f} days: one that comes late, or a demand above P95, leaves a backlog",
    )


def _option(plan: Plan, name: str, consumers: int, risk: str, why: str) -> Option:
    prices = plan.prices
    mean = float(np.mean(plan.ahead)) if plan.ahead else plan.busy
    hour = prices.consumer_hour * consumers + prices.fixed_hour + prices.million * mean * 3600 / 1e6
    cost = hour * 24 * _DAYS + prices.start * max(0, consumers - plan.consumers)
    per_million = prices.per_million(consumers, mean) if mean > 0 else None
    return Option(
        name=name,
        consumers=str(consumers),
        cost=cost,
        per_million=per_million,
        keeps=_keeps(plan, consumers),
        risk=risk,
        why=why,
    )


def _keeps(plan: Plan, consumers: int) -> float:
    """In what share of the hours ahead so many keep the target at P95."""
    try:
        most = plan.work.arrivals(consumers)
    except DataError:
        return 0.0
    rates = np.asarray(plan.ahead or [plan.limit])
    return float((rates <= most).mean())


def _survives(plan: Plan, consumers: int) -> bool:
    left = consumers - max(plan.nodes)
    return left > 0 and plan.work.keeps(plan.limit, left)


def _batches(flows: Flows) -> tuple[str, float, str] | None:
    """What larger batches would save, where the time of a chunk has a part that does not grow with its messages."""
    took = (pl.col("end") - pl.col("start")).dt.total_microseconds() / 1e6
    taken = pl.col("taken").cast(pl.Float64)
    rows = (
        flows.stages.filter(pl.col("taken") > 0)
        .group_by(pl.col("stage").cast(pl.String))
        .agg(
            count=pl.len(),
            size=taken.mean(),
            took=took.mean(),
            busy=took.sum(),
            slope=pl.cov(taken, took) / taken.var(),
            fit=pl.corr(taken, took),
        )
        .collect(engine="streaming")
    )
    work = total(rows["busy"])
    rows = rows.with_columns(fixed=pl.col("took") - pl.col("slope") * pl.col("size")).filter(
        # Only what many chunks of different sizes tell.
        pl.col("count") >= 100,
        pl.col("fit") > 0.5,
        # Chunks of one size alone have no slope; NaN would be greater than any number.
        pl.col("slope").is_finite() & (pl.col("slope") > 0),
        pl.col("fixed") > 0,
    )
    rows = rows.with_columns(saved=pl.col("fixed") * pl.col("count") * (1 - 1 / _BATCH) / work).sort("saved")
    if rows.is_empty() or rows["saved"][-1] < 0.1:
        return None
    best = rows.row(-1, named=True)
    why = (
        f"a chunk takes {best['fixed'] * 1e3:.3g} ms before its first message; messages wait until a batch is full, and one "
        f"that fails is taken apart"
    )
    return f"batches of {best['size'] * _BATCH:.0f} in {best['stage']}", 1 - best["saved"], why


def _faster(flows: Flows, stage: str) -> tuple[str, float, str] | None:
    """What half the time in the limiting stage would save."""
    times = steps(flows)
    work = total(times["work"])
    part = total(times.filter(pl.col("stage") == stage)["work"]) / work if work else 0.0
    if not part:
        return None
    return f"make {stage} twice as fast", 1 - part / 2, f"{part:.0%} of the work is there; needs a change of code"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
