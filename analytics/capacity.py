"""How many consumers, for how long, at what cost: the numbers behind a capacity plan. Times are seconds, rates a second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from warren.analytics.flows import Flows
from warren.analytics.growth import growth
from warren.analytics.queueing import Queue, servers_for
from warren.core.errors import DataError

__all__ = ["Exhaustion", "Prices", "Schedule", "Workload", "runs_out", "schedule", "survivors", "workloads"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Workload:
    """What one message asks for, and the target that most of them keep.

    - ``service``: the mean time a consumer is busy with a message; ``service_cv2`` and ``arrival_cv2``: see `Queue`
    - ``target``: the wait, or with ``of="latency"`` wait and service together, that a share ``quantile`` of messages keeps

    >>> orders = Workload(service=0.05, target=0.5)
    >>> orders.consumers(100.0), round(orders.arrivals(6), 1)
    (6, 114.3)
    """

    service: float
    target: float
    quantile: float = 0.95
    service_cv2: float = 1.0
    arrival_cv2: float = 1.0
    of: str = "wait"

    def queue(self, arrivals: float, consumers: int) -> Queue:
        """The queue that so many arrivals and consumers make."""
        return Queue(arrivals, self.service, consumers, self.arrival_cv2, self.service_cv2)

    def consumers(self, arrivals: float) -> int:
        """The fewest consumers that keep the target. Raises `DataError` where none do."""
        return servers_for(
            arrivals,
            self.service,
            self.target,
            self.quantile,
            arrival_cv2=self.arrival_cv2,
            service_cv2=self.service_cv2,
            of=self.of,
        )

    def keeps(self, arrivals: float, consumers: int) -> bool:
        """Whether so many consumers keep the target."""
        queue = self.queue(arrivals, consumers)
        return (queue.wait(self.quantile) if self.of == "wait" else queue.latency(self.quantile)) <= self.target

    def arrivals(self, consumers: int) -> float:
        """Their capacity: the most arrivals with which so many keep the target. Raises `DataError` where none do."""
        low, high = 0.0, consumers / self.service
        if not self.keeps(low, consumers):
            raise DataError(f"the service alone takes {self.service:g} s, too long for a target of {self.target:g} s")
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.keeps(middle, consumers) else (low, middle)
        return low


@dataclass(frozen=True)
class Prices:
    """What things cost, in any one currency.

    ``consumer_hour``: a consumer for an hour; ``start``: to start one; ``million``: what the broker takes for a million
    messages; ``fixed_hour``: what an hour costs whatever happens, such as the nodes of the broker.
    """

    consumer_hour: float
    start: float = 0.0
    million: float = 0.0
    fixed_hour: float = 0.0

    def __post_init__(self) -> None:
        if any(not (each >= 0 and math.isfinite(each)) for each in vars(self).values()):
            raise DataError(f"{self}: prices must be finite and not negative")

    def per_million(self, consumers: float, arrivals: float) -> float:
        """What a million messages cost at a steady rate.

        >>> Prices(consumer_hour=0.036, million=0.5).per_million(consumers=10, arrivals=100)
        1.5
        """
        if not arrivals > 0:
            raise DataError(f"arrivals={arrivals!r}: a cost for each message needs messages; give a rate above zero")
        return self.million + (self.consumer_hour * consumers + self.fixed_hour) / (arrivals * 3600) * 1e6


@dataclass(frozen=True)
class Schedule:
    """Consumers for each span, and what they cost."""

    consumers: npt.NDArray[np.int64]
    """How many run."""
    needed: npt.NDArray[np.int64]
    """How many the target takes."""
    cost: float
    """Of all spans together, starts included."""
    per_million: float
    """For a million of the messages that arrive."""


def schedule(
    arrivals: Sequence[float] | Floats,
    work: Workload,
    prices: Prices,
    *,
    every: float = 3600.0,
    running: int = 0,
    least: int = 1,
) -> Schedule:
    """The cheapest consumers for each span that keep the target in every one, at these rates (the P95 of a forecast, say).

    It is exact: each span takes the fewest that keep the target, and one that is not needed for some spans runs on only
    where starting it again would cost more. ``running`` is how many run already, ``least`` how many always have to. Raises
    `DataError` where a rate is unknown, or no number of consumers keeps the target.

    >>> plan = schedule([10, 100, 10, 100], Workload(0.05, 0.5), Prices(consumer_hour=1.0, start=2.0))
    >>> plan.needed.tolist(), plan.consumers.tolist(), round(plan.cost, 2)
    ([1, 6, 1, 6], [1, 6, 6, 6], 31.0)
    """
    rates = np.asarray(arrivals, np.float64)
    if rates.ndim != 1 or not len(rates) or not np.isfinite(rates).all() or (rates < 0).any():
        raise DataError("arrivals must be one finite rate, not below zero, for each span; fill the gaps of a forecast first")
    if least < 0 or running < 0 or not every > 0:
        raise DataError(f"every={every!r}, running={running}, least={least}: none may be negative, and spans last some time")
    known: dict[float, int] = {}
    for rate in rates:
        if rate not in known:
            known[rate] = max(least, work.consumers(rate) if rate else 0)
    needed = np.array([known[rate] for rate in rates], np.int64)
    price = prices.consumer_hour * every / 3600
    told = np.zeros(len(rates), np.int64)
    cost = 0.0
    for level in range(1, int(needed.max()) + 1):
        # The consumer of this level is needed where the level is reached. Levels are apart, so each alone is cheapest.
        spans = np.flatnonzero(needed >= level)
        on = np.zeros(len(rates), bool)
        on[spans] = True
        before = -1 if level <= running else None
        for span in spans:
            if before is not None and (span - before - 1) * price <= prices.start:
                on[before + 1 : span] = True
            else:
                cost += prices.start
            before = int(span)
        told += on
    cost += float(told.sum()) * price + prices.fixed_hour * every / 3600 * len(rates)
    messages = float(rates.sum() * every)
    cost += prices.million * messages / 1e6
    return Schedule(told, needed, cost, cost / messages * 1e6 if messages else math.inf)


def survivors(arrivals: float, work: Workload, nodes: Sequence[int], lost: Sequence[int] | None = None) -> pl.DataFrame:
    """What is left of a service when nodes fail: a row for each number of nodes lost, the largest first.

    ``nodes`` says how many consumers each node runs; ``lost`` are 0, 1 and 2 unless given. The columns: ``lost``,
    ``consumers`` left, ``utilisation``, ``wait``, which the workload's share of messages keeps, whether they ``keep`` the
    target, and ``growth``, by how many messages a second the backlog grows. Raises `DataError` where nodes make no sense.

    >>> survivors(100.0, Workload(0.05, 0.5), nodes=[3, 3, 3]).select("lost", "consumers", "keep", "growth").rows()
    [(0, 9, True, 0.0), (1, 6, True, 0.0), (2, 3, False, 40.0)]
    """
    if not nodes or any(isinstance(each, bool) or not isinstance(each, int) or each < 0 for each in nodes):
        raise DataError(f"nodes={list(nodes)}: say how many consumers each node runs, such as [4, 4, 4]")
    rows = []
    for each in range(min(2, len(nodes)) + 1) if lost is None else lost:
        if not 0 <= each <= len(nodes):
            raise DataError(f"lost={each}: there are {len(nodes)} nodes")
        left = sum(sorted(nodes)[: len(nodes) - each])
        queue = work.queue(arrivals, left) if left else None
        rows.append(
            {
                "lost": each,
                "consumers": left,
                "utilisation": queue.utilisation if queue else math.inf,
                "wait": queue.wait(work.quantile) if queue else math.inf,
                "keep": bool(queue) and work.keeps(arrivals, left),
                "growth": max(0.0, arrivals - left / work.service),
            }
        )
    return pl.DataFrame(rows)


@dataclass(frozen=True)
class Exhaustion:
    """When arrivals outgrow a capacity; None where they never do at this growth."""

    at: datetime | None
    earliest: datetime | None
    latest: datetime | None
    capacity: float
    """The most arrivals with which the target is kept."""
    peak: float
    """The level of busy spans now."""
    yearly: float
    """Growth in a year."""


def runs_out(
    arrivals: Sequence[float] | Floats,
    last: datetime,
    work: Workload,
    consumers: int,
    *,
    every: float = 3600.0,
    quantile: float = 0.95,
    confidence: float = 0.9,
) -> Exhaustion:
    """When today's consumers no longer keep the target in busy hours, with an interval.

    ``arrivals`` is the rate of each past span, the last one at ``last``. Busy is what this ``quantile`` of each week's spans
    does not pass; its growth is a robust line through the weeks (`growth`), so at least four weeks are needed. Raises
    `DataError`.

    >>> weeks = np.repeat(100 * 1.01 ** np.arange(12), 168)
    >>> found = runs_out(weeks, datetime(2026, 1, 1), Workload(0.05, 0.5), consumers=8)
    >>> found.at.year, round(found.yearly, 2)
    (2026, 0.68)
    """
    period = max(1, round(7 * 86_400 / every))
    fitted = growth(np.asarray(arrivals, np.float64), every, period=period, quantile=quantile, confidence=confidence)
    most = work.arrivals(consumers)
    middle, low, high = (_date(last, each) for each in fitted.reaches(most))
    return Exhaustion(middle, low, high, most, fitted.level, fitted.rate)


def _date(last: datetime, away: float) -> datetime | None:
    try:
        return last + timedelta(seconds=away)
    except OverflowError:
        return None


def workloads(flows: Flows) -> pl.DataFrame:
    """What recorded flows say of each pipeline: ``arrivals``, ``service``, ``service_cv2`` and ``arrival_cv2``.

    The service is all the work over all the messages, for not every message passes through every step: the time that stages
    were at work, or that the calls of the busiest asynchronous step or pool would fill all its workers, whichever is more.
    The variation of single messages is told from that of chunks, where the thread is busiest and so does most; that of
    arrivals from how counts of neighbouring moments differ, which a rate that rises and falls slowly does not disturb.
    """
    named = pl.col("pipeline", "stage").cast(pl.String)
    took = (pl.col("end") - pl.col("start")).dt.total_microseconds() / 1e6
    stages = flows.stages.with_columns(named, took=took)
    calls = (
        # Without sources, which say how long they were blocked, and sinks, which take whatever has come.
        flows.workers.filter(pl.col("blocked").is_null())
        .with_columns(named)
        .join(stages.select("pipeline", "stage").unique(), on=("pipeline", "stage"), how="semi")
        .group_by("pipeline", "stage")
        .agg(filled=pl.col("busy").sum() / pl.col("workers").max())
        .group_by("pipeline")
        .agg(pl.col("filled").max())
    )
    varied = (
        stages.filter(pl.col("taken") > 0)
        .with_columns(mean=(pl.col("took").sum() / pl.col("taken").sum()).over("pipeline", "stage"))
        .group_by("pipeline", "stage")
        .agg(
            pl.col("mean").first(),
            variance=(pl.col("taken") * (pl.col("took") / pl.col("taken") - pl.col("mean")) ** 2).mean(),
        )
        .group_by("pipeline")
        .agg(cv2=pl.col("variance").sum() / pl.col("mean").sum() ** 2)
    )
    came = flows.trips.select(pl.col("pipeline").cast(pl.String), at=pl.coalesce("enqueued", "received")).collect()
    rows = [(name, len(part), *_arrivals(part["at"])) for (name,), part in came.group_by("pipeline")]
    schema = {"pipeline": pl.String, "messages": pl.Int64, "arrivals": pl.Float64, "arrival_cv2": pl.Float64}
    filled, thread = pl.col("filled").fill_null(0.0), pl.col("took")
    return (
        pl.LazyFrame(rows, schema, orient="row")
        .join(stages.group_by("pipeline").agg(pl.col("took").sum()), on="pipeline", how="left")
        .join(calls, on="pipeline", how="left")
        .join(varied, on="pipeline", how="left")
        .select(
            "pipeline",
            "arrivals",
            "arrival_cv2",
            service=pl.when(thread >= filled).then(thread).otherwise(filled) / pl.col("messages"),
            service_cv2=pl.when(thread >= filled).then("cv2").otherwise(1.0),
        )
        .sort("pipeline")
        .collect()
    )


def _arrivals(at: pl.Series) -> tuple[float, float]:
    """The rate, and how much more or less than at random messages come together."""
    times = np.sort(at.dt.epoch("us").to_numpy()) / 1e6
    lasted = times[-1] - times[0]
    if len(times) < 2 or not lasted:
        return 0.0, 1.0
    rate = (len(times) - 1) / lasted
    moments = int(np.clip(len(times) // 20, 1, 100_000))
    if moments < 10:
        return rate, 1.0
    counts = np.histogram(times, moments)[0]
    return rate, float((np.diff(counts) ** 2).mean() / 2 / counts.mean())
