"""A pipeline against the model of the protocol, under seeded faults in virtual time: nothing that was confirmed is lost.

``python -m tests.chaos.schedules [--first 0] [--count 10000] [--processes 2]`` plays many and prints what struck.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import sys
import time
from collections import Counter
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.brokers.model import ModelBroker, Schedule, play
from warren import Pipeline, exponential
from warren.connectors import rabbitmq
from warren.core.message import Metadata, Outgoing
from warren.operators import batch, flat_map, map, retry

__all__ = ["run"]

COUNT = 24
BAD_EVERY, BUSY_EVERY = 11, 5
"""Which messages always fail, and which fail at first."""


def run(seed: int) -> Counter[str]:
    """Play the schedule of one seed; returns how often each kind of fault struck. Raises where anything was lost."""
    schedule = Schedule(seed)
    play(lambda broker: _work(broker, seed), schedule)
    return Counter(fault.kind for fault in schedule.struck)


async def _work(model: ModelBroker, seed: int) -> None:
    kind: Any = "classic" if seed % 3 == 0 else "quorum"
    broker = rabbitmq.Broker(
        model.url,
        lane=seed % 4 != 3,
        heartbeat="2s",
        patience="60s",
        backoff=("20ms", "500ms"),
        cooldown="200ms",
    )
    pipeline = _pipeline(broker, kind, seed)
    running = pipeline.start()
    ended = asyncio.ensure_future(running)
    confirmed = await _publish(broker, kind, model.schedule.span)
    expected = {b"%d" % number for number in range(COUNT)}
    assert confirmed == expected
    while not expected <= _bodies(model, "out") | _bodies(model, "relay.dead"):
        if ended.done():
            await ended
            raise AssertionError("the pipeline has ended")
        await asyncio.sleep(0.2)
    running.stop()
    await ended
    assert _bodies(model, "relay.dead")
    assert model.ledger.lost() == []


def _bodies(model: ModelBroker, name: str) -> set[bytes]:
    queue = model.vhosts["/"].queues.get(name)
    return {copy.message.body for copy in (*queue.held, *queue.returned, *queue.ready)} if queue is not None else set()


def _pipeline(broker: rabbitmq.Broker, kind: Any, seed: int) -> Pipeline:
    tried: Counter[int] = Counter()

    async def handle(body: bytes) -> bytes:
        number = int(body)
        tried[number] += 1
        await asyncio.sleep(0.01)
        if number % BAD_EVERY == 0:
            raise ValueError(f"{number} is bad")
        if number % BUSY_EVERY == 0 and tried[number] < 3:
            raise ConnectionError("busy")
        return body

    step = map(handle, concurrency=4, ordered=bool(seed % 2))
    # A delay above 30 ms is parked in a delay queue, so both ways are taken.
    again = retry(exponential("25ms", attempts=4, jitter="none"), on=ConnectionError, park="30ms")
    steps = step | again | batch(3, "40ms") | flat_map(list) if seed % 5 == 0 else step | again
    source = rabbitmq.queue("in", broker=broker, kind=kind, max_deliveries=None)
    return Pipeline("relay", source | steps | rabbitmq.queue("out", broker=broker, kind=kind), credit=8, shutdown="60s")


async def _publish(broker: rabbitmq.Broker, kind: Any, span: float) -> set[bytes]:
    confirmed: set[bytes] = set()
    connection = await rabbitmq.queue("in", broker=broker, kind=kind).open()
    try:
        for first in range(0, COUNT, 2):
            bodies = [b"%d" % number for number in range(first, first + 2)]
            metadata = [Metadata(id=body.decode(), content_type="text/plain") for body in bodies]
            await connection.write(Outgoing(bodies, metadata.__getitem__))
            confirmed.update(bodies)
            await asyncio.sleep(2 * span / COUNT)
    finally:
        await connection.close()
    return confirmed


def _attempt(seed: int) -> tuple[int, Counter[str], str]:
    for name in ("aiormq", "aio_pika", "warren"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return seed, run(seed), ""
    except BaseException as error:
        return seed, Counter(), f"{type(error).__name__}: {error}\n" + "\n".join(getattr(error, "__notes__", ()))


def main() -> int:
    """Play as many as the command line says; exit code 1 where anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.schedules")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    console = Console()
    start = time.monotonic()
    struck: Counter[str] = Counter()
    failed: list[tuple[int, str]] = []
    seeds = range(options.first, options.first + options.count)
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        played = pool.imap_unordered(_attempt, seeds, chunksize=20)
        for seed, faults, problem in track(played, "schedules", len(seeds), console=console):
            struck += faults
            if problem:
                failed.append((seed, problem))
    table = Table(
        "fault", "struck", title=f"{len(seeds):,} schedules in {time.monotonic() - start:.0f} s, {len(failed)} failed"
    )
    for kind, count in struck.most_common():
        table.add_row(kind, f"{count:,}")
    console.print(table)
    for seed, problem in failed[:5]:
        console.print(f"seed {seed}: {problem}", markup=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
