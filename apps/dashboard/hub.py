"""What a dashboard knows: the newest reports of every worker, and how each pipeline did in the last minutes."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable
from time import time
from typing import Any

import msgspec

from warren.apps.dashboard.controllers import Controllers
from warren.apps.dashboard.figures import bottleneck_of, edges_of, nodes_of, quantile
from warren.apps.dashboard.outlook import Unusual, expected
from warren.apps.dashboard.snapshot import Snapshot

__all__ = ["Hub", "Pipe"]

_PLACE = re.compile(r"(?:\d+\.[^/\s]*/)*\b\d+:(?=\S)")
"""What stands before the name of a step where it is told to observers."""
_POINTS = 600
"""Seconds of the past that are kept for the plots."""
_SPARKS = 60
_NOW, _RECENT = 3, 10
"""From how many of the last reports of a worker its figures are, and what limits it is."""
_SILENT, _GONE = 5.0, 60.0
"""Seconds without a report after which a worker counts as silent, and is forgotten."""
_FAILING = 0.05
"""The share of dead letters from which a pipeline counts as failing."""
_LATE = 30.0
"""Seconds after which a report tells of the past, as it lay in a queue that nobody read."""
_PIPELINES, _WORKERS, _NOTICES = 100, 200, 10


class Pipe:
    """One pipeline, with all workers that report of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.workers: dict[str, Worker] = {}
        self.points: deque[dict[str, Any]] = deque(maxlen=_POINTS)
        self.sparks: list[deque[float | None]] = []
        self.controllers = Controllers()
        self.letters: Counter[str] = Counter()
        self.unusual = Unusual()
        self.view: dict[str, Any] = {"name": name, "state": "silent"}

    def take(self, snapshot: Snapshot, now: float) -> None:
        """A report has come."""
        if snapshot.worker not in self.workers:
            if len(self.workers) >= _WORKERS:
                return
            self.workers[snapshot.worker] = Worker()
        if self.workers[snapshot.worker].take(snapshot, now):
            self.controllers.take(snapshot.decided)
            self.letters.update(snapshot.letters)

    def tick(self, now: float) -> None:
        """A second has passed: what is to be seen now."""
        for id, worker in list(self.workers.items()):
            if now - worker.seen > _GONE:
                del self.workers[id]
        alive = [worker for worker in self.workers.values() if worker.speaks(now)]
        newest = max(self.workers.values(), key=lambda worker: worker.seen, default=None)
        if newest is None:
            ended = self.view["state"] == "ended"
            self.view = {**self.view, "state": "ended" if ended else "silent", "workers": []}
            return
        graph = newest.snapshots[-1].graph
        recent = [list(worker.snapshots) for worker in alive]
        figures = [snapshots[-_NOW:] for snapshots in recent]
        limit = bottleneck_of(self.name, recent) if recent else None
        nodes = nodes_of(graph, figures, None if limit is None else limit.stage)
        edges = edges_of(graph, nodes)
        if len(self.sparks) != len(edges):
            self.sparks = [deque(maxlen=_SPARKS) for _ in edges]
        for spark, edge in zip(self.sparks, edges, strict=True):
            spark.append(edge["rate"])
        point = _point(figures, now)
        self.unusual.take(point, self.points)
        self.points.append(point)
        health = [each for worker in alive if (each := worker.snapshots[-1].health) is not None]
        failing = any(not each.live for each in health) or point["letters"] > _FAILING * point["done"]
        failing = failing or any(node["state"] == "failing" for node in nodes.values())
        strained = limit is not None or any(not each.ready for each in health)
        ended = all(worker.snapshots[-1].last for worker in self.workers.values())
        state = "failing" if failing else "strained" if strained else "ok"
        self.view = {
            "name": self.name,
            "state": "ended" if ended else "silent" if not alive else state,
            "graph": graph,
            "nodes": nodes,
            "edges": [{**edge, "spark": list(spark)} for edge, spark in zip(edges, self.sparks, strict=True)],
            "limit": None
            if limit is None
            else {"stage": limit.stage, "cause": limit.cause, "text": _PLACE.sub("", str(limit))},
            "workers": [worker.shown(id, now) for id, worker in sorted(self.workers.items())],
            "queues": [queue for each in health for queue in each.queues],
            "reasons": sorted({reason for each in health for reason in each.reasons}),
            "letters": dict(self.letters.most_common(20)),
            "point": point,
            "controllers": self.controllers.shown(),
            "alarms": list(self.unusual.alarms),
            "ahead": expected(self.points),
        }


