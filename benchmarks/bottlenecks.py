"""Whether `warren.analytics.bottleneck` names the slow stage of random pipelines, and nothing where none is slow.

    python -m benchmarks.bottlenecks [--trials 300] [--hours 60]

Pipelines have three to eight steps, in the pipeline's thread or asynchronous with 1 to 32 calls at once, and a sink. Service
times are constant, exponential or lognormal, with a mean of up to 250 ms. In a trial one of them, the slow one, passes 20
to 200 messages a second, and the others at least 1.5 to 4 times as many. More come than it passes, 1.3 times as many or
more, but fewer than the others pass; or the source always has more than the credit. After ten seconds of flow it has to be
named. In the hours without a slow one, the busiest passes 3 to 30 messages a second and is at work for 0.3 to 0.7 of the
time; every ten seconds in which something is named are a false claim. It runs in virtual time, the same for the same seed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from warren import Pipeline
from warren.analytics import Bottleneck, Flows, Recorder, bottleneck, limits
from warren.connectors import memory
from warren.core.graph import Operator, SinkConnection
from warren.core.message import Outgoing
from warren.operators import map
from warren.pipelines.trial import Ends
from warren.pipelines.virtual import VirtualLoop

__all__ = ["Drawn", "Stage", "claims", "draw", "main", "named", "run"]

FLOW = 10.0
"""Seconds of flow after which the slow stage has to be named."""
QUIET = 1800.0
"""Seconds of flow of one pipeline without a slow stage."""
LONGEST = 0.25
"""The longest mean of service times, in seconds."""
START = 1_700_000_000.0
OUT = "memory:out"


@dataclass(frozen=True)
class Stage:
    """A step, or the sink: what it can pass in a second, with how many calls at once, and how its service times vary.

    Steps with no ``concurrency`` run in the pipeline's thread.
    """

    name: str
    rate: float
    concurrency: int
    law: str

    @property
    def service(self) -> float:
        return max(self.concurrency, 1) / self.rate


@dataclass(frozen=True)
class Drawn:
    """A pipeline by lot: its steps and then its sink, which of them is slow, what comes, and when."""

    stages: Sequence[Stage]
    slow: Stage
    at: Sequence[float]
    credit: int | None
    way: str


def length(draw: random.Random, law: str, mean: float) -> float:
    """A service time."""
    if law == "constant":
        return mean
    if law == "exponential":
        return draw.expovariate(1 / mean)
    return mean * draw.lognormvariate(-0.5, 1.0)


def draw(seed: object, *, slow: bool) -> Drawn:
    """A pipeline by lot."""
    lot = random.Random(f"{seed}:{slow}")
    rate = (20 if slow else 3) * 10 ** lot.random()
    count = lot.randint(3, 8)
    kinds = [lot.choice(["thread", "async", "async"]) for _ in range(count)] + ["sink"]
    chosen = lot.choice([place for place in range(count + 1) if kinds[place] != "sink" or lot.random() < 0.5])
    margin = lot.uniform(1.5, 4)
    passes = [rate if place == chosen else rate * margin * lot.choice([1, lot.uniform(1, 4)]) for place in range(count + 1)]
    # Steps that share the thread pass together what each would pass alone.
    shared = [place for place, kind in enumerate(kinds) if kind == "thread"]
    whole = sum(passes[chosen] / passes[place] for place in shared) if kinds[chosen] == "thread" else len(shared)
    stages = []
    for place, kind in enumerate(kinds):
        most = passes[place] * (whole if kind == "thread" else 1)
        law = lot.choice(["constant", "exponential", "lognormal"])
        able = [many for many in (1, 2, 4, 8, 16, 32) if many <= max(1, most * LONGEST)]
        many = 0 if kind == "thread" else 1 if kind == "sink" else lot.choice(able)
        stages.append(Stage(OUT if kind == "sink" else f"{place + 1}:map(step)", most, many, law))
    credit = lot.choice([None, None, 256, 1024])
    if not slow:
        return Drawn(stages, stages[chosen], list(_poisson(lot, rate * lot.uniform(0.3, 0.7), QUIET)), credit, "quiet")
    if lot.random() < 0.3:
        credit = lot.choice([64, 128, 256])
        return Drawn(stages, stages[chosen], [0.0] * (round(rate * 2 * FLOW) + credit), credit, "at once")
    more = rate * lot.uniform(1.3, max(1.4, 0.95 * margin))
    return Drawn(stages, stages[chosen], list(_poisson(lot, more, 1.2 * FLOW)), credit, "as time goes by")


def _poisson(lot: random.Random, rate: float, until: float) -> Iterator[float]:
    now = lot.expovariate(rate)
    while now < until:
        yield now
        now += lot.expovariate(rate)


def run(drawn: Drawn, seed: object, folder: str) -> None:
    """Run a pipeline in virtual time, and record it."""
    lot = random.Random(f"{seed}:times")
    first, *rest = (_step(stage, lot) for stage in drawn.stages[:-1])
    steps: Operator[Any, Any] = first
    for step in rest:
        steps = steps | step
    flow = memory.queue("in") | steps | memory.queue("out")
    pipeline = Pipeline("drawn", flow, credit=drawn.credit, observers=[Recorder(folder)])
    pipeline.test(range(len(drawn.at)), at=drawn.at, start=START, faults=_SlowSink(drawn.stages[-1], lot))


def _step(stage: Stage, lot: random.Random) -> Operator[Any, Any]:
    if stage.concurrency:

        async def step(value: Any) -> Any:
            await asyncio.sleep(length(lot, stage.law, stage.service))
            return value

        return map(step, concurrency=stage.concurrency)

    def blocking(value: Any) -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.block(length(lot, stage.law, stage.service))
        return value

    blocking.__name__ = "step"
    return map(blocking)


class _SlowSink(Ends):
    """Writes as a sink does that confirms one message after another."""

    def __init__(self, stage: Stage, lot: random.Random) -> None:
        self.stage = stage
        self.lot = lot

    def sink(self, name: str, connection: SinkConnection, *, dead: bool) -> SinkConnection:
        return connection if dead else _Slow(connection, self.stage, self.lot)


class _Slow:
    def __init__(self, connection: SinkConnection, stage: Stage, lot: random.Random) -> None:
        self.connection = connection
        self.stage = stage
        self.lot = lot

    async def write(self, messages: Outgoing) -> None:
        await asyncio.sleep(sum(length(self.lot, self.stage.law, self.stage.service) for _ in messages.values))
        await self.connection.write(messages)

    async def close(self) -> None:
        await self.connection.close()


def named(seed: int) -> tuple[Drawn, Bottleneck | None]:
    """A pipeline with a slow stage, and what is named after ten seconds of flow."""
    drawn = draw(seed, slow=True)
    with tempfile.TemporaryDirectory() as folder:
        run(drawn, seed, folder)
        until = datetime.fromtimestamp(START + drawn.at[0], UTC) + timedelta(seconds=FLOW)
        return drawn, bottleneck(Flows(folder), until=until)


def claims(seed: int) -> tuple[Drawn, float, list[str]]:
    """A pipeline without a slow stage, the hours it was looked at, and what was named falsely, every ten seconds."""
    drawn = draw(seed, slow=False)
    with tempfile.TemporaryDirectory() as folder:
        run(drawn, seed, folder)
        found = limits(Flows(folder), "10s")
    return drawn, found.height * 10 / 3600, found["stage"].drop_nulls().to_list()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300, help="pipelines with a slow stage")
    parser.add_argument("--hours", type=float, default=60.0, help="virtual hours without one")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--verbose", action="store_true", help="show what was named wrongly")
    options = parser.parse_args(argv)
    began = time.perf_counter()
    right, all_of = Counter[str](), Counter[str]()
    for seed in range(options.seed, options.seed + options.trials):
        drawn, found = named(seed)
        kind = "sink" if drawn.slow.name == OUT else "asynchronous" if drawn.slow.concurrency else "thread"
        good = found is not None and found.stage == drawn.slow.name
        for group in (kind, drawn.way, drawn.slow.law, "all"):
            all_of[group] += 1
            right[group] += good
        if options.verbose and not good:
            print(f"seed {seed}: {drawn.slow}, {drawn.way}, credit {drawn.credit}: {found}")
    hours, false, seed = 0.0, 0, options.seed
    while hours < options.hours:
        drawn, more, wrong = claims(seed)
        hours, false = hours + more, false + len(wrong)
        if options.verbose and wrong:
            print(f"seed {seed}: {len(wrong)} claims: {Counter(wrong)}, of {drawn.stages}")
        seed += 1
    table = Table(title=f"bottlenecks, seeds from {options.seed}, {time.perf_counter() - began:.0f} s", title_justify="left")
    for name in ("slow", "pipelines", "named after 10 s", "share"):
        table.add_column(name, justify="left" if name == "slow" else "right")
    for group in sorted(all_of, key=lambda group: (group == "all", group)):
        table.add_row(group, f"{all_of[group]}", f"{right[group]}", f"{right[group] / all_of[group]:.1%}")
    Console().print(table)
    per_hour = false / hours if hours else 0.0
    print(f"{false} false claims in {hours:.1f} hours without a slow stage: {per_hour:.3f} an hour")
    return 0 if right["all"] >= 0.95 * all_of["all"] and per_hour <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
