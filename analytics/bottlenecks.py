"""Which stage limits a pipeline, by how much, and what tells so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from math import inf
from typing import Any, Literal, TypeAlias

import msgspec
import polars as pl

from warren.analytics.flows import Flows
from warren.analytics.loads import Load, Loads, Span, extent, names, slow, spans
from warren.core.clock import seconds
from warren.core.errors import GraphError

__all__ = ["Bottleneck", "bottleneck", "judged", "limits"]

Cause: TypeAlias = Literal["workers", "thread", "sink", "source", "key", "credit"]

_CREDIT = "credit"
_THREAD = "thread"

_SPAN = 10_000_000
_MOST = 2_000
_IDLE = 0.1
"""The source always has more to read where it waits for less of the time than this."""
_FULL = 0.9
_ALMOST = 0.75
_WORKING = 0.5
"""What limits is busy for more of the time than this, also while a pipeline fills."""
_WAITING = 30
"""So many messages seldom wait by chance where seven tenths of the workers are busy."""
_MANY = 100
_OFTEN = 0.01
"""What limits for less of the time than this may be chance."""
_SHORTEST = 1.0


class Bottleneck(msgspec.Struct, frozen=True, eq=False):
    """What limits a pipeline.

    - ``stage``: the step, the sink, the source, or ``"credit"``
    - ``cause``: what of it is busy: its ``"workers"``, the ``"thread"`` that it shares with other steps, the writing of a
      ``"sink"``, the reading of a ``"source"``; or its values wait for others with their ``"key"``, or for ``"credit"``
    - ``utilisation``: how much of what it can do it did, from 0 to 1, while it limited
    - ``share``: which part of the time that messages spend in the pipeline they spend there
    - ``gain``: how many times the rate would pass without it, until the next one limits
    - ``during``: in which part of the recorded time it limited
    - ``evidence``: one row for each stage, while this one limited: messages ``served``, the time for each of them, how
      busy the stage kept the ``thread`` of the process, how many calls run at once in it (``concurrency``; null for what
      runs in the thread), its ``utilisation``, how many messages were ``waiting``, and its ``share`` of their time
    """

    pipeline: str
    stage: str
    cause: Cause
    utilisation: float
    share: float
    gain: float
    during: float
    evidence: pl.DataFrame

    def __str__(self) -> str:
        """What limits, by how much, and what would be next, in a sentence."""
        rows = {row["stage"]: row for row in self.evidence.iter_rows(named=True)}
        mine = rows.pop(self.stage, {})
        when = "" if self.during > 0.995 else f", {_percent(self.during)} of the time"
        gain = "more than 100" if self.gain > 100 else f"{self.gain:.1f}"
        passes = f"{gain} times the rate would pass without it"
        return f"{self.stage} limits {self.pipeline!r}{when}: {self._why(mine)}; {self._next(list(rows.values()))}{passes}."

    def _why(self, mine: dict[str, Any]) -> str:
        busy = f"{_percent(self.utilisation)} of the time"
        match self.cause:
            case "credit":
                return f"it is used up {busy}, and no step is busy; raise Pipeline(credit=...)"
            case "source":
                return f"messages wait there, and reading them takes {busy}"
            case "thread":
                return f"the one thread of the process is busy {busy}, {_percent(mine['thread'])} in this step"
        many, waiting = f"at {mine['concurrency']:,} at once", f"{mine['waiting']:,.0f} message(s) wait for it"
        if self.cause == "key":
            return f"{waiting}, though it is busy only {busy} {many}: they wait for others with their key"
        return f"it is busy {busy} {many}, and {waiting}"

    def _next(self, others: Sequence[dict[str, Any]]) -> str:
        if self.cause == "thread":
            others = [row for row in others if row["concurrency"] is None and row["stage"] != _THREAD]
        busy = [row for row in others if row["stage"] != _CREDIT and row["utilisation"] >= 0.01]
        if not busy:
            return "nothing else is busy; "
        most = max(busy, key=lambda row: row["utilisation"])
        return f"next is {most['stage']} at {_percent(most['utilisation'])}; "


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


class _Limit(msgspec.Struct, frozen=True):
    stage: str
    cause: Cause
    utilisation: float
    share: float
    gain: float


def bottleneck(
    flows: Flows, pipeline: str | None = None, *, since: datetime | None = None, until: datetime | None = None
) -> Bottleneck | None:
    """Which stage limits a pipeline; ``None`` where none does, as more comes through than comes in.

    The recorded time, or that between ``since`` and ``until``, is looked at in spans of ten seconds, or longer ones where
    that would be more than two thousand. What limits in most of them is the answer, unless that is less than a hundredth of
    the time. Of several pipelines the one that is limited most of the time is told.

    A stage with workers (an asynchronous ``map``, a pool, a sink) limits when its workers are busy while ever more messages
    wait. All other steps of a process share one thread: when that is busy, the one that takes most of it limits. Recordings
    made before workers were recorded tell of the thread alone.

    Raises `StorageError` where the folder holds something else.

    >>> import tempfile
    >>> print(bottleneck(Flows(tempfile.mkdtemp())))
    None
    """
    found = [_bottleneck(flows, name, since, until) for name in ([pipeline] if pipeline else names(flows))]
    limited = [each for each in found if each is not None]
    return max(limited, key=lambda each: each.during, default=None)


def judged(pipeline: str, loads: Loads) -> Bottleneck | None:
    """Which stage limits a pipeline in the one span that these loads are of; ``None`` where none does."""
    limit = _limit(loads)
    if limit is None:
        return None
    return Bottleneck(
        *(pipeline, limit.stage, limit.cause, limit.utilisation, limit.share, limit.gain),
        during=1.0,
        evidence=_evidence([loads], {}),
    )


def limits(flows: Flows, every: str = "10s", pipeline: str | None = None) -> pl.DataFrame:
    """What limits each pipeline in each span of time: ``stage`` and ``cause``, null where nothing does.

    The other columns are those of `Bottleneck`. ``at`` is where a span begins; one in which nothing was recorded has no row.

    Raises `GraphError` where ``every`` is no length of time.

    >>> import tempfile
    >>> limits(Flows(tempfile.mkdtemp()), "1m").columns
    ['pipeline', 'at', 'stage', 'cause', 'utilisation', 'share', 'gain']
    """
    width = round(seconds(every) * 1e6)
    if not width:
        raise GraphError(f"limits(every={every!r}): a span must be longer than nothing, such as '10s'")
    rows = []
    for name in [pipeline] if pipeline else names(flows):
        if (found := extent(flows, name, None, None)) is not None:
            start = found[0] // width * width
            span = Span(start, width, (found[1] - start) // width + 1)
            for loads in spans(flows, name, span):
                limit = _limit(loads)
                told = (None,) * 5 if limit is None else msgspec.structs.astuple(limit)
                rows.append((name, span.at(loads.which), *told))
    words, numbers = ("pipeline", "stage", "cause"), ("utilisation", "share", "gain")
    kinds: dict[str, Any] = {
        "at": pl.Datetime("us", "UTC"),
        **dict.fromkeys(words, pl.String),
        **dict.fromkeys(numbers, pl.Float64),
    }
    order = ("pipeline", "at", "stage", "cause", *numbers)
    return pl.DataFrame(rows, {name: kinds[name] for name in order}, orient="row")


def _bottleneck(flows: Flows, pipeline: str, since: datetime | None, until: datetime | None) -> Bottleneck | None:
    found = extent(flows, pipeline, since, until)
    if found is None:
        return None
    start, length = found[0], max(found[1] - found[0], 1)
    count = min(max(1, length // _SPAN), _MOST)
    span = Span(start, -(-length // count), count)
    all_loads = spans(flows, pipeline, span, since, until)
    limits = {loads.which: limit for loads in all_loads if (limit := _limit(loads)) is not None}
    if not limits:
        return None
    counted: Counter[tuple[str, Cause]] = Counter((limit.stage, limit.cause) for limit in limits.values())
    ((stage, cause), times), *_ = counted.most_common()
    during = times / len(all_loads)
    if during < _OFTEN:
        return None
    chosen = [
        loads
        for loads in all_loads
        if loads.which in limits and (limits[loads.which].stage, limits[loads.which].cause) == (stage, cause)
    ]
    mine = [limits[loads.which] for loads in chosen]
    utilisation, share, gain = (
        sum(column) / times for column in zip(*(msgspec.structs.astuple(m)[2:] for m in mine), strict=True)
    )
    p95 = slow(flows, pipeline, span, [loads.which for loads in chosen], since, until)
    return Bottleneck(pipeline, stage, mine[0].cause, utilisation, share, gain, during, _evidence(chosen, p95))


def _limit(loads: Loads) -> _Limit | None:
    """What limits in one span."""
    workers = [load for load in loads.stages.values() if load.workers]
    ready = loads.idle is not None and (loads.idle <= _IDLE or loads.blocked >= _WORKING)
    if loads.seconds < _SHORTEST:
        return None
    computes = sum(load.computes for load in loads.stages.values())
    queued = sum(load.here for load in loads.stages.values() if not load.workers)
    if loads.thread >= _FULL and max([queued, *(load.waiting for load in workers)]) >= _WAITING:
        # What workers do says little then: their calls end late, as the thread is not free.
        return _thread(loads, loads.thread)
    if ready or any(_overflows(load) for load in workers):
        able = [load for load in workers if not _collects(load, loads) or _piles_up(load, loads)]
        most = max(able, key=lambda load: load.demand, default=None)
        if loads.thread >= _WORKING and (most is None or computes > most.demand):
            return _thread(loads, loads.thread)
        if most is not None and most.utilisation >= _WORKING:
            return _worker(loads, most)
    if ready:
        kept = max(workers, key=lambda load: load.waiting, default=None)
        if kept is not None and kept.waiting >= _WAITING and 2 * kept.here >= loads.here:
            return _worker(loads, kept, "key")
        working = 1 - (loads.idle or 0.0) - loads.blocked
        if working >= loads.blocked:
            return _thread(loads, working)
        busiest = max([loads.thread, *(load.utilisation for load in workers if not _collects(load, loads))])
        return _Limit(_CREDIT, "credit", loads.blocked, 1.0, _ratio(loads.blocked, busiest))
    if loads.source is not None and loads.behind >= _FULL and loads.idle is not None and loads.blocked < _IDLE:
        return _Limit(loads.source, "source", loads.idle, 0.0, _ratio(loads.idle, loads.thread))
    return None


def _overflows(load: Load) -> bool:
    """Whether more comes than its workers can do."""
    least = _WAITING if load.utilisation >= _FULL else _MANY if load.utilisation >= _ALMOST else inf
    if load.is_sink:
        return load.here >= least and _grows(load)
    return load.end >= least and load.waiting >= least / 2


def _collects(load: Load, loads: Loads) -> bool:
    """Whether calls take as many messages as have come meanwhile, so that some always wait and it is always busy."""
    return load.is_sink or load.here - load.waiting > 2 * load.busy / loads.seconds


def _piles_up(load: Load, loads: Loads) -> bool:
    """Whether more messages are there than anywhere else, or ever more."""
    return load.here >= max(each.here for each in loads.stages.values()) or _grows(load)


def _grows(load: Load) -> bool:
    return load.growth >= max(_WAITING / 2, load.served / 10)


def _thread(loads: Loads, utilisation: float) -> _Limit | None:
    stage = max(loads.stages.values(), key=lambda load: load.computes, default=None)
    if stage is None:
        return None
    whole = sum(load.computes for load in loads.stages.values())
    gain = _ratio(whole, max(whole - stage.computes, 0.0))
    return _Limit(stage.stage, "thread", min(1.0, utilisation), _part(stage, loads), gain)


def _worker(loads: Loads, load: Load, cause: Cause = "workers") -> _Limit:
    others = (each for each in loads.stages.values() if each.workers and each is not load and not _collects(each, loads))
    following = max([sum(each.computes for each in loads.stages.values()), *(each.demand for each in others)])
    cause = "sink" if load.is_sink else cause
    return _Limit(load.stage, cause, load.utilisation, _part(load, loads), _ratio(load.demand, following))


def _part(load: Load, loads: Loads) -> float:
    return load.here / loads.here if loads.here else 0.0


def _ratio(much: float, less: float) -> float:
    return max(1.0, much / less) if less > much / 1e3 else 1e3


def _evidence(chosen: Sequence[Loads], p95: dict[str, float]) -> pl.DataFrame:
    time = sum(loads.seconds for loads in chosen)
    here = sum(loads.here * loads.seconds for loads in chosen) or 1.0
    rows = []
    for stage in dict.fromkeys(stage for loads in chosen for stage in loads.stages):
        mine = [(loads.stages[stage], loads.seconds) for loads in chosen if stage in loads.stages]
        served, thread, busy = (sum(getattr(load, name) for load, _ in mine) for name in ("served", "thread", "busy"))
        workers = max(load.workers for load, _ in mine)
        rows.append(
            {
                "stage": stage,
                "served": served,
                "service_ms": 1e3 * (busy if workers else thread) / served if served else None,
                "service_p95_ms": p95.get(stage),
                "thread": thread / time,
                "concurrency": workers or None,
                "utilisation": min(1.0, (busy / workers if workers else thread) / time),
                "waiting": sum(load.waiting * length for load, length in mine) / time if workers else None,
                "share": sum(load.here * length for load, length in mine) / here,
            }
        )
    thread = sum(loads.thread * loads.seconds for loads in chosen) / time
    rows.append({"stage": _THREAD, "thread": thread, "utilisation": min(1.0, thread)})
    if any(loads.idle is not None for loads in chosen):
        rows.append({"stage": _CREDIT, "utilisation": sum(loads.blocked * loads.seconds for loads in chosen) / time})
    number = pl.Float64
    schema = {"stage": pl.String, "served": pl.Int64, "service_ms": number, "service_p95_ms": number, "thread": number}
    return pl.DataFrame(
        rows, {**schema, "concurrency": pl.Int64, "utilisation": number, "waiting": number, "share": number}, orient="row"
    )
