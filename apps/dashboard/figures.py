"""What a pipeline does now, from the newest reports of all its workers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from warren.analytics.bottlenecks import Bottleneck, judged
from warren.analytics.loads import gathered
from warren.apps.dashboard.snapshot import LATENCIES, Chunks, Graph, Snapshot, Work

__all__ = ["bottleneck_of", "edges_of", "nodes_of", "quantile", "sums"]

_STRAINED = 0.9
_FAILING = 0.05
"""The share of failures from which a step counts as failing."""


def quantile(latencies: Mapping[int, int], level: float) -> float | None:
    """A quantile of times that were counted in classes, in seconds; ``None`` without any.

    >>> quantile({0: 98, 10: 2}, 0.5) < 0.0005, quantile({}, 0.5)
    (True, None)
    """
    wanted = level * sum(latencies.values())
    seen = 0
    for place in sorted(latencies):
        count = latencies[place]
        if count and seen + count >= wanted:
            low = LATENCIES[place - 1] if place else 0.0
            high = LATENCIES[min(place, len(LATENCIES) - 1)]
            return low + (high - low) * (wanted - seen) / count
        seen += count
    return None


def sums(snapshots: Sequence[Snapshot]) -> tuple[dict[str, Chunks], dict[str, Work]]:
    """What each stage and its workers did in reports of one worker that follow each other."""
    chunks: dict[str, Chunks] = {}
    work: dict[str, Work] = {}
    for snapshot in snapshots:
        for did in snapshot.chunks:
            chunks[did.stage] = _added(chunks[did.stage], did) if did.stage in chunks else did
        for worked in snapshot.work:
            before = work.get(worked.stage)
            work[worked.stage] = worked if before is None else _worked(before, worked)
    return chunks, work


def _added(a: Chunks, b: Chunks) -> Chunks:
    counted = {name: getattr(a, name) + getattr(b, name) for name in Chunks.__struct_fields__[1:-2]}
    return Chunks(a.stage, **counted, low=min(a.low, b.low), high=max(a.high, b.high))


def _worked(a: Work, b: Work) -> Work:
    added = ("served", "busy", "stayed", "blocked", "source", "waited", "took")
    counted: dict[str, Any] = {name: getattr(a, name) + getattr(b, name) for name in added}
    low, high = min(a.low, b.low), max(a.high, b.high)
    return Work(a.stage, max(a.workers, b.workers), **counted, end=b.end, first=a.first, last=b.last, low=low, high=high)


def bottleneck_of(pipeline: str, workers: Iterable[Sequence[Snapshot]]) -> Bottleneck | None:
    """What limits a pipeline, by the rules for recorded flows; ``None`` where nothing does, or too little is known."""
    chunks: dict[str, list[Chunks]] = {}
    work: dict[str, list[Work]] = {}
    for snapshots in workers:
        did, worked = sums(snapshots)
        for stage, each in did.items():
            chunks.setdefault(stage, []).append(each)
        for stage, every in worked.items():
            work.setdefault(stage, []).append(every)
    if not chunks and not work:
        return None
    return judged(
        pipeline,
        gathered(0, [_chunk_row(each) for each in chunks.values()], [_work_row(each) for each in work.values()]),
    )


def _chunk_row(parts: Sequence[Chunks]) -> dict[str, Any]:
    whole = parts[0]
    for part in parts[1:]:
        whole = _added(whole, part)
    return {**_times(whole), "behind": whole.behind / whole.reads if whole.reads else None}


def _work_row(parts: Sequence[Work]) -> dict[str, Any]:
    whole = parts[0]
    for part in parts[1:]:
        whole = _worked(whole, part)
    many = len(parts)
    growth = sum(part.last - part.first for part in parts) / many
    return {**_times(whole), "end": sum(part.end for part in parts) / many, "growth": growth}


def _times(row: Chunks | Work) -> dict[str, Any]:
    """With the times in microseconds, as recordings have them."""
    return {**msgspec.structs.asdict(row), "low": round(row.low * 1e6), "high": round(row.high * 1e6)}


def nodes_of(graph: Graph, workers: Sequence[Sequence[Snapshot]], limit: str | None) -> dict[str, dict[str, Any]]:
    """What each step does: messages a second, seconds for each, how many wait, how busy it is, what fails, its state."""
    found: dict[str, defaultdict[str, float]] = {node.id: defaultdict(float) for node in graph.nodes}
    letters = {node.queue: found[node.id] for node in graph.nodes if node.kind == "letters"}
    for snapshots in workers:
        passed = sum(each.seconds for each in snapshots)
        chunks, work = sums(snapshots)
        for stage in found.keys() & chunks.keys():
            did, mine = chunks[stage], found[stage]
            for name, value in _RATES.items():
                mine[name] += getattr(did, value) / passed
        for stage in found.keys() & work.keys():
            worked, mine = work[stage], found[stage]
            if worked.source:
                mine["blocked"] += worked.blocked / passed / len(workers)
                continue
            for name, value in _WORKERS.items():
                mine[name] += getattr(worked, value) / passed
            mine["workers"] += worked.workers
            mine["waiting"] += worked.end
        for queue, mine in letters.items():
            mine["rate"] += sum(each.dead.get(queue, 0) for each in snapshots) / passed
    breakers = {stage: state for snapshots in workers for stage, state in snapshots[-1].breakers.items()}
    return {id: _figures(mine, len(workers), breakers.get(id), id == limit) for id, mine in found.items()}


_RATES = {"rate": "taken", "given": "given", "failed": "failed", "stayed": "stayed", "thread": "thread"}
_WORKERS = {"served": "served", "here": "stayed", "busy": "busy"}


def _figures(mine: Mapping[str, float], many: int, breaker: str | None, limits: bool) -> dict[str, Any]:
    rate = mine["rate"] or mine["served"]
    took = mine["here"] / mine["served"] if mine["served"] else mine["stayed"] / mine["rate"] if mine["rate"] else None
    busy = mine["busy"] / mine["workers"] if mine["workers"] else mine["thread"] / max(many, 1)
    failing = breaker is not None or (mine["failed"] and mine["failed"] >= _FAILING * rate)
    strained = limits or (busy >= _STRAINED and mine["waiting"] > mine["workers"])
    return {
        "rate": rate,
        "given": mine["given"],
        "failed": mine["failed"],
        "took": took,
        "waiting": round(mine["waiting"]),
        "workers": round(mine["workers"]) or None,
        "busy": min(1.0, busy),
        "blocked": min(1.0, mine["blocked"]),
        "breaker": breaker,
        "state": "failing" if failing else "strained" if strained else "ok" if rate else "idle",
    }


def edges_of(graph: Graph, nodes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What goes over each edge, in messages a second, as far as it is known: ``None`` where streams meet and part again."""
    into = Counter(edge.target for edge in graph.edges)
    out = Counter(edge.source for edge in graph.edges if not edge.failures)
    found = []
    for edge in graph.edges:
        source, target = nodes[edge.source], nodes[edge.target]
        rate = target["rate"] if into[edge.target] == 1 else source["given"] if out[edge.source] == 1 else None
        if not rate and out[edge.source] == 1 and not edge.failures:
            rate = source["given"]
        # What waits and fails where streams meet is told by the step: it is no edge's own.
        mine = target if into[edge.target] == 1 else {"waiting": 0, "failed": 0.0}
        failed = target["rate"] if edge.failures else mine["failed"]
        found.append({"rate": rate, "took": target["took"], "waiting": mine["waiting"], "failed": failed})
    return found
