"""A closed system in virtual time: as many calls at once as a knob allows, on a resource that they share."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log1p, nan, sqrt
from random import Random

from warren.core.knobs import Setting

__all__ = ["Call", "Regime", "Run", "simulate", "work_of"]


@dataclass(frozen=True)
class Regime:
    """How calls are served for a while.

    - ``work``: mean seconds of a call at the resource when it is alone there; ``spread``: their deviation as a share
    - ``workers``: how many the resource serves at full speed; more share that
    - ``contention`` and ``coherency``: how much slower each becomes by every other, and by every pair (the universal
      scalability law)
    - ``delay``: mean seconds of the network there and back, half to one and a half times that
    - ``overhead``: seconds of a call that do not grow with its messages, where the knob is the batch size
    - ``batch``: the knob is how many messages a call has, and this is how many calls there are at once
    """

    name: str
    work: float = 0.02
    spread: float = 1.0
    workers: int = 16
    contention: float = 0.0
    coherency: float = 0.0
    delay: float = 0.0
    overhead: float = 0.0
    batch: int = 0

    def speed(self, there: int) -> float:
        """Of each of so many at the resource, as a share of one alone."""
        others = there - 1
        shared = min(1.0, self.workers / there)
        return shared / (1 + self.contention * others + self.coherency * there * others)


@dataclass(slots=True, frozen=True)
class Call:
    """One call that has ended: when, how long it took, and how many messages it had."""

    at: float
    took: float
    messages: int


@dataclass
class Run:
    """What came of a simulation: the calls, and each value of the knob with the time from which it held."""

    calls: list[Call]
    values: list[tuple[float, int]]


def simulate(regimes: Sequence[Regime], lasts: float, setting: Setting, seed: int) -> Run:
    """Go through the regimes, each as long as said. There is always a message that waits.

    The resource is shared out evenly: with ``served`` as what each call there has been given, the next to end is the one
    that needs the least in all, so that a change of speed changes nothing but a factor.
    """
    random = Random(seed)
    now = served = 0.0
    setting.open(lambda: now)
    order = flying = place = 0
    regime = regimes[0]
    there: list[tuple[float, int, float, int]] = []
    away: list[tuple[float, int, float, int, float]] = []
    found, values = Run([], []), [(0.0, setting.value)]
    end = lasts * len(regimes)
    while now < end:
        value = setting.value
        while flying < (regime.batch or value):
            flying += 1
            order += 1
            messages = value if regime.batch else 1
            work = regime.overhead + work_of(random, regime) * messages
            heapq.heappush(away, (now + regime.delay * (0.25 + 0.5 * random.random()), order, now, messages, work))
        speed = regime.speed(len(there)) if there else 1.0
        ends = now + (there[0][0] - served) / speed if there else inf
        comes = away[0][0] if away else inf
        change = lasts * (place + 1)
        at = min(ends, comes, change)
        served += (at - now) * speed
        now = at
        if now == change:
            place += 1
            if place < len(regimes):
                regime = regimes[place]
        elif ends <= comes:
            _, number, began, messages = heapq.heappop(there)
            back = regime.delay * (0.25 + 0.5 * random.random())
            heapq.heappush(away, (now + back, number, began, messages, -1.0))
        else:
            _, number, began, messages, work = heapq.heappop(away)
            if work >= 0:
                heapq.heappush(there, (served + work, number, began, messages))
            else:
                took = now - began
                found.calls.append(Call(now, took, messages))
                setting.ended(took, True, in_flight=nan if regime.batch else flying, count=messages)
                flying -= 1
                if setting.value != values[-1][1]:
                    values.append((now, setting.value))
    found.values = values
    return found


def work_of(random: Random, regime: Regime) -> float:
    """The seconds of one call, or of one message of a batch: lognormal."""
    if not regime.spread:
        return regime.work
    variance = log1p(regime.spread**2)
    return regime.work * exp(random.gauss(-variance / 2, sqrt(variance)))
