"""One round of one side: fill the queues, let the side work, check what it did."""

from __future__ import annotations

import importlib
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from benchmarks.amqp import orders
from benchmarks.amqp.wire import ARROW, JSON, Wire

__all__ = ["URL", "Job", "Setting", "consuming", "latency", "publishing", "relaying", "relaying_rows", "routing", "together"]

URL = "WARREN_BENCH_URL"
"""The environment variable with the broker's address."""
ROOT = Path(__file__).resolve().parent.parent.parent
AHEAD = 4_000
PATIENCE = 30.0
RATE = 1_000

Kind = Literal["classic", "quorum"]
Run = Callable[[int], float]
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Setting:
    """Which queues, and how long the messages are. A quorum queue writes all it gets to the disk."""

    kind: Kind = "classic"
    persistent: bool = False
    length: int = 150
    content_type: str = JSON

    @property
    def prefetch(self) -> int:
        """How many messages a side may have at once: some megabytes."""
        if self.content_type == ARROW:
            return 32
        return 8_192 if self.length < 1_000 else 1_000


class Progress(Protocol):
    """When a side is to end, and what it tells of its work."""

    @property
    def finished(self) -> bool: ...
    def add(self, count: int) -> None: ...


class Counted:
    """Finished when so many messages are settled, by this process or, with a shared counter, by all."""

    def __init__(self, total: int, shared: Any = None) -> None:
        self.total = total
        self.shared = shared
        self.last = 0.0
        self._count = 0

    @property
    def finished(self) -> bool:
        return (self._count if self.shared is None else self.shared.value) >= self.total

    def add(self, count: int) -> None:
        self.last = time.monotonic()
        if self.shared is None:
            self._count += count
        else:
            with self.shared.get_lock():
                self.shared.value += count


class WhileRunning:
    """Finished when another process is."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def finished(self) -> bool:
        return self._process.poll() is not None

    def add(self, count: int) -> None:
        pass


@dataclass(frozen=True)
class Job:
    """What a side is asked to do: from one queue to another, or with one of them."""

    url: str
    source: str
    target: str
    setting: Setting
    progress: Progress = field(compare=False)


@dataclass(frozen=True)
class Side:
    """A function of a module of this package, which is imported only when the side runs."""

    module: str
    function: str

    def load(self) -> Callable[..., None]:
        found: Callable[..., None] = getattr(importlib.import_module(f"benchmarks.amqp.{self.module}"), self.function)
        return found


def relaying(module: str, setting: Setting, function: str = "relay") -> Run:
    """Consume, decode, change, publish with confirm, acknowledge; messages a second."""

    def run(size: int) -> float:
        work = Side(module, function).load()
        with _queues(setting) as (url, (source,), targets):
            _fill(url, source, orders.messages(size, setting.length), setting)
            seconds = _timed(work, Job(url, source, targets[0], setting, Counted(size)))
            _check_empty(url, source, setting)
            orders.check(_drain(url, targets, size), size, setting.length)
        return size / seconds

    return run


def relaying_rows(module: str, setting: Setting) -> Run:
    """The same with Arrow streams; rows a second."""

    def run(size: int) -> float:
        work = Side(module, "relay_frames").load()
        with _queues(setting) as (url, (source,), targets):
            bodies = orders.frames(size)
            _fill(url, source, bodies, setting)
            seconds = _timed(work, Job(url, source, targets[0], setting, Counted(len(bodies))))
            _check_empty(url, source, setting)
            orders.check_rows(_drain(url, targets, len(bodies)), size)
        return size / seconds

    return run


def routing(function: str, count: int, *, processor: bool) -> Run:
    """`relaying` to one of several queues; messages a second, or for each second of this process on the processor."""

    def run(size: int) -> float:
        work, setting = Side("with_routes", function).load(), Setting()
        with _queues(setting, count) as (url, (source, *_), targets):
            _fill(url, source, orders.messages(size, setting.length), setting)
            seconds = _timed(work, url, source, targets, clock=time.process_time if processor else time.perf_counter)
            _check_empty(url, source, setting)
            orders.check(_drain(url, targets, size), size, setting.length)
        return size / seconds

    return run


def consuming(module: str, setting: Setting) -> Run:
    """Consume, decode, acknowledge; messages a second."""

    def run(size: int) -> float:
        work = Side(module, "consume").load()
        with _queues(setting) as (url, (source,), targets):
            _fill(url, source, orders.messages(size, setting.length), setting)
            tally = orders.Tally()
            seconds = _timed(work, Job(url, source, targets[0], setting, Counted(size)), tally)
            _check_empty(url, source, setting)
            tally.check(size)
        return size / seconds

    return run


def publishing(module: str, setting: Setting) -> Run:
    """Encode, publish with confirm; messages a second."""

    def run(size: int) -> float:
        work = Side(module, "publish").load()
        with _queues(setting) as (url, (source,), targets):
            values = orders.orders(size, setting.length)
            seconds = _timed(work, Job(url, source, targets[0], setting, Counted(size)), values)
            orders.check(_drain(url, targets, size), size, setting.length, changed=False)
        return size / seconds

    return run


def together(module: str, setting: Setting, workers: int, *, partitions: bool) -> Run:
    """`relaying` by several processes: all on one queue, or each on a partition of its own; messages a second."""

    def run(size: int) -> float:
        queues = workers if partitions else 1
        with _queues(setting, queues, single_active=partitions) as (url, sources, targets):
            bodies = orders.messages(size, setting.length)
            for number, source in enumerate(sources):
                _fill(url, source, bodies[number::queues], setting)
            seconds = _work_together(Side(module, "relay"), url, sources, targets, setting, workers, size)
            for source in sources:
                _check_empty(url, source, setting)
            orders.check(_drain(url, targets, size), size, setting.length)
        return size / seconds

    return run


def latency(module: str, key: Literal["p50", "p99"], function: str = "relay") -> Run:
    """From publish to the final consumer, both in a process of their own, at `RATE`; milliseconds."""

    def run(size: int) -> float:
        work = Side(module, function).load()
        setting = Setting()
        with _queues(setting) as (url, (source,), targets):
            command = [sys.executable, "-m", "benchmarks.amqp.probe", url, source, targets[0], str(size), str(RATE)]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as probe:
                try:
                    work(Job(url, source, targets[0], setting, WhileRunning(probe)))
                    out, error = probe.communicate(timeout=PATIENCE)
                finally:
                    probe.kill()
            if probe.returncode:
                raise ValueError(error.decode().strip().rpartition("\n")[2])
            return float(json.loads(out)[key])

    return run


def _timed(work: Callable[..., None], *arguments: object, clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    work(*arguments)
    return clock() - start


@contextmanager
def _queues(
    setting: Setting, count: int = 1, *, single_active: bool = False
) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """The broker's address, and queues of this round alone to read from and to write to."""
    url = os.environ.get(URL)
    if not url:
        raise RuntimeError(f"run python -m benchmarks.rabbitmq, which starts a broker, or name one in {URL}")
    mark = f"bench-{os.getpid()}-{next(_numbers)}"
    sources = tuple(f"{mark}-in-{number}" for number in range(count))
    targets = tuple(f"{mark}-out-{number}" for number in range(count))
    arguments = {"x_single_active_consumer": True} if single_active else {}
    with Wire(url) as wire:
        try:
            for name in sources:
                wire.declare(name, setting.kind, **arguments)
            for name in targets:
                wire.declare(name, setting.kind)
            yield url, sources, targets
        finally:
            for name in (*sources, *targets):
                wire.delete(name)


