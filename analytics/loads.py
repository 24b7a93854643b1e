"""How loaded the stages of a pipeline were in each span of time, from recorded flows."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from warren.analytics.flows import Flows

__all__ = ["Load", "Loads", "Span", "extent", "gathered", "names", "slow", "spans"]

_PLACE = re.compile(r"((?:\d+\.[^/]*/)*)(\d+):")
"""The name of a stage: where it is inside other steps, and its number there."""

_START, _END = (pl.col(name).dt.epoch("us") for name in ("start", "end"))


class Span(msgspec.Struct, frozen=True):
    """Equal spans of time: where the first begins and how long each is, in microseconds, and how many there are."""

    start: int
    width: int
    count: int

    def at(self, which: int) -> datetime:
        """When a span begins."""
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=self.start + which * self.width)


class Load(msgspec.Struct):
    """One stage in one span; times are in seconds.

    ``thread`` is how long its own code ran in the pipeline's thread, ``here`` how many messages were at it on average, and
    ``visits`` how many come to it for each that is read. The others are of stages with workers: how long those were
    ``busy``, the ``demand`` of a message that is read, as a time of all of them, and how many messages waited: on average,
    and in the ``end``; ``growth`` is how many more are at it than at first.
    """

    stage: str
    taken: int = 0
    served: int = 0
    thread: float = 0.0
    here: float = 0.0
    visits: float = 1.0
    workers: int = 0
    busy: float = 0.0
    demand: float = 0.0
    waiting: float = 0.0
    end: float = 0.0
    growth: float = 0.0
    utilisation: float = 0.0
    is_sink: bool = False

    @property
    def computes(self) -> float:
        """Seconds of the thread for each message that is read."""
        return self.visits * self.thread / self.taken if self.taken else 0.0


class Loads(msgspec.Struct):
    """A pipeline in one span: its stages, and what its sources did.

    ``idle`` is the share of the span in which the sources waited for messages, ``blocked`` that in which they had no credit
    to read, ``None`` where that was not recorded; ``behind`` is the share of reads that left messages waiting at a source.
    """

    which: int
    seconds: float
    stages: dict[str, Load]
    source: str | None = None
    idle: float | None = None
    blocked: float = 0.0
    behind: float = 0.0

    @property
    def thread(self) -> float:
        """The share of the span in which code of any stage ran in the pipeline's thread."""
        return sum(load.thread for load in self.stages.values()) / self.seconds

    @property
    def here(self) -> float:
        """How many messages were in the pipeline on average."""
        return sum(load.here for load in self.stages.values())


def extent(flows: Flows, pipeline: str, since: datetime | None, until: datetime | None) -> tuple[int, int] | None:
    """When the first row of a pipeline begins and the last one ends, in microseconds; ``None`` without any."""
    found = [
        _chosen(rows, pipeline, since, until).select(_START.min().alias("start"), _END.max().alias("end"))
        for rows in (flows.stages, flows.workers)
    ]
    start, end = pl.concat(found).select(pl.col("start").min(), pl.col("end").max()).collect().row(0)
    if start is None:
        return None
    return start if since is None else max(start, _micros(since)), end


