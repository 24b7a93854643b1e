"""The figures of one queue; what cannot be worked out is left out with a sentence, and the rest goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import polars as pl
import pyarrow.parquet as pq

from warren.analytics.capacity import Prices, Workload, runs_out, workloads
from warren.analytics.flows import Flows
from warren.analytics.report.contents import Age, Arrival, Depth, Headroom, Hours, Queue, Report, Service, Target
from warren.analytics.report.demand import Ahead, demand
from warren.analytics.report.hours import HOUR, Part, Recorded, most, recorded, total
from warren.analytics.report.limits import limit
from warren.analytics.report.options import Plan, failures, options, planned
from warren.analytics.report.review import review
from warren.analytics.report.shapes import changes, gaps
from warren.core.errors import DataError, WarrenError

__all__ = ["Asked", "describe"]

_WEEK = 168
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """What a report is asked for, of one pipeline."""

    target: Target
    horizon: float
    zone: str
    now: datetime
    prices: Prices
    nodes: Sequence[int] = ()
    """Consumers on each node; where it is empty they are told from the recording."""
    last: Report | None = None


@dataclass
class _Trying:
    """Does one part after another; a part that fails becomes a sentence."""

    problems: list[str] = field(default_factory=list)

    def __call__(self, what: str, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except (WarrenError, pl.exceptions.PolarsError) as error:
            self.problems.append(f"{what}: {' '.join(str(error).split())}")
            return None


def describe(flows: Flows, pipeline: str, asked: Asked) -> Queue:
    """Everything the report says of one pipeline. Raises `DataError` where no message of it is recorded."""
    known = recorded(flows, pipeline, asked.target.seconds, asked.now)
    trying = _Trying()
    changed = trying("changes of steps", lambda: changes(known)) or []
    rates = known.rates
    arrival = trying("arrival", lambda: _arrival(rates))
    # Service times of the last week, with the steps as they are now.
    since = max([known.last - timedelta(days=7), *(each.last for each in changed)])
    recent = Part(flows, pipeline, since, known.last + timedelta(microseconds=1))
    service = trying("service time", lambda: _service(recent, pipeline))
    nodes = list(asked.nodes) or [1] * _consumers(known)
    ahead = trying("demand", lambda: demand(rates, asked.horizon, asked.zone)) if arrival else None
    slowest = trying("bottleneck", lambda: limit(recent, pipeline, arrival.p95, sum(nodes))) if arrival else None
    found = _Found(known, asked, nodes, arrival, service, ahead)
    headroom = trying("headroom", found.headroom) if arrival and service else None
    plan = found.plan(headroom.busy) if headroom else None
    schedule = trying("schedule", lambda: planned(plan)) if plan and ahead else None
    last = asked.last
    loads = [arrival.now, headroom.busy if headroom else arrival.p95] if arrival else []
    uses = [rate * service.seconds / sum(nodes) if service else None for rate in loads] or [None, None]
    return Queue(
        pipeline=pipeline,
        sources=known.sources,
        first=known.first,
        last=known.last,
        messages=int(total(known.rows["messages"])),
        consumers=sum(nodes),
        consumers_from="given" if asked.nodes else "told from the recording",
        arrival=arrival,
        service=service,
        utilisation=uses[0],
        busy_utilisation=uses[1],
        **_measured(known.rows, asked.target),  # type: ignore[arg-type]
        demand=ahead.demand if ahead else [],
        method=ahead.told.method if ahead else "",
        bottleneck=slowest,
        headroom=headroom,
        failures=trying("failure cases", lambda: failures(plan)) or [] if plan else [],
        options=trying("options", lambda: options(plan, recent, slowest.stage if slowest else None)) or [] if plan else [],
        review=trying("last report", lambda: review(last, pipeline, rates)) if last else None,
        gaps=gaps(known, changed, asked.now),
        problems=trying.problems,
        hours=_hours(known, ahead, schedule.consumers.tolist() if schedule else []),
    )


@dataclass(frozen=True)
class _Found:
    known: Recorded
    asked: Asked
    nodes: list[int]
    arrival: Arrival | None
    service: Service | None
    ahead: Ahead | None

    @property
    def work(self) -> Workload:
        assert self.service is not None
        target, told = self.asked.target, self.service
        return Workload(told.seconds, target.seconds, target.quantile, told.cv2, told.arrival_cv2, of="latency")

    def headroom(self) -> Headroom:
        assert self.arrival is not None
        consumers, rates = sum(self.nodes), self.known.rates
        capacity, busy = self.work.arrivals(consumers), self.arrival.p95
        try:
            values = rates["rate"].fill_null(math.nan).to_numpy()
            told = runs_out(values, rates["at"][-1] + HOUR, self.work, consumers)
        except DataError:
            return Headroom(capacity=capacity, busy=busy, share=1 - busy / capacity)
        return Headroom(
            capacity=capacity,
            busy=told.peak,
            share=1 - told.peak / capacity,
            at=told.at,
            earliest=told.earliest,
            latest=told.latest,
            yearly=told.yearly,
        )

    def plan(self, busy: float) -> Plan:
        ahead = self.ahead
        most = max(each.p95 for each in ahead.demand) if ahead else busy
        return Plan(
            self.work,
            self.asked.prices,
            sum(self.nodes),
            self.nodes,
            busy,
            ahead.rates("p95") if ahead else [],
            most,
        )


def _arrival(rates: pl.DataFrame) -> Arrival:
    known = rates.drop_nulls("rate")
    if known.is_empty():
        raise DataError("no whole hour is recorded; record for longer than an hour")
    peak = known.sort("rate").row(-1, named=True)
    return Arrival(now=known["rate"][-1], p95=_p95(known["rate"]), peak=peak["rate"], peak_at=peak["at"])


def _service(recent: Part, pipeline: str) -> Service:
    told = workloads(recent)
    row = told.row(0, named=True) if len(told) else {"service": None}
    if not row["service"]:
        raise DataError(f"pipeline {pipeline!r} has no recorded time of a step in its last week; record it with its stages")
    cv2, arrival_cv2 = (_number(row[name], 1.0) for name in ("service_cv2", "arrival_cv2"))
    return Service(seconds=row["service"], cv2=cv2, arrival_cv2=arrival_cv2)


def _number(value: float | None, otherwise: float) -> float:
    return value if value is not None and math.isfinite(value) else otherwise


def _consumers(known: Recorded) -> int:
    """As many as recorded in the last hour; or as many as had to, for the work of the busiest hour of the last week."""
    since = known.last - HOUR
    working = set()
    for file in known.flows.stage_files():
        if file.partition is None or file.partition.day < since.date() or file.replaces:
            continue
        data = pq.ParquetFile(file.path).metadata
        column = data.schema.names.index("end")
        parts = [data.row_group(each).column(column).statistics for each in range(data.num_row_groups)]
        if any(part is None or not part.has_min_max or (part.max >= since and part.min <= known.last) for part in parts):
            working.add(file.path.stem.rpartition("-")[0])
    busy = most(known.rows["busy"].tail(_WEEK)) / HOUR.total_seconds()
    return max(1, len(working), math.ceil(busy))


def _measured(rows: pl.DataFrame, target: Target) -> dict[str, object]:
    """Depth, age, latency and the shares of retries and dead letters."""
    week = rows.tail(_WEEK)
    messages = total(rows["messages"])
    found: dict[str, object] = {}
    depth = week["depth"].drop_nulls()
    if len(depth):
        found["depth"] = Depth(now=depth[-1], p95=_p95(depth), peak=most(rows["depth"]))
    age = week["age_p95_ms"].drop_nulls() / 1e3
    if len(age):
        now, busy, longest = (max(0.0, each) for each in (age[-1], _p95(age), most(rows["age_max_ms"]) / 1e3))
        found["age"] = Age(now=now, p95=busy, longest=longest)
    recent = week["latency_p95_ms"].drop_nulls()
    if len(recent):
        found["latency"] = recent[-1] / 1e3
    if messages:
        found |= {name: total(rows[name]) / messages for name in ("kept", "retried", "dead")}
    return found


def _p95(values: pl.Series) -> float:
    return float(values.tail(_WEEK).quantile(0.95, "linear"))  # type: ignore[arg-type]


def _hours(known: Recorded, ahead: Ahead | None, consumers: list[int]) -> Hours:
    rows = known.rows.filter(pl.col("whole"))
    seconds = HOUR.total_seconds()
    return Hours(
        at=rows["at"].to_list(),
        rate=(rows["messages"] / seconds).to_list(),
        depth=rows["depth"].to_list(),
        latency=(rows["latency_p95_ms"] / 1e3).to_list(),
        ahead=ahead.at if ahead else [],
        p50=ahead.rates("p50") if ahead else [],
        p95=ahead.rates("p95") if ahead else [],
        consumers=consumers,
    )
