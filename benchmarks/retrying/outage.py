"""A service with a queue that stops for ten seconds, and clients that time out and try again, in simulated time.

Requests come by a Poisson process; one server takes exponential times for them, in order. A client waits for a second; what
it has given up stays in the queue and is served all the same, which is what keeps an overloaded service down. A full
queue refuses at once. Some answers are errors, by chance.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from warren.analytics.retries import AdaptiveBackoff
from warren.operators.backoff import Backoff, exponential
from warren.operators.budget import Account, Budget

__all__ = ["AGAIN", "CAPACITY", "END", "Budgeted", "Learned", "Never", "Plain", "Policy", "Result", "run"]

CAPACITY = 200.0  # requests a second
QUEUE = 400
PATIENCE = 1.0
STOP, AGAIN = 30.0, 40.0
END = 100.0
_HEALTHY, _STEADY = 0.95, 20
_SLICE = 0.25


class Policy(Protocol):
    """Decides on retries."""

    def came(self) -> None:
        """A request came for the first time."""

    def wait(self, failed: int, error: Exception, now: float) -> float | None:
        """Seconds to wait, or ``None`` to give up."""

    def ended(self, error: Exception | None, delay: float, attempts: int, ok: bool, now: float) -> None:
        """An attempt has ended; ``error`` is what the one before had failed with."""


@dataclass(frozen=True)
class Result:
    """Seconds from the end of the outage until first attempts are answered in time again, and for good.

    ``peak`` is the most attempts of a second beside the usual number of requests, ``success`` the share of all requests that
    succeeded in the end.
    """

    recovery: float
    peak: float
    success: float


def run(load: float, policy: Policy, seed: int, *, errors: float = 0.02, stops: bool = True) -> Result:
    """One run; the service stops for a while unless told not to."""
    draw = random.Random(seed)
    rate = load * CAPACITY
    events: list[tuple[float, int, Callable[[float], None]]] = []
    queue: deque[_Attempt] = deque()
    number = requests = succeeded = 0
    busy = False
    attempts = [0] * int(END + 1)
    asked = [0] * int(END / _SLICE + 1)
    answered = asked.copy()

    def at(time: float, what: Callable[[float], None]) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (time, number, what))

    def come(now: float) -> None:
        nonlocal requests
        requests += 1
        policy.came()
        asked[int(now / _SLICE)] += 1
        send(_Attempt(now, 1, 0.0, None), now)
        if (after := now + draw.expovariate(rate)) < END:
            at(after, come)

    def send(attempt: _Attempt, now: float) -> None:
        if now < END:
            attempts[int(now)] += 1
        if len(queue) >= QUEUE:
            end(attempt, _REFUSED, now)
            return
        queue.append(attempt)
        at(now + PATIENCE, lambda now: end(attempt, _LATE, now))
        serve(now)

    def serve(now: float) -> None:
        nonlocal busy
        if queue and not busy:
            if stops and STOP <= now < AGAIN:
                return
            busy = True
            at(now + draw.expovariate(CAPACITY), served)

    def served(now: float) -> None:
        nonlocal busy
        busy = False
        attempt = queue.popleft()
        if attempt.number == 1 and not attempt.ended:
            answered[int(attempt.came / _SLICE)] += 1
        end(attempt, _BY_CHANCE if draw.random() < errors else None, now)
        serve(now)

    def end(attempt: _Attempt, error: Exception | None, now: float) -> None:
        nonlocal succeeded
        if attempt.ended:
            return
        attempt.ended = True
        succeeded += error is None
        policy.ended(attempt.error, attempt.delay, attempt.number, error is None, now)
        if error is not None and (delay := policy.wait(attempt.number, error, now)) is not None:
            again = _Attempt(attempt.came, attempt.number + 1, delay, error)
            at(now + delay, lambda now: send(again, now))

    at(0.0, come)
    if stops:
        at(AGAIN, serve)
    while events:
        now, _, what = heapq.heappop(events)
        what(now)
    well = [not all or good >= _HEALTHY * all for good, all in zip(answered, asked, strict=True)]
    slices = range(int(AGAIN / _SLICE), len(well))
    healthy = next((i for i in slices if all(well[i : i + _STEADY])), len(well)) * _SLICE
    return Result(healthy - AGAIN, max(attempts) / rate, succeeded / requests)


class _Attempt:
    __slots__ = ("came", "delay", "ended", "error", "number")

    def __init__(self, came: float, number: int, delay: float, error: Exception | None) -> None:
        self.came = came
        self.number = number
        self.delay = delay
        self.error = error
        self.ended = False


_REFUSED = ConnectionRefusedError("the queue is full")
_LATE = TimeoutError("no answer in time")
_BY_CHANCE = ConnectionResetError("reset")


class Never:
    """No retries."""

    def came(self) -> None:
        pass

    def wait(self, failed: int, error: Exception, now: float) -> float | None:
        return None

    def ended(self, error: Exception | None, delay: float, attempts: int, ok: bool, now: float) -> None:
        pass


class Plain(Never):
    """Exponential backoff with full jitter."""

    def __init__(self) -> None:
        self.backoff: Backoff = exponential("100ms", attempts=5, jitter="full")

    def wait(self, failed: int, error: Exception, now: float) -> float | None:
        return self.backoff(failed)


class Budgeted(Plain):
    """The same, within a budget like Finagle's: a fifth of the requests, and ten a second."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.account = Account(Budget(0.2, 10, 10), lambda: self.now)

    def came(self) -> None:
        self.account.came(1)

    def ended(self, error: Exception | None, delay: float, attempts: int, ok: bool, now: float) -> None:
        self.now = now

    def wait(self, failed: int, error: Exception, now: float) -> float | None:
        self.now = now
        delay = super().wait(failed, error, now)
        return delay if delay is not None and self.account.spend() else None


class Learned(Never):
    """warren's `AdaptiveBackoff`."""

    def __init__(self) -> None:
        self.policy = AdaptiveBackoff("100ms", attempts=5, mode="act")

    def wait(self, failed: int, error: Exception, now: float) -> float | None:
        return self.policy.wait(failed, error, type(error).__name__, now)

    def ended(self, error: Exception | None, delay: float, attempts: int, ok: bool, now: float) -> None:
        if error is not None:
            self.policy.ended(type(error).__name__, delay, attempts, ok, now)
        elif ok:
            self.policy.succeeded(1, now)
