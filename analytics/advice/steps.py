"""Advice on what steps can pass: concurrency, credit, sinks, the thread."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from warren.analytics.advice.contents import Advice, part, times
from warren.analytics.advice.twin import Twin
from warren.analytics.bottlenecks import Bottleneck, bottleneck
from warren.analytics.capacity import Workload, workloads
from warren.analytics.flows import Flows
from warren.analytics.loads import Load, Loads, Span, extent, slow, spans
from warren.analytics.queueing import Queue
from warren.analytics.report.contents import Target
from warren.core.errors import DataError
from warren.core.graph import Step
from warren.pipelines.pipeline import Pipeline

__all__ = ["LEAST", "Seen", "seen", "steps", "walk"]

LEAST = 100
"""Of fewer messages nothing is concluded."""
_SHORTEST = 5.0
_BUSY = 0.8
_SPAN = 10.0
_MOST = 4.0
"""Where nobody knows how much would come, settings grow by so much at most."""
_BLOCKED = 0.05
_WORTH = 1.1
_PLACE = re.compile(r"(?:\d+\.[^/]*/)*\d+:")


@dataclass
class Seen:
    """What was recorded of one pipeline: its loads, and the messages a second that come in busy spans.

    ``known`` says whether these are all that would have come, and not as many as were let in.
    """

    flows: Flows
    name: str
    messages: int
    loads: Loads
    span: Span
    rate: float
    known: bool
    arrival_cv2: float
    limit: Bottleneck | None
    graph: dict[str, Step] = field(default_factory=dict)
    pipeline: Pipeline | None = None

    @property
    def little(self) -> str:
        """Why nothing is concluded; empty where something can be."""
        if self.messages >= LEAST and self.loads.seconds >= _SHORTEST:
            return ""
        return f"{self.messages:,} message(s) in {self.loads.seconds:.3g} s are recorded"

    @property
    def credit(self) -> int:
        """How many messages may be in hand, or at most were."""
        if self.pipeline is not None:
            return self.pipeline.credit
        rows = self.flows.stages.filter(pl.col("pipeline").cast(pl.String) == self.name)
        return int(rows.select(pl.col("credit").max()).collect().item() or 1)

    def gain(self) -> float:
        """How many times the rate would pass without what limits, until the next step or the credit limits."""
        if self.limit is None or self.limit.cause == "credit":
            return self.limit.gain if self.limit is not None else math.inf
        # By Little's law: no more pass than the credit, over the time that a message takes where none waits.
        time = sum(
            load.visits * load.busy / load.served for load in self.loads.stages.values() if load.workers and load.served
        )
        passes = self.messages / self.loads.seconds
        return min(self.limit.gain, max(1.0, self.credit / (time * passes)) if time > 0 else math.inf)

    def played(self, stage: str, workers: int) -> float:
        """How many times the rate passes with so many calls at once in a stage, where the source always has more."""
        loose = [name for name, step in self.graph.items() if getattr(step, "ordered", True) is False]
        loads = self.loads
        unordered = [each for each in loads.stages if _bare(each) in loose]
        return Twin(self.flows, self.name, loads, self.credit, unordered).gain(stage, workers)

    def comes(self) -> str:
        """What comes, in words."""
        if self.known:
            return f"{self.rate:.3g} messages a second come in busy spans of ten seconds (P95)"
        return "how many messages would come is not known, as the source had more than the credit let in"


def seen(flows: Flows, name: str, pipeline: Pipeline | None) -> Seen | None:
    """What was recorded of a pipeline; ``None`` where it is nothing."""
    found = extent(flows, name, None, None)
    if found is None:
        return None
    span = Span(found[0], max(found[1] - found[0], 1), 1)
    loads = spans(flows, name, span)[0]
    trips = flows.trips.filter(pl.col("pipeline").cast(pl.String) == name)
    count, enqueued = trips.select(pl.len(), pl.col("enqueued").count().alias("enqueued")).collect().row(0)
    source = loads.stages.get(loads.source or "")
    messages = count or (source.taken if source else 0)
    # What was let in is what came, where the source seldom had to wait for credit.
    known = count > 0 and (loads.blocked < _BLOCKED or enqueued > count / 2)
    rate = _busy(trips.select(at=pl.coalesce("enqueued", "received")), span) if count else messages / loads.seconds
    cv2 = workloads(flows).filter(pl.col("pipeline") == name)["arrival_cv2"].to_list()
    graph = {} if pipeline is None else dict(walk(pipeline.flow))
    limit = bottleneck(flows, name)
    return Seen(flows, name, messages, loads, span, rate, known, cv2[0] if cv2 else 1.0, limit, graph, pipeline)


def walk(step: Step) -> Iterator[tuple[str, Step]]:
    """The steps inside a step, each with its name."""
    for _, inner in step.branches():
        yield inner.name, inner
        yield from walk(inner)


def _busy(came: pl.LazyFrame, span: Span) -> float:
    """Messages a second: the 95th percentile of whole spans, or the mean where there is no whole one."""
    length = span.width / 1e6
    at = (pl.col("at").dt.epoch("us") - span.start) / 1e6
    counts = (
        came.select(which=(at / _SPAN).floor())
        .filter(pl.col("which") >= 0, pl.col("which") < math.floor(length / _SPAN))
        .group_by("which")
        .len()
        .collect()["len"]
    )
    whole = math.floor(length / _SPAN)
    if not whole:
        return float(came.select(pl.len()).collect().item() / length)
    every = pl.concat([counts.cast(pl.Float64), pl.Series("len", [0.0] * (whole - len(counts)), pl.Float64)])
    return float(every.quantile(0.95, "linear") or 0.0) / _SPAN


def steps(known: Seen, target: Target | None) -> Iterator[Advice]:
    """What to change so that more passes, or the target is kept: what limits first."""
    limit = known.limit
    if limit is not None and limit.cause not in ("workers", "key"):
        yield _limiting(known, limit)
    if limit is not None and limit.cause == "key":
        yield _look(known, limit, "key", "finer keys, or a higher limit=, let more of them go on at once")
    if limit is not None and limit.cause == "thread":
        # Calls end late where the thread is not free, so they say little of what they would need.
        return
    p95 = slow(known.flows, known.name, known.span, [known.loads.which], None, None) if target else {}
    slowest = max(p95, key=lambda stage: p95[stage], default=None)
    found = []
    for load in known.loads.stages.values():
        limits = limit is not None and limit.stage == load.stage
        if (
            not load.workers
            or load.is_sink
            or load.served < LEAST
            or (limits and limit is not None and limit.cause == "key")
        ):
            continue
        others = sum(time for stage, time in p95.items() if stage != load.stage) / 1e3
        told = _workers(known, load, limits, target, others)
        # Where nothing keeps the target, that is said once.
        if told is not None and (told.proposed is not None or told.stage == slowest or not known.known):
            found.append((not limits, told.of != "rate", told.stage, told))
    yield from (told for *_, told in sorted(found, key=lambda each: each[:3]))


def _workers(known: Seen, load: Load, limits: bool, target: Target | None, others: float) -> Advice | None:
    """More calls at once, where those there are would be busy for more than four fifths of the time."""
    name, service, rate = _bare(load.stage), load.busy / load.served, known.rate * load.visits
    word = "workers" if hasattr(known.graph.get(name), "workers") else "concurrency"
    if not service > 0 or not rate > 0:
        return None
    use = rate * service / load.workers
    measured = (
        f"a call takes {1e3 * service:.3g} ms, {load.workers:,} at once were busy {part(load.utilisation)} of the time"
    )
    evidence = f"{load.served:,} messages: {measured}, {load.waiting:.3g} waited on average; {known.comes()}"
    risk = "what is called gets more calls at once, and slows down where it cannot bear them: go there in steps"
    about: dict[str, Any] = {"pipeline": known.name, "stage": load.stage, "setting": word, "evidence": evidence}
    if not known.known:
        if not limits:
            return None
        gain = min(known.gain(), _MOST)
        proposed = math.ceil(load.workers * gain)
        gain = min(proposed / load.workers, known.gain(), known.played(load.stage, proposed))
        if gain < _WORTH:
            held = f"a credit of {known.credit:,} holds them up, as played in virtual time: raise it first"
            return Advice(**about, expected=f"More calls at once gain {times(max(gain, 1.0))} the rate at most: {held}.")
        how = f"{times(gain)} the rate, if so much comes, as played in virtual time with a credit of {known.credit:,}"
    else:
        cv2 = _variation(known, load)
        try:
            proposed, why = _needed(known, rate, service, cv2, target, others)
        except DataError as error:
            proposed, why = _needed(known, rate, service, cv2, None, others)
            missed = f"no {word} keeps the target: {error}"
            if proposed <= load.workers:
                return Advice(**about, expected=_sentence(missed))
            why = f"{why}; {missed}"
        if proposed <= load.workers:
            return None
        if use >= 1:
            gain = min(use, known.gain(), proposed / load.workers, known.played(load.stage, proposed))
            passes = load.workers / service
            until = f", {_until(known, gain)}" if gain < use else ""
            how = f"{times(gain)} the rate: {gain * passes:.3g} a second in place of {passes:.3g}, as {why}{until}"
        else:
            before, after = (_wait(known, rate, service, cv2, each) for each in (load.workers, proposed))
            gain = min(before / after, 1e3) if after > before / 1e3 else 1e3
            how = f"95 % wait {1e3 * after:.3g} ms at most in place of {1e3 * before:.3g} ms by the queueing model, as {why}"
            return Advice(
                **about, now=_map(name, word, load.workers), proposed=_map(name, word, proposed), gain=gain, of="wait",
                expected=_sentence(how), risk=risk,
            )  # fmt: skip
    if proposed <= load.workers:
        return None
    now, then = (_map(name, word, each) for each in (load.workers, proposed))
    return Advice(**about, now=now, proposed=then, gain=gain, of="rate", expected=_sentence(how), risk=risk)


def _needed(known: Seen, rate: float, service: float, cv2: float, target: Target | None, others: float) -> tuple[int, str]:
    """How many calls at once a load needs, and why."""
    enough = max(1, math.ceil(rate * service / _BUSY - 1e-9))
    if target is None:
        return enough, f"they are busy {part(rate * service / enough)} of the time then"
    left = target.seconds - others
    if left <= 0:
        raise DataError(f"the other steps take {others:.3g} s, as much as the target of {target.seconds:g} s")
    work = Workload(service, left, target.quantile, cv2, known.arrival_cv2, of="latency")
    return work.consumers(rate), f"{part(target.quantile)} are done here within {left:.3g} s then by the queueing model"


def _wait(known: Seen, rate: float, service: float, cv2: float, servers: int) -> float:
    return Queue(rate, service, servers, known.arrival_cv2, cv2).wait(0.95)


def _variation(known: Seen, load: Load) -> float:
    """The squared coefficient of variation of the calls that are noted; 1 where they are too few."""
    calls = known.flows.workers.filter(
        pl.col("pipeline").cast(pl.String) == known.name, pl.col("stage").cast(pl.String) == load.stage
    )
    mean, deviation, count = calls.select(
        mean=pl.col("service").mean(), deviation=pl.col("service").std(), count=pl.col("service").count()
    ).collect().row(0)  # fmt: skip
    return float((deviation / mean) ** 2) if count >= 30 and mean else 1.0


def _limiting(known: Seen, limit: Bottleneck) -> Advice:
    match limit.cause:
        case "credit":
            return _credit(known, limit)
        case "thread":
            return _thread(known, limit)
        case "sink":
            return _sink(known, limit)
    return _look(known, limit, "source", "a faster source, several readers, or more fetched ahead, let more come")


def _look(known: Seen, limit: Bottleneck, setting: str, remedy: str) -> Advice:
    """What limits without a setting that could be told."""
    more = f"At most {times(limit.gain)} the rate, until the next step limits: {remedy}."
    return Advice(pipeline=known.name, stage=limit.stage, setting=setting, expected=more, evidence=str(limit))


def _credit(known: Seen, limit: Bottleneck) -> Advice:
    now = known.credit
    gain = min(limit.gain, _MOST)
    if known.known:
        gain = min(gain, known.rate / _BUSY / (known.messages / known.loads.seconds))
    proposed = math.ceil(now * max(gain, 1.0))
    gain = min(proposed / now, limit.gain)
    return Advice(
        pipeline=known.name,
        stage=limit.stage,
        setting="credit",
        now=f"Pipeline({known.name!r}, credit={now})",
        proposed=f"Pipeline({known.name!r}, credit={proposed})",
        gain=gain,
        of="rate",
        expected=_sentence(
            f"{times(gain)} the rate, as by Little's law it grows with the messages in hand; {_until(known, gain)}"
        ),
        evidence=str(limit),
        risk="as many more messages are in memory, and come again after a crash",
    )


def _thread(known: Seen, limit: Bottleneck) -> Advice:
    name, processors = _bare(limit.stage), os.cpu_count() or 1
    gain = min(limit.gain, float(processors))
    about: dict[str, Any] = {"pipeline": known.name, "stage": limit.stage, "setting": "executor", "evidence": str(limit)}
    step = known.graph.get(name)
    if not name.startswith("map(") or getattr(step, "is_async", False) or "…" in name or processors < 2:
        more = f"At most {times(limit.gain)} the rate, until the next step limits: a faster step, or more processes."
        return Advice(**about, expected=more)
    return Advice(
        **about,
        now=name,
        proposed=f'{name[:-1]}, executor="process")',
        gain=gain,
        of="rate",
        expected=f"At most {times(gain)} the rate: the thread is free for other steps then, on {processors} processors.",
        risk="the function, its values and results must be of a kind that can be pickled, which takes some time for each",
    )


def _sink(known: Seen, limit: Bottleneck) -> Advice:
    batch = next(
        ((name, step) for name, step in known.graph.items() if getattr(step, "count", None) and name.startswith("batch")),
        None,
    )
    most = f"At most {times(min(limit.gain, _MOST))} the rate"
    about: dict[str, Any] = {"pipeline": known.name, "stage": limit.stage, "evidence": str(limit)}
    if batch is None:
        remedy = "several sinks by route, a faster one, or a batch(...) before it if it takes lists"
        return Advice(**about, setting="sink", expected=f"{most}: {remedy}.")
    count = batch[1].count  # type: ignore[attr-defined]  # it has one, or it would not have been chosen
    more = math.ceil(count * min(limit.gain, _MOST))
    return Advice(
        **about,
        setting="batch",
        now=batch[0],
        proposed=batch[0].replace(str(count), str(more), 1),
        expected=f"{most}, where a write takes as long however much it has; one size does not say how much of it is fixed.",
        risk="a message waits longer for its batch to fill, and more are written again after a failure",
    )


def _until(known: Seen, gain: float) -> str:
    following = known.gain()
    if gain >= following * 0.999:
        return "and the next step or the credit limits then"
    return f"of the {times(following)} until the next step or the credit limits"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _bare(stage: str) -> str:
    """The name of a step without its place.

    >>> _bare("2.eu/1:map(ask)")
    'map(ask)'
    """
    return _PLACE.sub("", stage, count=1)


def _map(name: str, word: str, count: int) -> str:
    return f"{name.removesuffix(')')}, {word}={count})"
