"""Queues in numbers: how long messages wait, how many consumers a target takes, how a backlog goes.

Variation is told by squared coefficients (variance over squared mean): 0 where every service takes as long, 1 for
exponential times, more where a few take very long. Waits are exact for Poisson arrivals and exponential services (Erlang C).
For other services the mean comes from a line between M/D/c and M/M/c (Cosmetatos), for other arrivals from W. Whitt,
"Approximations for the GI/G/m queue", Production and Operations Management 2 (1993). docs/capacity.md says how close.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from warren.core.errors import DataError

__all__ = ["Depths", "Queue", "depths", "drain_time", "erlang_c", "servers_for"]

Floats = npt.NDArray[np.float64]

_MOST = 1_000_000


def erlang_c(servers: int, load: float) -> float:
    """The probability that an arrival has to wait in an M/M/c queue; 1 where the load is the servers' number or more.

    ``load`` is the rate of arrivals times the mean service time, in Erlang.

    >>> round(erlang_c(1, 0.5), 3), round(erlang_c(10, 8.0), 4)
    (0.5, 0.4092)
    """
    if load >= servers:
        return 1.0
    # Erlang B by its recursion, upside down so that it never overflows.
    inverse = 1.0
    for each in range(1, servers + 1):
        inverse = 1 + inverse * each / load if load > 0 else math.inf
        if inverse > 1e300:
            inverse = math.inf
    blocked = 1 / inverse
    return blocked / (1 - load / servers * (1 - blocked))


@dataclass(frozen=True)
class Queue:
    """One queue and the consumers that share it, in its steady state. Times are seconds, rates are messages a second.

    - ``arrivals``: the rate of arrivals
    - ``service``: the mean time a consumer is busy with a message
    - ``servers``: how many consumers there are, or messages that all of them handle at once
    - ``arrival_cv2``, ``service_cv2``: squared coefficients of variation of the times between arrivals and of service times

    With no fewer arrivals than can be served there is no steady state; then waits are infinite. Raises `DataError` for
    numbers that make no queue.

    >>> queue = Queue(arrivals=8, service=1.0, servers=10)
    >>> round(queue.utilisation, 2), round(queue.mean_wait, 3), round(queue.wait(0.95), 3)
    (0.8, 0.205, 1.051)
    """

    arrivals: float
    service: float
    servers: int
    arrival_cv2: float = 1.0
    service_cv2: float = 1.0

    def __post_init__(self) -> None:
        good = (self.arrivals, self.service, self.arrival_cv2, self.service_cv2)
        if any(not (each >= 0 and math.isfinite(each)) for each in good) or self.service <= 0:
            raise DataError(f"{self}: rates and variations must be finite and not negative, the service time above zero")
        if isinstance(self.servers, bool) or not isinstance(self.servers, int) or not 1 <= self.servers <= _MOST:
            raise DataError(f"{self}: servers must be a whole number from 1 to {_MOST:,}")

    @property
    def load(self) -> float:
        """Arrivals times service time: how many consumers are busy on average, in Erlang."""
        return self.arrivals * self.service

    @property
    def utilisation(self) -> float:
        """The share of their time that consumers are busy; 1 or more where they cannot keep up."""
        return self.load / self.servers

    @property
    def waiting(self) -> float:
        """The probability that a message has to wait at all."""
        return erlang_c(self.servers, self.load)

    @property
    def mean_wait(self) -> float:
        """How long a message waits on average until its service begins."""
        if self.utilisation >= 1:
            return math.inf
        exponential = self.waiting * self.service / (self.servers * (1 - self.utilisation))
        if self.arrival_cv2 == self.service_cv2 == 1 or not self.arrivals:
            return exponential
        both = (self.arrival_cv2 + self.service_cv2) / 2 * self._whitt(self.arrival_cv2)
        known = (1 + self.service_cv2) / 2 * self._whitt(1.0)
        return exponential * both * self._poisson(known) / known

    @property
    def _gamma(self) -> float:
        """How far several servers are from one."""
        m, rho = self.servers, self.utilisation
        return min(0.24, (1 - rho) * (m - 1) * (math.sqrt(4 + 5 * m) - 2) / (16 * m * rho))

    def _poisson(self, known: float) -> float:
        """The mean wait over that of M/M/c, where arrivals are Poisson.

        Up to exponential services it lies on a line between those that are all alike and exponential ones; for one
        server, beyond too. For several the line is then too high and Whitt's correction too low.
        """
        line = self.service_cv2 + (1 - self.service_cv2) * (1 + self._gamma) / 2
        return line if self.service_cv2 <= 1 else line + (known - line) * (1 - 1 / self.servers) / 2

    def _whitt(self, a: float) -> float:
        """Whitt's correction of Allen and Cunneen's approximation."""
        s, rho = self.service_cv2, self.utilisation
        if a + s == 0:
            return 1.0
        fixed = 1 + self._gamma
        third = (1 - 4 * self._gamma) * math.exp(-2 * (1 - rho) / (3 * rho))
        mean = (a + s) / 2
        middle = 1.0 if mean >= 1 else min(1.0, (fixed + third) / 2) ** (2 * (1 - mean))
        if a >= s:
            return (4 * (a - s) * fixed + s * middle) / (4 * a - 3 * s)
        return ((s - a) * third + (s + 3 * a) * middle) / (2 * (a + s))

    @property
    def mean_depth(self) -> float:
        """How many messages wait on average."""
        return self.arrivals * self.mean_wait if self.arrivals else 0.0

    @property
    def mean_latency(self) -> float:
        """How long a message takes on average from its arrival to the end of its service."""
        return self.mean_wait + self.service

    def wait(self, quantile: float) -> float:
        """The wait that this share of messages does not pass. Who waits, waits exponentially long: exact for M/M/c."""
        _share(quantile)
        if self.utilisation >= 1:
            return math.inf
        if 1 - quantile >= self.waiting or not self.mean_wait:
            return 0.0
        return self.mean_wait / self.waiting * math.log(self.waiting / (1 - quantile))

    def latency(self, quantile: float) -> float:
        """Wait and service, what this share of messages does not pass; service times are taken as gamma distributed."""
        _share(quantile)
        if self.utilisation >= 1:
            return math.inf
        times, weights = _services(self.service, self.service_cv2)
        rate = self.waiting / self.mean_wait if self.mean_wait else math.inf

        def above(time: float) -> float:
            left = time - times
            with np.errstate(over="ignore", invalid="ignore"):
                waits = self.waiting * np.exp(-rate * np.maximum(left, 0)) if rate < math.inf else np.zeros(len(left))
            return float((weights * np.where(left < 0, 1.0, waits)).sum())

        high = self.service
        while above(high) > 1 - quantile:
            high *= 2
        low = 0.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if above(middle) > 1 - quantile else (low, middle)
        return high


def _share(quantile: float) -> None:
    if not 0 <= quantile < 1:
        raise DataError(
            f"the quantile {quantile!r} must be from 0 up to, but not, 1; 0.95 means that one in twenty is above"
        )


def _services(mean: float, cv2: float) -> tuple[Floats, Floats]:
    """Times and their weights that stand for a gamma distribution."""
    if cv2 < 1e-4:
        return np.array([mean]), np.array([1.0])
    shape, scale = 1 / cv2, mean * cv2
    logs = np.linspace(math.log(mean) - 18 * max(cv2, 1.0) ** 0.5, math.log(mean * (1 + 40 * max(cv2, cv2**0.5))), 4000)
    times = np.exp(logs)
    densities = shape * logs - times / scale
    weights = np.exp(densities - densities.max())
    return times, weights / weights.sum()


def servers_for(
    arrivals: float,
    service: float,
    target: float,
    quantile: float | None = 0.95,
    *,
    arrival_cv2: float = 1.0,
    service_cv2: float = 1.0,
    of: str = "wait",
) -> int:
    """The fewest consumers that keep a target in seconds.

    ``quantile`` says what share of messages keeps it, None the mean. ``of`` is ``"wait"``, or ``"latency"`` with the
    service. Raises `DataError` where no number of consumers does.

    >>> servers_for(arrivals=100, service=0.05, target=0.1)
    7
    """
    if of not in ("wait", "latency"):
        raise DataError(f"of={of!r}: a target is kept by the 'wait', or by the 'latency' with the service")
    if not target >= 0:
        raise DataError(f"target={target!r}: give a time in seconds, not below zero")
    one = Queue(arrivals, service, 1, arrival_cv2, service_cv2)

    def kept(servers: int) -> bool:
        queue = replace(one, servers=servers)
        if quantile is None:
            return (queue.mean_wait if of == "wait" else queue.mean_latency) <= target
        return (queue.wait(quantile) if of == "wait" else queue.latency(quantile)) <= target

    least = math.floor(one.load) + 1
    # With servers enough nobody waits: then the service alone must keep the target.
    enough = max(least + 10, math.ceil(2 * least + 20))
    if of == "latency" and not kept(enough):
        raise DataError(f"the service alone takes {service:g} s on average, too long for a target of {target:g} s")
    return _first(kept, least)


def _first(kept: Callable[[int], bool], least: int) -> int:
    """The least number, from this on, for which it holds; it holds for every greater one."""
    step, high = 1, least
    while not kept(high):
        high += step
        step *= 2
        if high > _MOST:
            raise DataError(f"not even {_MOST:,} consumers keep the target; raise it, or make the service faster")
    low = max(least, high - step // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if kept(middle) else (middle + 1, high)
    return high


@dataclass(frozen=True)
class Depths:
    """What becomes of a queue, at the end of each span."""

    depth: Floats
    """How many messages wait, on average."""
    wait: Floats
    """How long they wait, in seconds."""
    utilisation: Floats
    """The share of their time that consumers are busy."""


def depths(
    arrivals: Sequence[float] | Floats,
    every: float,
    service: float,
    servers: int | Sequence[int],
    *,
    backlog: float = 0.0,
    arrival_cv2: float = 1.0,
    service_cv2: float = 1.0,
    steps: int = 20,
) -> Depths:
    """Depth and wait while arrivals change: a rate for each span of ``every`` seconds, from a forecast.

    Where consumers cannot keep up, the backlog grows and drains as a fluid; where they can, messages wait as in the steady
    state. Both in one: at every moment as many leave as would in the steady state with as many messages (the pointwise
    stationary fluid flow approximation; Wang, Tipper and Banerjee, 1996). ``servers`` may be one number for each span.
    Raises `DataError`.

    >>> told = depths([8, 12, 8], every=600, service=1.0, servers=10)
    >>> [round(float(each)) for each in told.depth]
    [2, 1216, 38]
    """
    rates = np.asarray(arrivals, np.float64)
    counts = np.broadcast_to(np.asarray(servers), rates.shape)
    if rates.ndim != 1 or not len(rates) or not np.isfinite(rates).all() or (rates < 0).any():
        raise DataError("arrivals must be one finite rate, not below zero, for each span; fill the gaps of a forecast first")
    if not (every > 0 and backlog >= 0 and math.isfinite(backlog) and steps >= 1):
        raise DataError(f"every={every!r}, backlog={backlog!r}: spans must last some time, and a backlog is not below zero")
    step = every / steps
    tables: dict[int, tuple[Floats, Floats, Floats]] = {}
    inside = backlog + (min(float(counts[0]), rates[0] * service) if len(rates) else 0.0)
    told = np.empty((3, len(rates)))
    for each, (rate, count) in enumerate(zip(rates, counts, strict=True)):
        if int(count) not in tables:
            tables[int(count)] = _steady(int(count), service, arrival_cv2, service_cv2)
        shares, waiting, within = tables[int(count)]
        most = int(count) / service
        share = 0.0
        for _ in range(steps):
            # Implicit, so that steps may be long beside the service: the share at the end says what left.
            came = inside + step * rate
            share = float(np.interp(came, within + step * most * shares, shares))
            inside = max(0.0, came - step * most * share)
        depth = max(float(np.interp(share, shares, waiting)), inside - int(count)) if share else 0.0
        # What is left of a busy time fades, and is nothing at last.
        told[:, each] = depth, depth / (most * share) if share > 1e-100 else 0.0, share
    return Depths(*told)


def _steady(servers: int, service: float, arrival_cv2: float, service_cv2: float) -> tuple[Floats, Floats, Floats]:
    """Shares of time that consumers are busy; how many messages wait, and are inside, in the steady state of each."""
    shares = np.concatenate([np.linspace(0, 0.9, 181), 1 - np.geomspace(0.1, 1e-12, 200)[1:]])
    waiting = np.array(
        [Queue(share * servers / service, service, servers, arrival_cv2, service_cv2).mean_depth for share in shares]
    )
    waiting = np.maximum.accumulate(waiting)
    return shares, waiting, waiting + shares * servers


def drain_time(
    backlog: float, arrivals: float | Sequence[float] | Floats, every: float, service: float, servers: int
) -> float:
    """Seconds until a backlog is gone while messages keep arriving at these rates; infinite where it is not by then.

    ``arrivals`` is one rate, for ever, or one for each span of ``every`` seconds. Raises `DataError` for numbers that make
    no queue.

    >>> drain_time(6000, arrivals=8, every=60, service=1.0, servers=10)
    3000.0
    """
    if not (backlog >= 0 and math.isfinite(backlog) and every > 0):
        raise DataError(f"backlog={backlog!r}, every={every!r}: a backlog is not below zero, and spans last some time")
    rates = np.atleast_1d(np.asarray(arrivals, np.float64))
    most = Queue(0.0, service, servers).servers / service
    if not np.isfinite(rates).all() or (rates < 0).any():
        raise DataError("arrivals must be finite and not below zero; fill the gaps of a forecast first")
    if np.ndim(arrivals) == 0:
        return float(backlog / (most - rates[0])) if rates[0] < most else (math.inf if backlog else 0.0)
    left = backlog
    for each, rate in enumerate(rates):
        if not left:
            return each * every
        after = left + (rate - most) * every
        if after <= 0:
            return float(each * every + left / (most - rate))
        left = after
    return math.inf
