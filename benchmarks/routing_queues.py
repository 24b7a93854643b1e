"""How long messages take by each policy of routing over real RabbitMQ queues, whose workers differ in speed.

Each policy has its queues and workers, and all get the same messages at the same time, so what disturbs one disturbs all.
What a worker does is to wait for as long as the work would take it: targets, their slow times, arrivals and sizes are those
of `benchmarks.routing`. Of a queue only the depth is known, read each second. The clairvoyant is simulated, and so is our
policy once more, on the same messages, as in a run this short it has little time to learn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.routing import DATA, LOADS
from benchmarks.routing_model.ours import Ours
from benchmarks.routing_model.plant import Message, Plant, Target, build, simulate
from benchmarks.routing_model.rivals import RIVALS
from benchmarks.routing_model.trace import read, synthetic
from warren import Pipeline
from warren.analytics.routing import EarliestFinish
from warren.connectors import memory, rabbitmq
from warren.core.message import Outgoing
from warren.operators import discard, map, route

__all__ = ["main"]

OURS, QUEUE, BEST = "EarliestFinish", "one shared queue", "clairvoyant"
SIMULATED = f"{OURS}, simulated"
SHOWN = ("round robin", "weighted round robin", "shortest queue, stale depth", "two choices, stale depth")
EVERY = 1.0
AHEAD = 5.0
PATIENCE = 300.0
"""Seconds after the last message in which all must be done."""


class Rival:
    """One of the other policies, as a function for `route` that is told depths."""

    def __init__(self, name: str, plant: Plant, now: Callable[[], float]) -> None:
        self.every = EVERY if "depth" in name else None
        self.policy = RIVALS[name](plant, 1)
        self.messages = plant.messages
        self.now = now

    def __call__(self, number: int) -> int:
        return self.policy.pick(self.messages[number], self.now())

    def reading(self, label: int, depth: int, at: float) -> None:
        self.policy.reading(label, depth, at, at)


class Lane:
    """One policy with its queues and its workers, and how long each message took."""

    def __init__(self, name: str, place: int, plant: Plant, broker: rabbitmq.Broker, now: Callable[[], float]) -> None:
        self.plant, self.now = plant, now
        self.took: dict[int, float] = {}
        self.done = asyncio.Event()
        self.late: list[float] = []
        self.put = memory.queue(f"in.{place}", int, broker=memory.Broker())
        count = 1 if name == QUEUE else len(plant.targets)
        queues = [
            rabbitmq.queue(f"routing.{place}.{i}", int, broker=broker, kind="classic", persistent=False)
            for i in range(count)
        ]
        choose: Any = lambda number: 0  # noqa: E731  # the one queue
        if name == OURS:
            choose = EarliestFinish(mode="act", ends="read", every=EVERY, size=lambda number: plant.messages[number].size)
        elif name != QUEUE:
            choose = Rival(name, plant, now)
        self.choose = choose
        flow = self.put | route(choose, dict(enumerate(queues)))
        self.pipelines = [Pipeline(f"route {name}", flow)]
        for i, target in enumerate(plant.targets):
            works = queues[i % count] | map(self._work(target), concurrency=target.workers, ordered=False) | discard()
            self.pipelines.append(Pipeline(f"{name} {i}", works, credit=target.workers))

    def _work(self, target: Target) -> Callable[[int], Any]:
        async def work(number: int) -> int:
            message, now = self.plant.messages[number], self.now()
            end = target.end(now, target.effort(message))
            await asyncio.sleep(end - now)
            self.late.append(self.now() - end)
            self.took.setdefault(number, self.now() - message.at)
            if len(self.took) == len(self.plant.messages):
                self.done.set()
            return number

        return work


async def measure(plant: Plant, url: str, names: Sequence[str]) -> tuple[dict[str, list[float]], list[float]]:
    """Send all messages at their times to each policy; gives how long each took, and how late workers woke up."""
    loop = asyncio.get_running_loop()
    start = loop.time()

    def now() -> float:
        return loop.time() - start

    lanes = [Lane(name, place, plant, rabbitmq.Broker(url), now) for place, name in enumerate(names)]
    running = [pipeline.start() for lane in lanes for pipeline in lane.pipelines]
    puts = [await lane.put.open() for lane in lanes]
    # All is to be connected by then.
    start = loop.time() + AHEAD
    await _send(plant.messages, puts, now)
    async with asyncio.timeout(PATIENCE):
        for lane in lanes:
            await lane.done.wait()
    for one in running:
        one.stop()
    await asyncio.gather(*(one for one in running))
    took = {name: list(lane.took.values()) for name, lane in zip(names, lanes, strict=True)}
    return took, [late for lane in lanes for late in lane.late]


async def _send(messages: Sequence[Message], puts: Sequence[Any], now: Callable[[], float]) -> None:
    sent = 0
    while sent < len(messages):
        await asyncio.sleep(max(0.0, messages[sent].at - now()))
        end = sent + 1
        while end < len(messages) and messages[end].at <= now():
            end += 1
        for put in puts:
            await put.write(Outgoing(range(sent, end)))
        sent = end


@contextmanager
def broker(url: str | None) -> Iterator[str]:
    """The address of a broker; a private node unless one is given."""
    if url:
        yield url
        return
    from tests.brokers.plugin import newest_of_ours
    from tests.brokers.rabbitmq import Node

    with Node(newest_of_ours()) as node:
        print(f"RabbitMQ {node.version}")
        yield node.url


def _speed(plant: Plant) -> float:
    """The work that a worker does in a second, in the mean."""
    ends = [(target.capacity(end := plant.messages[-1].at), end, target.workers) for target in plant.targets]
    return sum(done * workers for done, _, workers in ends) / sum(end * workers for _, end, workers in ends)


def _table(title: str, shown: dict[str, list[float]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("policy", "p50", "p95", "p99", "p99 / clairvoyant", f"p99 / {OURS}"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    for name, found in sorted(shown.items(), key=lambda item: -item[1][2]):
        ratios = (found[2] / shown[BEST][2], found[2] / shown[OURS][2])
        table.add_row(name, *(f"{value:.2f}" for value in (*found, *ratios)))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and print a table for each load."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing_queues", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get(DATA), help=f"the folder of the trace, or {DATA}")
    parser.add_argument("--url", help="measure on this broker instead of starting one")
    parser.add_argument("--load", type=float, action="append", help="0.7 and 0.9 unless given")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long messages come")
    parser.add_argument("--pace", type=float, default=10.0, help="how many times as fast messages come as they did")
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--policy", action="append", choices=(*SHOWN, QUEUE), help="beside ours; all unless given")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    whole = (read(Path(options.data)) if options.data else synthetic()).part(0.5, 1.0, options.pace)
    trace = whole.part(0.0, float((whole.at < options.seconds).mean()))
    console, names, rows = Console(), (*(options.policy or (*SHOWN, QUEUE)), OURS), []
    with broker(options.url) as url:
        for load in options.load or LOADS:
            plant = build(trace, load, options.seed)
            took, late = asyncio.run(measure(plant, url, names))
            took[BEST] = simulate(plant, [RIVALS[BEST](plant, 1)])
            again = build(trace, load, options.seed)
            took[SIMULATED] = simulate(again, [Ours(again, 1, ends="read")])
            shown = {name: np.percentile(seconds, (50, 95, 99)).tolist() for name, seconds in took.items()}
            title = f"{len(trace.at)} messages in {trace.at[-1]:.0f} s, load {load}: seconds from arrival to the end"
            console.print(_table(title, shown))
            console.print(
                f"Workers woke up {1000 * np.mean(late):.0f} ms late in the mean: where that is much of a message's"
            )
            console.print(
                f"{np.mean([message.work for message in plant.messages]) / _speed(plant):.2f} s, the machine was too busy."
            )
            rows += [
                {
                    "benchmark": "routing_queues",
                    "case": f"queues {load}",
                    "subject": name,
                    "value": round(found[2] / shown[BEST][2], 3),
                    "unit": "p99 / clairvoyant",
                    "better": "lower",
                }
                for name, found in shown.items()
            ]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
