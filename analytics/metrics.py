"""Counts what a pipeline does for Prometheus: a few additions for each chunk, put into words when somebody asks."""

from __future__ import annotations

import asyncio
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_args

from warren.analytics.probes import Probes, place
from warren.analytics.recorder import Recorder
from warren.core.breaker import State
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError
from warren.core.health import PATIENCE, Health
from warren.core.hooks import Status, Work
from warren.core.receipt import Delivery, Kind, Outcome

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

__all__ = ["FAMILIES", "Metrics"]

T = TypeVar("T")

_OTHER = "other"
_SOURCE = "0:"
"""How the names of the stages begin that read."""
_PROMPT = 0.02
"""Seconds that a scrape waits for the newest health; it shows the last one otherwise."""
_PROBING = 0.5
"""Seconds that a probe does."""
_TURN, _SOON = 0.02, 0.001
"""Seconds after which a busy pipeline lets the threads that answer have a turn: to hear, and while somebody waits."""
_TOGETHER = 64
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_TIMES = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


class Family(NamedTuple):
    """One metric: its kind, what it says, and its labels beside ``pipeline``."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()


FAMILIES = {
    "warren_messages_received": Family("counter", "Messages read from the sources."),
    "warren_messages_settled": Family("counter", "Messages that reached their end, by how they ended.", ("outcome",)),
    "warren_messages_in_flight": Family("gauge", "Messages read and not settled."),
    "warren_messages_unacknowledged": Family("gauge", "Messages whose end the sources have not been told yet."),
    "warren_credit_messages": Family("gauge", "Messages that may be unacknowledged at once."),
    "warren_source_waiting_messages": Family("gauge", "Messages that waited at the source when it was last read."),
    "warren_message_duration_seconds": Family("histogram", "From reading a message to its end.", ("outcome",)),
    "warren_message_age_seconds": Family("histogram", "From when the first message of its chunk was enqueued to its end."),
    "warren_retries": Family("counter", "Further attempts at messages, counted when they are settled or parked."),
    "warren_dead_letters": Family("counter", "Messages put into dead-letter queues, by the class of error.", ("reason",)),
    "warren_stage_batch_messages": Family("histogram", "Messages in each chunk that a stage took.", ("stage",)),
    "warren_stage_duration_seconds": Family("histogram", "Time on the pipeline's thread for each chunk.", ("stage",)),
    "warren_stage_given_messages": Family("counter", "Messages that a stage gave on.", ("stage",)),
    "warren_stage_failed_messages": Family("counter", "Messages that failed in a stage.", ("stage",)),
    "warren_workers": Family("gauge", "Calls that may run at once, of an asynchronous stage, pool or sink.", ("stage",)),
    "warren_workers_waiting_messages": Family("gauge", "Messages that wait for a worker.", ("stage",)),
    "warren_workers_served_messages": Family("counter", "Messages whose calls ended.", ("stage",)),
    "warren_workers_busy_seconds": Family("counter", "Time that workers were at work, added up.", ("stage",)),
    "warren_circuit_breaker_state": Family(
        "gauge", "1 for the state that a circuit breaker is in; 'connection' is that of the broker.", ("breaker", "state")
    ),
    "warren_live": Family("gauge", "1 while the pipeline does its work."),
    "warren_ready": Family("gauge", "1 while the pipeline is below its limits."),
    "warren_reconnects": Family("counter", "Connections that were made again."),
    "warren_unconfirmed_messages": Family("gauge", "Messages sent to sinks and not confirmed."),
    "warren_queue_depth_messages": Family("gauge", "Messages ready in a queue.", ("queue",)),
    "warren_queue_unacknowledged_messages": Family("gauge", "Messages of a queue delivered and not settled.", ("queue",)),
    "warren_queue_consumers": Family("gauge", "Consumers of a queue.", ("queue",)),
    "warren_queue_drain_seconds": Family("gauge", "Time until a queue is empty; absent while it grows.", ("queue",)),
    "warren_checkpoint_age_seconds": Family("gauge", "Time since the last checkpoint."),
    "warren_recorder_waiting_rows": Family("gauge", "Rows of a recorder that are in no file yet."),
    "warren_recorder_lost_rows": Family("counter", "Rows of a recorder that could not be written."),
}
"""Every metric by its name; the samples of counters end in ``_total``."""


class _Capped(dict[str, T]):
    """One of each for the first so many values of a label; all that come later share one, under ``other``."""

    def __init__(self, limit: int, make: Callable[[], T]) -> None:
        super().__init__()
        self._limit = limit
        self._make = make

    def __missing__(self, value: str) -> T:
        if len(self) >= self._limit:
            value = _OTHER
        if value not in self:
            self[value] = self._make()
        return self[value]


class _Histogram:
    """How often values fell between bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, count: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += count
        self.total += value * count

    @property
    def buckets(self) -> list[tuple[str, float]]:
        bounds = (*map(str, map(float, self.bounds)), "+Inf")
        return list(zip(bounds, accumulate(self.counts), strict=True))


