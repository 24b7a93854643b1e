"""Targets with speeds that change, and a simulation of messages on their way to them, exact and the same for each seed."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import numpy as np

from benchmarks.routing_model.trace import Trace

__all__ = ["Message", "Plant", "Policy", "Target", "build", "shared", "simulate"]

READ_EVERY = READ_LATE = 1.0
"""Depths are read each second, and known a second later."""

REFUSED, AGAIN = 0.02, 0.1
"""Seconds until a failing target answers with an error, and until the message is routed again."""

WORKERS = ((0.5, 2), (0.6, 1), (0.7, 2), (0.8, 4), (1.0, 1), (1.0, 2), (1.3, 2), (1.6, 1), (2.0, 2))
"""The speed and the number of the workers of each target."""


@dataclass(slots=True, eq=False)
class Message:
    """One message: what a policy may know of it (``size`` and ``kind``), and the work that it takes in truth."""

    at: float
    size: float
    kind: int
    work: float
    tries: int = 0


class Target:
    """One target: first come, first served, by workers whose common speed changes at known times.

    As a message's end is decided when it is put in, nothing but that end has to be simulated.
    """

    def __init__(
        self, speed: float, workers: int, times: Sequence[float], factors: Sequence[float], fails: Any = ()
    ) -> None:
        self.speed, self.workers = speed, workers
        self.strengths: Sequence[float] = ()
        self.times = list(times)
        self.speeds = [speed * factor for factor in factors]
        self.fails = list(fails)
        self.done = [0.0]
        for start, end, rate in zip(self.times, self.times[1:], self.speeds, strict=False):
            self.done.append(self.done[-1] + (end - start) * rate)
        self.free = [0.0] * workers
        self.depth = 0

    def scale(self, by: float) -> None:
        """Make it so many times as fast."""
        self.speeds = [speed * by for speed in self.speeds]
        self.done = [done * by for done in self.done]

    def capacity(self, at: float) -> float:
        """The work that one worker can have done by a time."""
        i = bisect_right(self.times, at) - 1
        return self.done[i] + (at - self.times[i]) * self.speeds[i]

    def speed_at(self, at: float) -> float:
        """The speed of each worker at a time."""
        return self.speeds[bisect_right(self.times, at) - 1]

    def failing(self, at: float) -> bool:
        """Whether what begins now fails."""
        return any(start <= at < end for start, end in self.fails)

    def effort(self, message: Message) -> float:
        """The work that a message takes here."""
        return message.work / self.strengths[message.kind] if self.strengths else message.work

    def finish(self, message: Message, at: float) -> float:
        """When a message put in now would be done, did the speed stay as it is."""
        left = max(0.0, self.capacity(self.free[0]) - self.capacity(at)) if self.free[0] > at else 0.0
        return at + (left + self.effort(message)) / self.speed_at(at)

    def end(self, start: float, work: float) -> float:
        """When work that begins at a time is done."""
        goal = self.capacity(start) + work
        i = min(bisect_right(self.done, goal) - 1, len(self.times) - 1)
        return self.times[i] + (goal - self.done[i]) / self.speeds[i]

    def take(self, message: Message, at: float) -> tuple[float, bool]:
        """Put a message in; answers when it ends, and whether well."""
        start = max(at, self.free[0])
        well = not self.failing(start)
        end = self.end(start, self.effort(message)) if well else start + REFUSED
        heapq.heapreplace(self.free, end)
        return end, well


@dataclass
class Plant:
    """Targets and the messages that come to them."""

    targets: list[Target]
    messages: list[Message]


def build(
    trace: Trace,
    load: float,
    seed: int,
    *,
    noise: float = 0.2,
    slow: tuple[float, float] = (60.0, 15.0),
    fail: tuple[float, float] | None = None,
    kinds: int = 1,
    workers: Sequence[tuple[float, int]] = WORKERS,
) -> Plant:
    """Targets of the speeds that make ``load`` the share of the work that they can do.

    - ``noise``: the deviation of the logarithm of a message's work from its size
    - ``slow``: how many seconds a target is usually left alone, and then slowed down 2 to 5 times
    - ``fail``: the same for answering with errors
    - ``kinds``: with several, each target has a strength of its own for each, a third to three times the usual
    """
    random = np.random.default_rng(seed)
    work = trace.size * np.exp(random.normal(0, noise, len(trace.size)) - noise * noise / 2)
    kind = random.integers(0, kinds, len(work))
    messages = [
        Message(*each) for each in zip(trace.at.tolist(), trace.size.tolist(), kind.tolist(), work.tolist(), strict=True)
    ]
    end = float(trace.at[-1])
    targets = []
    for speed, number in workers:
        times, factors = [0.0], [1.0]
        for start, stop in _spells(random, slow, end):
            times += [start, stop]
            factors += [1 / random.uniform(2, 5), 1.0]
        targets.append(Target(speed, number, times, factors, _spells(random, fail, end) if fail else ()))
        if kinds > 1:
            targets[-1].strengths = np.exp(random.uniform(-np.log(3), np.log(3), kinds)).tolist()
    able = sum(target.workers * target.capacity(end) for target in targets)
    for target in targets:
        target.scale(float(work.sum()) / load / able)
    return Plant(targets, messages)


def _spells(random: np.random.Generator, lengths: tuple[float, float], end: float) -> list[tuple[float, float]]:
    found = []
    at = random.exponential(lengths[0])
    while at < end:
        stop = at + random.exponential(lengths[1])
        found.append((float(at), float(stop)))
        at = stop + random.exponential(lengths[0])
    return found


class Policy(Protocol):
    """What is simulated: one router's choice. ``index`` is the place of a target."""

    def choose(self, message: Message, at: float) -> tuple[int, Any]:
        """The target for a message, and something to be told of its end by."""
        ...

    def ended(self, ticket: Any, index: int, seconds: float, well: bool, at: float) -> None:
        """A message has ended after so many seconds at the target."""

    def reading(self, index: int, depth: int, read: float, at: float) -> None:
        """So many messages were at a target at the time ``read``."""


