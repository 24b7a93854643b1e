"""`Reporting`: an observer that tells dashboards about once a second how its pipeline fares."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from warren.analytics.remedies import Remedies
from warren.apps.dashboard.controllers import Decisions
from warren.apps.dashboard.snapshot import KINDS, LATENCIES, Chunks, Graph, Snapshot, Work
from warren.core.breaker import State
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError
from warren.core.health import PATIENCE, Health
from warren.core.hooks import Status
from warren.core.hooks import Work as Worked
from warren.core.policies import Decision
from warren.core.receipt import Delivery, Kind, Outcome

__all__ = ["Reporting", "Telling"]

_log = logging.getLogger("warren.dashboard")

_SOURCE = "0:"
_WITHIN = 5.0
"""Seconds that one report may take to be sent."""
_HEALTH_EVERY = 5.0
_TURN = 0.01
_STAGES, _ERRORS, _REMEDIES = 500, 100, 50
"""How many of each are told at most, so that a report stays small."""


class Telling(Protocol):
    """Where reports go. It runs in the event loop of the pipeline."""

    threaded: bool
    """Whether a thread of this process waits for them, and needs a turn beside a pipeline that never rests."""

    async def send(self, snapshot: Snapshot) -> None:
        """Send a report; what it raises is logged, and the pipeline goes on."""

    async def close(self) -> None:
        """No more will come."""


class Reporting:
    """Tells how its pipeline fares; made by `reported`. One pipeline at a time.

    The pipeline's guarantees do not depend on it: a report that cannot be sent is dropped. It costs a few additions for each
    chunk. Raises `GraphError` where ``every`` is no length of time, or the pipeline runs already.
    """

    def __init__(self, graph: Graph, telling: Telling, *, every: Duration = "1s") -> None:
        self._graph = graph
        self._telling = telling
        self._every = seconds(every)
        if not self._every > 0:
            raise GraphError(f"Reporting(every={every!r}): give a time above 0, such as '1s'")
        self._run: Status | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._refused = 0
        self._worker = ""
        self._number = 0
        self._health: Health | None = None
        self._asked = 0.0
        self._failing = False
        self._turned = 0.0
        self._breakers: dict[str, State] = {}
        self._present: dict[str, float] = {}
        self._depth: int | None = None
        self._decisions = Decisions()
        self._remedies: dict[tuple[str, int, bool | None], None] = {}
        self._clear(0.0)

    def _clear(self, now: float) -> None:
        self._since = now
        self._chunks: dict[str, Chunks] = {}
        self._work: dict[str, Work] = {}
        self._received = 0
        self._ended: Counter[Kind] = Counter()
        self._latencies: Counter[int] = Counter()
        self._letters: Counter[str] = Counter()
        self._dead: Counter[str] = Counter()

    def started(self, run: Status) -> None:
        """A pipeline begins to open its ends."""
        if self._run is not None:
            self._refused += 1
            raise GraphError(f"pipeline {run.name!r} reports already, from a run that has not ended; start it once")
        self._run = run
        self._worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
        self._number, self._health, self._asked = 0, None, 0.0
        self._breakers.clear()
        self._remedies = {}
        self._present.clear()
        self._clear(run.clock())
        self._ending = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._tell(run))

    def open(self, pipeline: str) -> None:
        """Its ends are open."""

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome, at: float) -> None:
        """Messages of one delivery reached their end."""
        count = len(tokens)
        self._ended[outcome.kind] += count
        self._latencies[bisect_left(LATENCIES, at - delivery.received)] += count
        if outcome.kind is Kind.DEAD_LETTERED and outcome.failure is not None:
            error = type(outcome.failure.error).__name__
            self._letters[error if len(self._letters) < _ERRORS else "other"] += count
            self._dead[outcome.route if len(self._dead) < _ERRORS else "other"] += count

    def handled(
        self, stage: str, taken: int, given: int, failed: int, start: float, end: float, credit: int, depth: int | None
    ) -> None:
        """A step took a chunk."""
        did = self._chunks.get(stage)
        if did is None:
            if len(self._chunks) >= _STAGES:
                return
            did = self._chunks[stage] = Chunks(stage, low=start)
        took = max(0.0, end - start)
        did.chunks += 1
        did.taken += taken
        did.given += given
        did.failed += failed
        did.thread += took
        did.squared += took * took
        did.stayed += took * taken
        did.high = end
        if stage.startswith(_SOURCE):
            self._received += taken
            self._depth = depth
            if depth is not None:
                did.reads += 1
                did.behind += depth > 0
        if self._telling.threaded and not 0 <= end - self._turned < _TURN:
            # An event loop that never rests takes the interpreter's lock back before a thread that waits for it wakes.
            time.sleep(1e-6)
            self._turned = end

    def worked(self, stage: str, work: Worked, start: float, end: float) -> None:
        """The workers of a stage did this between two times."""
        did = self._work.get(stage)
        present = work.stayed / max(end - start, 1e-6)
        if did is None:
            if len(self._work) >= _STAGES:
                return
            did = self._work[stage] = Work(stage, low=start, first=self._present.get(stage, present))
        took = max(0.0, end - start)
        did.workers, did.end, did.last, did.high = work.workers, work.waiting, present, end
        did.served += work.served
        did.busy += work.busy
        did.stayed += work.stayed
        did.waited += took * work.waiting
        did.took += took
        if work.blocked is not None:
            did.blocked += work.blocked
            did.source += 1
        self._present[stage] = present

    def switched(self, stage: str, state: State) -> None:
        """The circuit breaker of a stage is in this state now."""
        self._breakers[stage] = state

    def decided(self, stage: str, decisions: Sequence[Decision]) -> None:
        """Decisions of a stage's models are over."""
        self._decisions.take(stage, decisions)

    def _remedied(self, run: Status) -> None:
        """What remedies decided since the last report: when it was done, and again when it is undone."""
        known, self._remedies = self._remedies, {}
        for observer in run.observers:
            if isinstance(observer, Remedies):
                newest = {(each.policy, each.number, each.success): each for each in observer.decisions[-_REMEDIES:]}
                self._decisions.take("", [each for key, each in newest.items() if key not in known])
                self._remedies |= dict.fromkeys(newest)

    def close(self) -> None:
        """The pipeline has ended: one more report says so."""
        if self._refused:
            self._refused -= 1
            return
        self._ending.set()
        self._run = None

    async def _tell(self, run: Status) -> None:
        while not self._ending.is_set():
            try:
                async with asyncio.timeout(self._every):
                    await self._ending.wait()
            except TimeoutError:
                pass
            except asyncio.CancelledError:
                self._ending.set()
            await self._sent(self._snapshot(run, await self._asked_health(run)))
        try:
            async with asyncio.timeout(_WITHIN):
                await self._telling.close()
        except (Exception, asyncio.CancelledError) as error:
            _log.debug("%s: the place for reports could not be closed: %r", run.name, error)

    async def _sent(self, snapshot: Snapshot) -> None:
        # An event loop that ends cancels what is left once: the last report is sent all the same.
        for _ in range(2):
            try:
                async with asyncio.timeout(_WITHIN):
                    await self._telling.send(snapshot)
                self._failing = False
                return
            except asyncio.CancelledError:
                self._ending.set()
                snapshot.last = True
            except Exception as error:
                if not self._failing:
                    _log.warning("%s: a report could not be sent: %s: %s", snapshot.pipeline, type(error).__name__, error)
                self._failing = True
                return

    async def _asked_health(self, run: Status) -> Health | None:
        now = run.clock()
        if not self._ending.is_set() and not 0 <= now - self._asked < _HEALTH_EVERY:
            self._asked = now
            try:
                async with asyncio.timeout(_HEALTH_EVERY / 2):
                    self._health = await run.health(PATIENCE)
            except asyncio.CancelledError:
                self._ending.set()
            except Exception as error:
                reason = f"its health cannot be told: {type(error).__name__}: {error}"
                self._health = Health(name=run.name, ready=False, reasons=(reason,))
        return self._health

    def _snapshot(self, run: Status, health: Health | None) -> Snapshot:
        now = run.clock()
        self._number += 1
        self._remedied(run)
        snapshot = Snapshot(
            *(run.name, self._worker, self._number, now, max(now - self._since, 1e-3)),
            graph=self._graph,
            chunks=list(self._chunks.values()),
            work=list(self._work.values()),
            received=self._received,
            ended={KINDS[kind]: count for kind, count in self._ended.items()},
            latencies=dict(self._latencies),
            letters=dict(self._letters),
            dead=dict(self._dead),
            in_flight=run.ledger.outstanding,
            credit=run.credit,
            depth=self._depth,
            breakers={stage: state for stage, state in self._breakers.items() if state != "closed"},
            decided=self._decisions.told(),
            health=health,
            last=self._ending.is_set(),
        )
        self._clear(now)
        return snapshot