def _fill(url: str, queue: str, bodies: Sequence[bytes], setting: Setting) -> None:
    at_once = max(1, min(500, 1_000_000 // len(bodies[0])))
    with Wire(url) as wire:
        wire.confirm()
        wire.target(queue, persistent=setting.persistent, content_type=setting.content_type)
        for start in range(0, len(bodies), at_once):
            wire.publish(bodies[start : start + at_once])
            while wire.published - wire.confirmed > AHEAD:
                wire.receive()
        wire.settle()


def _drain(url: str, queues: Sequence[str], count: int) -> list[bytes]:
    """All messages of these queues, which are so many."""
    found: list[bytes] = []
    deadline = time.monotonic() + PATIENCE
    with Wire(url) as wire:
        # What is confirmed is there, but a quorum queue may be slow to say so.
        while (waiting := sum(wire.counts(queue)[0] for queue in queues)) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        if waiting != count:
            raise ValueError(f"{waiting} messages came out and should be {count}")
        for queue in queues:
            wire.consume(queue, 0, no_ack=True)
        while len(found) < count:
            found += map(bytes, wire.receive())
    return found


def _check_empty(url: str, queue: str, setting: Setting) -> None:
    """All is acknowledged: once its consumers are gone, what did not come back does not stand before a new message."""
    if setting.kind == "quorum":  # a busy one forgets acknowledgements that it still holds when their channel closes
        return
    deadline = time.monotonic() + PATIENCE
    with Wire(url) as wire:
        while (counts := wire.counts(queue))[1] and time.monotonic() < deadline:
            time.sleep(0.005)
        wire.confirm()
        wire.target(queue, persistent=False)
        wire.publish([b"last"])
        wire.settle()
        wire.consume(queue, 1, no_ack=True)
        while not (found := wire.receive()):
            pass
        if counts[1] or found[0] != b"last":
            raise ValueError(f"not everything was acknowledged: {counts[0]} messages came back")


def _work_together(
    side: Side, url: str, sources: Sequence[str], targets: Sequence[str], setting: Setting, workers: int, size: int
) -> float:
    context = multiprocessing.get_context("spawn")
    shared, ready, ends = context.Value("q", 0), context.Barrier(workers + 1), context.SimpleQueue()
    processes = []
    for number in range(workers):
        source, target = sources[number % len(sources)], targets[number % len(targets)]
        job = Job(url, source, target, setting, Counted(size, shared))
        processes.append(context.Process(target=_worker, args=(side, job, ready, ends), daemon=True))
    try:
        for process in processes:
            process.start()
        ready.wait(PATIENCE)
        start = time.monotonic()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a worker process failed")
    return max(float(ends.get()) for _ in processes) - start


def _worker(side: Side, job: Job, ready: Any, ends: Any) -> None:
    work = side.load()
    ready.wait(PATIENCE)
    work(job)
    ends.put(getattr(job.progress, "last", 0.0) or time.monotonic())