def simulate(plant: Plant, policies: Sequence[Policy]) -> list[float]:
    """Route every message, each by the next router in turn; gives the seconds from a message's arrival to its success."""
    order = count()
    events: list[tuple[float, int, str, Any]] = [(message.at, next(order), "come", message) for message in plant.messages]
    last, left = plant.messages[-1].at, len(events)
    heapq.heapify(events)
    if events:
        heapq.heappush(events, (READ_EVERY, next(order), "read", None))
    seconds: list[float] = []
    turn = 0
    while left:
        at, _, what, about = heapq.heappop(events)
        if what == "come":
            policy = policies[turn % len(policies)]
            turn += 1
            index, ticket = policy.choose(about, at)
            target = plant.targets[index]
            target.depth += 1
            end, well = target.take(about, at)
            heapq.heappush(events, (end, next(order), "end", (policy, ticket, index, about, at, well)))
        elif what == "end":
            policy, ticket, index, message, sent, well = about
            plant.targets[index].depth -= 1
            policy.ended(ticket, index, at - sent, well, at)
            if well:
                seconds.append(at - message.at)
                left -= 1
            else:
                message.tries += 1
                heapq.heappush(events, (at + AGAIN, next(order), "come", message))
        elif what == "read":
            depths = [target.depth for target in plant.targets]
            heapq.heappush(events, (at + READ_LATE, next(order), "told", (depths, at)))
            if at < last + 600:
                heapq.heappush(events, (at + READ_EVERY, next(order), "read", None))
        else:
            depths, read = about
            for policy in policies:
                for index, depth in enumerate(depths):
                    policy.reading(index, depth, read, at)
    return seconds


def shared(plant: Plant) -> list[float]:
    """One queue for all: whichever worker has been free the longest takes the next message."""
    free = [
        (0.0, i, index) for i, index in enumerate(k for k, target in enumerate(plant.targets) for _ in range(target.workers))
    ]
    heapq.heapify(free)
    waiting = [(message.at, i, message) for i, message in enumerate(plant.messages)]
    heapq.heapify(waiting)
    seconds = []
    while waiting:
        at, i, message = heapq.heappop(waiting)
        ready, worker, index = heapq.heappop(free)
        target, start = plant.targets[index], max(at, ready)
        if target.failing(start):
            end = start + REFUSED
            message.tries += 1
            heapq.heappush(waiting, (end + AGAIN, i, message))
        else:
            end = target.end(start, target.effort(message))
            seconds.append(end - message.at)
        heapq.heappush(free, (end, worker, index))
    return seconds
