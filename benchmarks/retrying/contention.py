"""Clients that write to one record under optimistic concurrency control, in simulated time.

After Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): each client reads the record, then writes it,
and the write succeeds where nobody has written in between. Every message takes a time of its own through the network. A
client that fails waits as its policy says and begins again; one that has succeeded once is done.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol

from warren.analytics.retries import AdaptiveBackoff

__all__ = ["CLIENTS", "Result", "Waits", "adaptive", "decorrelated", "equal", "exponential", "full", "never", "run"]

CLIENTS = range(20, 191, 10)

BASE, CAP = 0.005, 2.0
"""Seconds that a wait begins with, and the longest."""

_NETWORK, _SPREAD = 0.010, 0.002
_ENDLESS = 10**9
_CONFLICT = RuntimeError("the record was written in between")


class Waits(Protocol):
    """What one client, or all of them, ask how long to wait."""

    def wait(self, failed: int, now: float) -> float:
        """Seconds to wait after so many attempts have failed."""

    def ended(self, delay: float, attempts: int, ok: bool, now: float) -> None:
        """An attempt after ``delay`` seconds of waiting has ended."""


@dataclass(frozen=True)
class Result:
    """Seconds until the last client was done, and how many attempts all of them made."""

    seconds: float
    calls: int


def run(clients: int, waits: Callable[[random.Random], Waits], seed: int) -> Result:
    """One run; ``waits`` is called once for each client."""
    draw = random.Random(seed)
    policies = [waits(draw) for _ in range(clients)]
    failed = [0] * clients
    delays = [0.0] * clients
    seen = [0] * clients
    version, calls, now = 0, clients, 0.0
    # What happens next: the time, a number that keeps equal times in order, the client, and the step.
    events: list[tuple[float, int, int, int]] = []
    number = 0

    def send(at: float, client: int, step: int) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (at + abs(draw.gauss(_NETWORK, _SPREAD)), number, client, step))

    for client in range(clients):
        send(0.0, client, 0)
    while events:
        now, _, client, step = heapq.heappop(events)
        if step == 0:  # the record is read
            seen[client] = version
            send(now, client, 1)
        elif step == 1:  # the client knows it and writes
            send(now, client, 2)
        elif step == 2:  # the record is written, or somebody else was faster
            ok = seen[client] == version
            version += ok
            send(now, client, 3 + ok)
        else:
            policy, ok = policies[client], step == 4
            if failed[client]:
                policy.ended(delays[client], failed[client] + 1, ok, now)
            if not ok:
                failed[client] += 1
                delays[client] = policy.wait(failed[client], now)
                calls += 1
                send(now + delays[client], client, 0)
    return Result(now, calls)


class Plain:
    """Waits that learn nothing: a function of how many attempts have failed, and of the wait before."""

    def __init__(self, rule: Callable[[int, float], float]) -> None:
        self._rule = rule
        self._last = BASE

    def wait(self, failed: int, now: float) -> float:
        self._last = self._rule(failed, self._last)
        return self._last

    def ended(self, delay: float, attempts: int, ok: bool, now: float) -> None:
        """It does not listen."""


def _grown(failed: int) -> float:
    return min(CAP, BASE * 2.0 ** min(failed, 60))


def never(draw: random.Random) -> Waits:
    """Again at once."""
    return Plain(lambda failed, last: 0.0)


def exponential(draw: random.Random) -> Waits:
    """Twice as long each time, without jitter."""
    return Plain(lambda failed, last: _grown(failed))


def full(draw: random.Random) -> Waits:
    """Full jitter."""
    return Plain(lambda failed, last: draw.uniform(0, _grown(failed)))


def equal(draw: random.Random) -> Waits:
    """Equal jitter."""
    return Plain(lambda failed, last: _grown(failed) / 2 + draw.uniform(0, _grown(failed) / 2))


def decorrelated(draw: random.Random) -> Waits:
    """Decorrelated jitter."""
    return Plain(lambda failed, last: min(CAP, draw.uniform(BASE, 3 * last)))


class _Adaptive:
    def __init__(self, seed: int, maximum: float) -> None:
        self.policy = AdaptiveBackoff(2 * BASE, attempts=_ENDLESS, maximum=maximum, mode="act", seed=seed)

    def wait(self, failed: int, now: float) -> float:
        delay = self.policy.wait(failed, _CONFLICT, "conflict", now)
        return CAP if delay is None else delay

    def ended(self, delay: float, attempts: int, ok: bool, now: float) -> None:
        self.policy.ended("conflict", delay, attempts, ok, now)


def adaptive(processes: float = 1) -> Callable[[random.Random], Waits]:
    """The `AdaptiveBackoff` that the clients of a process share, over so many processes; ``inf`` for one each."""
    if processes == inf:
        return lambda draw: _Adaptive(draw.getrandbits(32), CAP)
    made: list[_Adaptive] = []

    def waits(draw: random.Random) -> Waits:
        if len(made) < processes:
            # A retry may wait for its turn, which the others' cap would cut short.
            made.append(_Adaptive(draw.getrandbits(32), 30 * CAP))
            return made[-1]
        return made[draw.randrange(len(made))]

    return waits
