"""How fast a pipeline like the recorded one would be with another setting, played in virtual time."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from warren.analytics.flows import Flows
from warren.analytics.loads import Load, Loads
from warren.connectors import memory
from warren.core.graph import Operator, SinkConnection
from warren.core.message import Outgoing
from warren.core.receipt import Delivery, Outcome
from warren.operators import map
from warren.pipelines.pipeline import Pipeline
from warren.pipelines.trial import Ends
from warren.pipelines.virtual import VirtualLoop

__all__ = ["Twin"]

_LARGEST = 2000
"""A larger credit is taken for one that never limits."""
_LEAST = 30
_PLACE = re.compile(r"\d+")


class Twin:
    """A pipeline that takes as long for everything as the recorded one, whose source always has more.

    Calls take as long as those that were noted, in a random order; the thread and sinks take the mean. Where values go to
    several branches, each takes its share of the time of every value.
    """

    def __init__(self, flows: Flows, name: str, loads: Loads, credit: int, unordered: Sequence[str] = ()) -> None:
        self.credit = credit
        self._unordered = unordered
        stages = [load for stage, load in loads.stages.items() if stage != loads.source]
        self._steps = sorted((load for load in stages if not load.is_sink), key=lambda load: _place(load.stage))
        self._sink = sum(load.visits * load.busy / load.served for load in stages if load.is_sink and load.served)
        self._calls = {load.stage: _calls(flows, name, load) for load in self._steps if load.workers and load.served}

    def gain(self, stage: str, workers: int) -> float:
        """How many times the rate passes with so many calls at once in one stage; infinite where it cannot be told."""
        if self.credit > _LARGEST:
            return float("inf")
        before, after = self.rate({}), self.rate({stage: workers})
        return after / before if before > 0 else float("inf")

    def rate(self, workers: Mapping[str, int]) -> float:
        """Messages a second, with other numbers of calls at once in some stages; 0 where that takes no time."""
        lot, ends = random.Random(0), _Settled()
        steps: Operator[Any, Any] = map(_same)
        for load in self._steps:
            if load.computes > 0:
                steps = steps | _blocking(load.computes)
            if load.stage in self._calls:
                steps = steps | self._calling(load, workers.get(load.stage, load.workers), lot)
        flow = memory.queue("in") | steps | memory.queue("out")
        count = max(1000, 8 * self.credit)
        twin = Pipeline("twin", flow, credit=self.credit, observers=[ends])
        twin.test(range(count), at=[0.0] * count, faults=_Sink(self._sink))
        first, last = ends.at[count // 5], ends.at[count * 4 // 5]
        return 0.6 * count / (last - first) if last > first else 0.0

    def _calling(self, load: Load, workers: int, lot: random.Random) -> Operator[Any, Any]:
        calls = self._calls[load.stage]

        async def call(value: Any) -> Any:
            await asyncio.sleep(lot.choice(calls))
            return value

        return map(call, concurrency=workers, ordered=load.stage not in self._unordered)


def _place(stage: str) -> list[int]:
    return [int(number) for number in _PLACE.findall(stage.partition(":")[0])]


def _calls(flows: Flows, name: str, load: Load) -> list[float]:
    """Times of calls as they were noted, made as long in the mean as all of them were."""
    mean = load.visits * load.busy / load.served
    chosen = (pl.col("pipeline").cast(pl.String) == name) & (pl.col("stage").cast(pl.String) == load.stage)
    noted = flows.workers.filter(chosen).select(pl.col("service").drop_nulls()).collect()["service"].to_list()
    whole = sum(noted)
    return [each * len(noted) * mean / whole for each in noted] if len(noted) >= _LEAST and whole > 0 else [mean]


def _same(value: Any) -> Any:
    return value


def _blocking(seconds: float) -> Operator[Any, Any]:
    def block(value: Any) -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.block(seconds)
        return value

    return map(block)


class _Sink(Ends):
    """A sink that takes so long for each message."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def sink(self, name: str, connection: SinkConnection, *, dead: bool) -> SinkConnection:
        return _Slow(connection, self.seconds)


class _Slow:
    def __init__(self, connection: SinkConnection, seconds: float) -> None:
        self.connection = connection
        self.seconds = seconds

    async def write(self, messages: Outgoing) -> None:
        await asyncio.sleep(self.seconds * len(messages.values))
        await self.connection.write(messages)

    async def close(self) -> None:
        await self.connection.close()


class _Settled:
    """An observer that notes when messages reach their ends."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def open(self, pipeline: str) -> None: ...

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome, at: float) -> None:
        self.at += [at] * len(tokens)

    def handled(
        self, stage: str, taken: int, given: int, failed: int, start: float, end: float, credit: int, depth: int | None
    ) -> None: ...

    def close(self) -> None: ...