class _Stage:
    """What one stage did."""

    __slots__ = ("failed", "given", "sizes", "times")

    def __init__(self) -> None:
        self.sizes = _Histogram(_SIZES)
        self.times = _Histogram(_TIMES)
        self.given = self.failed = 0


class _Workers:
    """What the workers of one stage did."""

    __slots__ = ("busy", "count", "served", "waiting")

    def __init__(self) -> None:
        self.count = self.waiting = self.served = 0
        self.busy = 0.0


class _Counts:
    """All that is counted while one pipeline runs. Its thread writes; whoever scrapes reads."""

    def __init__(self, limit: int) -> None:
        self.received = self.retries = 0
        self.depth: int | None = None
        self.latencies = {kind: _Histogram(_LATENCIES) for kind in Kind}
        self.ages = _Histogram(_LATENCIES)
        self.letters = _Capped(limit, lambda: [0])
        self.stages = _Capped(limit, _Stage)
        self.workers = _Capped(limit, _Workers)
        self.breakers: _Capped[list[State]] = _Capped(limit, lambda: ["closed"])


class Metrics:
    """Metrics of one running pipeline for Prometheus, and answers to those who ask whether it lives and is ready.

    It is an observer of a pipeline: ``pipeline.observed(Metrics(":9100"))``. ``docs/metrics.md`` lists what it tells. Needs
    ``pip install 'warren[metrics]'``.

    - ``serve``: where to answer ``/metrics``, ``/live`` and ``/ready`` while the pipeline runs, as ``HOST:PORT``; without
      a host only this machine is answered. Without ``serve`` it is a collector for a registry of your own
    - ``values``: how many values of a label are told apart; those that come later are added up under ``other``
    - ``patience``: as for ``Running.health``

    Delivery: the pipeline's guarantees do not depend on it.

    Raises `GraphError` where prometheus-client is missing, a setting cannot work, or it is given to two pipelines that run;
    `AddressError` where the place to serve is none, or, as the pipeline starts, is taken.

    >>> from prometheus_client import generate_latest
    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> metrics = Metrics()
    >>> Pipeline("greet", memory.items(["a", "b"]) | memory.into([]), observers=[metrics]).run()
    >>> [line for line in generate_latest(metrics).decode().splitlines() if line.startswith("warren_messages_received")]
    ['warren_messages_received_total{pipeline="greet"} 2.0']
    """

    def __init__(self, serve: str | None = None, *, values: int = 100, patience: Duration = PATIENCE) -> None:
        try:
            import prometheus_client  # noqa: F401 - it is to be missed here, not at the first scrape
        except ImportError as error:
            raise GraphError("Metrics needs prometheus-client: pip install 'warren[metrics]'") from error
        if values < 1:
            raise GraphError(f"Metrics(values={values}): at least one value of a label must be told apart")
        self._place = None if serve is None else place(serve)
        self._values = values
        self._patience = seconds(patience)
        self._counts = _Counts(values)
        self._name = ""
        self._run: Status | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._refused = self._thread = 0
        self._turned = 0.0
        self._probes: Probes | None = None
        self._asking: Future[Health] | None = None
        self._asked = 0.0
        self._told: Health | None = None
        self._guard = threading.Lock()
        self._adding = threading.Lock()
        self._taken: deque[tuple[str, int, int, int, float, int | None]] = deque()

    @property
    def address(self) -> str | None:
        """Where it answers now, such as ``http://127.0.0.1:9100``; with port 0 the system has chosen one."""
        return None if self._probes is None else self._probes.address

    def started(self, run: Status) -> None:
        """A pipeline begins to open its ends."""
        if self._run is not None:
            self._refused += 1
            raise GraphError(
                f"these Metrics are of the running pipeline {self._name!r}, so they cannot be of {run.name!r} as well; give "
                f"each Metrics of its own"
            )
        self._counts = _Counts(self._values)
        self._taken.clear()
        self._name, self._loop, self._told, self._asking = run.name, asyncio.get_running_loop(), None, None
        self._run, self._thread = run, threading.get_ident()
        if self._place is not None:
            self._probes = Probes(self._place, self, self.health)

    def open(self, pipeline: str) -> None:
        """Its ends are open."""

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome, at: float) -> None:
        """Messages of one delivery reached their end ``at`` seconds since 1970."""
        counts, count = self._counts, len(tokens)
        counts.latencies[outcome.kind].add(max(0.0, at - delivery.received), count)
        enqueued = delivery.batch.enqueued
        if enqueued is not None and (first := enqueued[0]):
            counts.ages.add(max(0.0, at - first), count)
        if delivery.retries:
            retries = delivery.retries
            counts.retries += sum(retries[token] for token in retries.keys() & set(tokens))
        if outcome.kind is Kind.PARKED:
            counts.retries += count
        elif outcome.failure is not None and outcome.kind is Kind.DEAD_LETTERED:
            counts.letters[type(outcome.failure.error).__name__][0] += count

    def handled(
        self, stage: str, taken: int, given: int, failed: int, start: float, end: float, credit: int, depth: int | None
    ) -> None:
        """A step took a chunk."""
        self._taken.append((stage, taken, given, failed, end - start, depth))
        if len(self._taken) >= _TOGETHER:
            self._add_up()
        if (probes := self._probes) is not None and not 0 <= end - self._turned < (_SOON if probes.asking else _TURN):
            # An event loop that never rests takes the interpreter's lock back before a thread that waits for it wakes.
            time.sleep(1e-6)
            self._turned = end

    def _add_up(self) -> None:
        """Count what was taken, many at once: between chunks, the processor has forgotten how."""
        with self._adding:
            counts, rows = self._counts, self._taken
            while rows:
                stage, taken, given, failed, passed, depth = rows.popleft()
                if stage.startswith(_SOURCE):
                    counts.received += taken
                    counts.depth = depth
                did = counts.stages[stage]
                did.sizes.add(taken)
                did.times.add(max(0.0, passed))
                did.given += given
                did.failed += failed

    def worked(self, stage: str, work: Work, start: float, end: float) -> None:
        """The workers of a stage did this between two times."""
        did = self._counts.workers[stage]
        did.count, did.waiting = work.workers, work.waiting
        did.served += work.served
        did.busy += work.busy

    def switched(self, stage: str, state: State) -> None:
        """The circuit breaker of a stage is in this state now."""
        self._counts.breakers[stage][0] = state

    def close(self) -> None:
        """The pipeline has ended: answer nobody any more. Closing again does nothing."""
        if self._refused:
            self._refused -= 1
            return
        probes, self._probes = self._probes, None
        if probes is not None:
            probes.close()
        with self._guard:
            self._run = self._loop = None

    def health(self, wait: float = _PROBING) -> Health:
        """How the pipeline fares, asked on any other thread; what was known last where ``wait`` seconds bring no answer."""
        with self._guard:
            run, loop = self._run, self._loop
            if run is None or loop is None:
                return Health(name=self._name, live=False, ready=False, reasons=("no pipeline is running",))
            if threading.get_ident() == self._thread:
                wait = 0.0  # it would wait for itself
            if self._asking is None or self._asking.done():
                self._asked = time.monotonic()
                self._asking = asyncio.run_coroutine_threadsafe(run.health(self._patience), loop)
            asking, asked = self._asking, self._asked
        try:
            self._told = asking.result(wait)
        except TimeoutError:
            silent = time.monotonic() - asked
            if silent > self._patience:
                reason = f"its thread has not answered for {silent:.0f} s: a step blocks it; give that map(executor=...)"
                return Health(name=self._name, live=False, ready=False, reasons=(reason,))
        except CancelledError:
            pass
        except Exception as error:
            reason = f"its health cannot be told: {type(error).__name__}: {error}"
            return Health(name=self._name, ready=False, reasons=(reason,))
        return self._told or Health(name=self._name, ready=False, reasons=("it has not answered yet",))

    def collect(self) -> Iterator[Metric]:
        """What there is to tell, as registries of prometheus-client ask for it."""
        from prometheus_client import metrics_core

        kinds: dict[str, Any] = {
            "counter": metrics_core.CounterMetricFamily,
            "gauge": metrics_core.GaugeMetricFamily,
            "histogram": metrics_core.HistogramMetricFamily,
        }
        found: dict[str, Any] = {}
        for name, labels, value in self._samples():
            if name not in found:
                family = FAMILIES[name]
                found[name] = kinds[family.kind](name, family.help, labels=("pipeline", *family.labels))
            labels = (self._name, *labels)
            if isinstance(value, _Histogram):
                found[name].add_metric(labels, value.buckets, value.total)
            else:
                found[name].add_metric(labels, value)
        yield from found.values()

    def _samples(self) -> Iterator[tuple[str, tuple[str, ...], float | _Histogram]]:
        self._add_up()
        counts = self._counts
        yield "warren_messages_received", (), counts.received
        yield "warren_retries", (), counts.retries
        for kind, latencies in counts.latencies.items():
            yield "warren_messages_settled", (kind.name.lower(),), (count := sum(latencies.counts))
            if count:
                yield "warren_message_duration_seconds", (kind.name.lower(),), latencies
        yield "warren_message_age_seconds", (), counts.ages
        for error, letters in list(counts.letters.items()):
            yield "warren_dead_letters", (error,), letters[0]
        for stage, did in list(counts.stages.items()):
            yield "warren_stage_batch_messages", (stage,), did.sizes
            yield "warren_stage_duration_seconds", (stage,), did.times
            yield "warren_stage_given_messages", (stage,), did.given
            yield "warren_stage_failed_messages", (stage,), did.failed
        for stage, workers in list(counts.workers.items()):
            yield "warren_workers", (stage,), workers.count
            yield "warren_workers_waiting_messages", (stage,), workers.waiting
            yield "warren_workers_served_messages", (stage,), workers.served
            yield "warren_workers_busy_seconds", (stage,), workers.busy
        for stage, state in list(counts.breakers.items()):
            yield from _states(stage, state[0])
        if counts.depth is not None:
            yield "warren_source_waiting_messages", (), counts.depth
        health = self.health(_PROMPT)
        yield "warren_live", (), health.live
        yield "warren_ready", (), health.ready
        if (run := self._run) is not None:
            yield from self._now(run, health)

    def _now(self, run: Status, health: Health) -> Iterator[tuple[str, tuple[str, ...], float]]:
        yield "warren_messages_in_flight", (), run.ledger.outstanding
        yield "warren_messages_unacknowledged", (), run.unacknowledged
        yield "warren_credit_messages", (), run.credit
        yield "warren_reconnects", (), health.reconnects
        yield "warren_unconfirmed_messages", (), health.unconfirmed
        yield from _states("connection", health.breaker)
        for queue in {queue.name: queue for queue in health.queues[: self._values]}.values():
            told = {"depth_messages": queue.depth, "unacknowledged_messages": queue.unacked, "consumers": queue.consumers}
            for what, value in {**told, "drain_seconds": queue.drain}.items():
                if value is not None:
                    yield f"warren_queue_{what}", (queue.name,), value
        if run.checkpointed is not None:
            yield "warren_checkpoint_age_seconds", (), max(0.0, run.clock() - run.checkpointed)
        recorders = [observer for observer in run.observers if isinstance(observer, Recorder)]
        if recorders:
            yield "warren_recorder_waiting_rows", (), sum(recorder.behind for recorder in recorders)
            yield "warren_recorder_lost_rows", (), sum(recorder.lost for recorder in recorders)


def _states(breaker: str, now: State) -> Iterator[tuple[str, tuple[str, ...], float]]:
    for state in get_args(State):
        yield "warren_circuit_breaker_state", (breaker, state), state == now
