"""What a capacity report says, as plain values: the same in JSON, on a page and on paper.

Times are UTC, lengths of time seconds, rates messages a second, shares from 0 to 1. What is not known, or without end, is
None.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

__all__ = [
    "VERSION",
    "Age",
    "Arrival",
    "Demand",
    "Depth",
    "Failure",
    "Gap",
    "Headroom",
    "Hours",
    "Limit",
    "Option",
    "Queue",
    "Report",
    "Review",
    "Service",
    "Target",
]

VERSION = 1
"""Grows when a field changes its meaning or goes away; a new field alone does not change it."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What share of the messages is to be done, from enqueued to settled, within how many seconds."""

    quantile: float
    seconds: float


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """Rates of whole hours: the last one, the 95th percentile of the last week, the busiest one there was."""

    now: float
    p95: float
    peak: float
    peak_at: datetime


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """The time a consumer works on a message, on average; how it varies (squared), and how arrivals do."""

    seconds: float
    cv2: float
    arrival_cv2: float


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that waited at the source: most in the last hour, the 95th percentile of the last week's hours, most ever."""

    now: float
    p95: float
    peak: float


class Age(msgspec.Struct, frozen=True, kw_only=True):
    """How long messages waited until they were read: P95 of the last hour, of the last week's busy hours, the longest."""

    now: float
    p95: float
    longest: float


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """Rates forecast from now until then: the mean, and the busiest hour at P50 and P95.

    ``covered_p50`` and ``covered_p95`` say how often the past was not above forecasts made as long before; None where the
    recording is too short to test that.
    """

    seconds: float
    until: datetime
    mean: float
    p50: float
    p95: float
    covered_p50: float | None
    covered_p95: float | None
    count: int


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """The stage that limits a pipeline, or would first where ``limits`` is false, and the evidence as a table."""

    stage: str
    limits: bool
    utilisation: float
    sentence: str
    columns: list[str]
    rows: list[list[str]]


class Headroom(msgspec.Struct, frozen=True, kw_only=True):
    """What today's consumers can take within the target, and when busy hours outgrow it.

    ``share`` is what is left of the capacity in today's busy hours, below zero where nothing is. The date lies between
    ``earliest`` and ``latest`` nine times in ten; None means not in sight.
    """

    capacity: float
    busy: float
    share: float
    at: datetime | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    yearly: float | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Today's busy hours with so many nodes lost. ``drain`` is how long the backlog of an hour's outage then takes."""

    lost: int
    consumers: int
    utilisation: float | None
    latency: float | None
    keeps: bool
    backlog: float
    drain: float | None


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be done: what it costs in 30 days, and what may go wrong with it."""

    name: str
    consumers: str
    cost: float
    per_million: float | None
    keeps: float
    """The share of the hours ahead, at P95, in which the target is kept."""
    risk: str
    why: str


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """The last report's forecast beside what happened."""

    made: datetime
    hours: int
    forecast: float
    happened: float
    error: float | None
    above_p50: float
    above_p95: float
    ran_out: datetime | None
    at: list[datetime]
    actual: list[float]
    p50: list[float]
    p95: list[float]


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A time that the recording does not tell of, or tells differently, and why."""

    first: datetime
    last: datetime
    what: str


class Hours(msgspec.Struct, frozen=True, kw_only=True):
    """What plots are drawn from: the past hour by hour, and the hours ahead."""

    at: list[datetime] = []
    rate: list[float | None] = []
    depth: list[float | None] = []
    latency: list[float | None] = []
    ahead: list[datetime] = []
    p50: list[float] = []
    p95: list[float] = []
    consumers: list[int] = []


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline and the queue that it reads; what could not be worked out is None, and ``problems`` says why."""

    pipeline: str
    sources: list[str] = []
    first: datetime | None = None
    last: datetime | None = None
    messages: int = 0
    consumers: int = 0
    consumers_from: str = ""
    arrival: Arrival | None = None
    service: Service | None = None
    utilisation: float | None = None
    busy_utilisation: float | None = None
    depth: Depth | None = None
    age: Age | None = None
    latency: float | None = None
    kept: float | None = None
    retried: float | None = None
    dead: float | None = None
    demand: list[Demand] = []
    method: str = ""
    bottleneck: Limit | None = None
    headroom: Headroom | None = None
    failures: list[Failure] = []
    options: list[Option] = []
    review: Review | None = None
    gaps: list[Gap] = []
    problems: list[str] = []
    hours: Hours = Hours()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A capacity report: of which recording, made when, for which target, and what it says of each queue."""

    version: int = VERSION
    made: datetime
    flows: str
    zone: str
    target: Target
    horizon: float
    currency: str
    queues: list[Queue]
    problems: list[str] = []

    def runs_out(self, within: float) -> list[Queue]:
        """The queues whose capacity runs out within so many seconds, or has."""
        return [queue for queue in self.queues if _out(queue.headroom, self.made.timestamp() + within)]


def _out(headroom: Headroom | None, until: float) -> bool:
    if headroom is None:
        return False
    return headroom.share <= 0 or (headroom.at is not None and headroom.at.timestamp() <= until)