def spans(
    flows: Flows, pipeline: str, span: Span, since: datetime | None = None, until: datetime | None = None
) -> list[Loads]:
    """What was recorded of a pipeline in each span, in order; spans without rows are left out."""
    took = (_END - _START).clip(0) * pl.col("part") / 1e6
    chunks = (
        _split(_chosen(flows.stages, pipeline, since, until), span)
        .group_by("which", "stage")
        .agg(
            (pl.col("taken") * pl.col("part")).sum(),
            took.sum().alias("thread"),
            (took * took).sum().alias("squared"),
            (took * pl.col("taken")).sum().alias("stayed"),
            (pl.col("depth") > 0).mean().alias("behind"),
            pl.col("low").min(),
            pl.col("high").max(),
        )
        .sort("which", "stage")
        .collect(engine="streaming")
    )
    part = pl.col("part")
    present = (pl.col("stayed") * 1e6 / (_END - _START).clip(1)).sort_by("high")
    work = (
        _split(_chosen(flows.workers, pipeline, since, until), span)
        .group_by("which", "stage")
        .agg(
            pl.col("workers").max(),
            *((pl.col(name) * part).sum() for name in ("served", "busy", "stayed", "blocked")),
            pl.col("blocked").count().alias("source"),
            (took * pl.col("waiting")).sum().alias("waited"),
            took.sum().alias("took"),
            pl.col("waiting").sort_by("high").last().alias("end"),
            (present.last() - present.first()).alias("growth"),
            pl.col("low").min(),
            pl.col("high").max(),
        )
        .sort("which", "stage")
        .collect(engine="streaming")
    )
    rows: dict[int, tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
    for place, frame in enumerate((chunks, work)):
        for row in frame.iter_rows(named=True):
            rows[row["which"]][place].append(row)
    return [gathered(which, *rows[which]) for which in sorted(rows)]


def gathered(which: int, chunks: Sequence[Mapping[str, Any]], work: Sequence[Mapping[str, Any]]) -> Loads:
    """The loads of one span, from what its stages and workers did: a row for each, with the columns that `spans` adds up."""
    low, high = min(row["low"] for row in (*chunks, *work)), max(row["high"] for row in (*chunks, *work))
    loads = Loads(which, max(high - low, 1) / 1e6, {})
    sources = [row for row in work if row["source"]]
    # Each process that records into the folder has a reader, which always either waits or works.
    processes = max([1.0, *(float(round(row["took"] / loads.seconds)) for row in sources)])
    loads.seconds *= processes
    for row in chunks:
        loads.stages[row["stage"]] = Load(
            *(row["stage"], row["taken"], row["taken"], row["thread"]), here=row["stayed"] / loads.seconds * processes
        )
    _unnest(loads.stages)
    # How long what is ready waits for the thread on average, while a chunk is at a step.
    lag = 0.0
    for row in chunks:
        if loads.stages[row["stage"]].thread >= row["thread"] / 2:
            lag += row["squared"] / 2 / loads.seconds
    for row in work:
        if row["source"]:
            # One that has ended is not recorded any more.
            idle = 1 - (row["took"] - row["busy"]) / loads.seconds
            if loads.idle is None or idle < loads.idle:
                loads.source, loads.idle, loads.blocked = row["stage"], idle, row["blocked"] / loads.seconds
            continue
        load = loads.stages.setdefault(row["stage"], Load(row["stage"], is_sink=True))
        load.served, load.workers, load.busy = round(row["served"]), row["workers"], row["busy"]
        load.here += row["stayed"] / loads.seconds * processes
        load.waiting = row["waited"] / max(row["took"], 1e-6) * processes
        load.end, load.growth = row["end"] * processes, row["growth"] * processes
        load.utilisation = min(1.0, row["busy"] / (row["workers"] * loads.seconds))
    _visit(loads.stages)
    free = max(0.0, 1 - loads.thread)
    for load in loads.stages.values():
        if load.served and load.workers:
            # A call that is over ends once the thread is free; it may have many messages.
            many = max(1.0, (load.here - load.waiting) * loads.seconds / max(load.busy, 1e-6))
            service = load.busy / load.served
            load.demand = load.visits * max(service - lag / many, service * free) / load.workers
    loads.behind = next((row["behind"] or 0.0 for row in chunks if row["stage"] == loads.source), 0.0)
    return loads


def _unnest(stages: dict[str, Load]) -> None:
    """Take from the time of a step with steps inside what those took: it pushes chunks through them itself."""
    for stage in sorted(stages, key=len, reverse=True):
        path = stage.partition(":")[0]
        inside = [each for each in stages if each.startswith(f"{path}.") and "/" in each]
        inner = [each for each in inside if not any(_within(each, other) for other in inside)]
        load = stages[stage]
        for each in inner:
            load.thread = max(0.0, load.thread - _whole(stages, each))
            load.here = max(0.0, load.here - stages[each].here)


def _visit(stages: dict[str, Load]) -> None:
    """Find out how many messages come to each stage for one that is read, however many still wait on the way there."""
    places = {stage: (match[1], int(match[2])) for stage in stages if (match := _PLACE.match(stage))}
    known: dict[tuple[str, int], tuple[float, float]] = {}
    for stage, (path, number) in sorted(places.items(), key=lambda each: (each[1][0].count("/"), each[1])):
        load = stages[stage]
        before = [place for place in known if place[0] == path and place[1] < number]
        if before:
            visits, served = known[max(before)]
        else:
            # The first one inside of another step comes behind that one.
            outer, _, last = path[:-1].rpartition("/")
            parent = (f"{outer}/" if outer else "", int(last.partition(".")[0] or -1))
            visits, served = known.get(parent, (1.0, load.taken))
        load.visits = visits * load.taken / served if served else visits
        more = known.get((path, number), (0.0, 0.0))
        known[path, number] = load.visits + more[0], load.served + more[1]
    sinks = [load for load in stages.values() if load.is_sink]
    written = sum(load.served + load.growth for load in sinks)
    for load in sinks:
        load.visits = (load.served + load.growth) / written if written > 0 else 1.0


def _within(stage: str, other: str) -> bool:
    return stage.startswith(f"{other.partition(':')[0]}.") and stage != other


def _whole(stages: dict[str, Load], stage: str) -> float:
    """The time of a step, and of those inside it."""
    return sum(load.thread for name, load in stages.items() if name == stage or _within(name, stage))


def slow(
    flows: Flows, pipeline: str, span: Span, which: Sequence[int], since: datetime | None, until: datetime | None
) -> dict[str, float]:
    """How long a message took at each stage in some of the spans: the 95th percentile, in milliseconds.

    Of a chunk each message counts with an equal part of its time, and of calls those that are noted.
    """
    chunks = _chosen(flows.stages, pipeline, since, until).filter(pl.col("taken") > 0)
    calls = _chosen(flows.workers, pipeline, since, until).filter(pl.col("blocked").is_null()).drop_nulls("service")
    found: dict[str, float] = {}
    for rows, time in ((chunks, (_END - _START).clip(0) / pl.col("taken") / 1e3), (calls, pl.col("service") * 1e3)):
        chosen = _split(rows, span).filter(pl.col("which").is_in(which))
        found |= dict(chosen.group_by("stage").agg(time.quantile(0.95).alias("p95")).collect(engine="streaming").iter_rows())
    return found


def names(flows: Flows) -> list[str]:
    """The pipelines that were recorded."""
    return flows.stages.select(pl.col("pipeline").cast(pl.String).unique().sort()).collect()["pipeline"].to_list()


def _chosen(rows: pl.LazyFrame, pipeline: str, since: datetime | None, until: datetime | None) -> pl.LazyFrame:
    """The rows of one pipeline that ended in a time, as one who looks at its end sees them."""
    rows = rows.filter(pl.col("pipeline").cast(pl.String) == pipeline).with_columns(pl.col("stage").cast(pl.String))
    if since is not None:
        rows = rows.filter(_micros(since) < _END)
    if until is not None:
        rows = rows.filter(_micros(until) >= _END)
    return rows


def _split(rows: pl.LazyFrame, span: Span) -> pl.LazyFrame:
    """Rows with the span in which they lie as ``which``, once for each of several, and which ``part`` of them lies there."""
    last = pl.max_horizontal(_START, _END - 1)

    def number(time: pl.Expr) -> pl.Expr:
        return ((time - span.start) // span.width).clip(0, span.count - 1)

    which = pl.col("which") * span.width + span.start
    low, high = pl.max_horizontal(_START, which), pl.min_horizontal(_END, which + span.width)
    inside = (pl.col("high") - pl.col("low")).clip(0)
    return (
        rows.with_columns(pl.int_ranges(number(_START), number(last) + 1).alias("which"))
        .explode("which")
        .with_columns(low.alias("low"), high.alias("high"))
        .with_columns(
            pl.when(_END > _START).then(inside / (_END - _START)).otherwise(1.0).alias("part"),
            pl.max_horizontal("low", "high").alias("high"),
        )
    )


def _micros(time: datetime) -> int:
    return round((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp() * 1e6)