class Worker:
    """One process that runs a pipeline."""

    def __init__(self) -> None:
        self.snapshots: deque[Snapshot] = deque(maxlen=_RECENT)
        self.seen = 0.0

    def take(self, snapshot: Snapshot, now: float) -> bool:
        """A report has come; returns whether it is new, as one may come again."""
        if self.snapshots and snapshot.number <= self.snapshots[-1].number:
            return False
        self.snapshots.append(snapshot)
        self.seen = now
        return True

    def speaks(self, now: float) -> bool:
        """Whether it is there."""
        return now - self.seen <= _SILENT and not self.snapshots[-1].last

    def shown(self, id: str, now: float) -> dict[str, Any]:
        """What is said of it."""
        newest = self.snapshots[-1]
        return {
            "id": id,
            "seen": self.seen,
            "state": "ended" if newest.last else "ok" if self.speaks(now) else "silent",
            "rate": newest.received / newest.seconds,
            "in_flight": newest.in_flight,
            "credit": newest.credit,
        }


def _point(workers: list[list[Snapshot]], now: float) -> dict[str, Any]:
    newest = [snapshots[-1] for snapshots in workers]
    latencies: Counter[int] = Counter()
    for snapshot in newest:
        latencies.update(snapshot.latencies)
    depths = [each.depth for each in newest if each.depth is not None]
    return {
        "at": round(now, 1),
        "rate": sum(each.received / each.seconds for each in newest),
        "done": sum(sum(each.ended.values()) / each.seconds for each in newest),
        "p50": quantile(latencies, 0.5),
        "p95": quantile(latencies, 0.95),
        "in_flight": sum(each.in_flight for each in newest),
        "credit": sum(each.credit for each in newest),
        "depth": max(depths, default=None),
        "letters": sum(sum(each.letters.values()) / each.seconds for each in newest),
    }


class Hub:
    """Takes reports, and tells those who look, each second, what has changed. It belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self.pipes: dict[str, Pipe] = {}
        self.notices: dict[str, float] = {}
        self._clock = clock
        self._watchers: set[asyncio.Queue[bytes]] = set()

    def take(self, snapshot: Snapshot) -> None:
        """A report has come; what is too old to tell of now is left aside."""
        now = self._clock()
        if not -_LATE < now - snapshot.at < _LATE:
            self.notice(
                f"reports of {snapshot.worker} are {now - snapshot.at:.0f} s old: they came late, or its clock is wrong"
            )
            return
        if snapshot.pipeline not in self.pipes:
            if len(self.pipes) >= _PIPELINES:
                return
            self.pipes[snapshot.pipeline] = Pipe(snapshot.pipeline)
        self.pipes[snapshot.pipeline].take(snapshot, now)

    def queues(self) -> set[str]:
        """The names of the queues that the pipelines read and write, those of their dead letters among them."""
        graphs = [worker.snapshots[-1].graph for pipe in self.pipes.values() for worker in pipe.workers.values()]
        return {node.queue for graph in graphs for node in graph.nodes if node.queue}

    def notice(self, text: str) -> None:
        """Something that those who look should know for the next minute."""
        self.notices[text] = self._clock()
        while len(self.notices) > _NOTICES:
            del self.notices[next(iter(self.notices))]

    def tick(self) -> None:
        """A second has passed."""
        now = self._clock()
        self.notices = {text: at for text, at in self.notices.items() if now - at < _GONE}
        for pipe in self.pipes.values():
            pipe.tick(now)
        told = _event("tick", self._all(now))
        for watcher in self._watchers:
            if watcher.full():
                # Who is slow gets what is newest.
                watcher.get_nowait()
            watcher.put_nowait(told)

    async def watch(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events: first everything of the last minutes, then each second what there is."""
        watcher: asyncio.Queue[bytes] = asyncio.Queue(maxsize=4)
        self._watchers.add(watcher)
        try:
            points = {name: list(pipe.points) for name, pipe in self.pipes.items()}
            yield _event("hello", {**self._all(self._clock()), "points": points})
            while True:
                yield await watcher.get()
        finally:
            self._watchers.discard(watcher)

    def _all(self, now: float) -> dict[str, Any]:
        return {"now": now, "pipelines": [pipe.view for pipe in self.pipes.values()], "notices": list(self.notices)}


def _event(name: str, value: dict[str, Any]) -> bytes:
    """An event as the browser reads it; JSON has no line ends of its own."""
    return f"event: {name}\ndata: ".encode() + msgspec.json.encode(value, enc_hook=str) + b"\n\n"
