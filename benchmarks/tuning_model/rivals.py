"""The rules beside ours, each from its published description; all know what `Measurement` says, four times a second."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite, log10
from typing import Any

from warren.analytics.tuning import Controller, Measurement
from warren.core.knobs import Knob
from warren.core.policies import Proposal

__all__ = ["RIVALS"]


class _Rival:
    """A limit that is a number with a fraction; it knows no state to be saved."""

    def __init__(self, knob: Knob, bound: float = inf) -> None:
        self.knob = knob
        self.bound = bound
        self.limit = float(knob.start)

    def next(self, m: Measurement) -> float:
        raise NotImplementedError

    def propose(self, measurement: Measurement) -> Proposal:
        if isfinite(measurement.mean):
            self.limit = min(max(self.next(measurement), self.knob.low), self.knob.high)
        return Proposal(self.knob.clip(self.limit), 1.0, type(self).__name__, {})

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing is kept."""


class Aimd(_Rival):
    """One more while calls are fast, nine tenths where they are slow: over the bound, or twice the fastest interval."""

    fastest = inf

    def next(self, m: Measurement) -> float:
        self.fastest = min(self.fastest, m.mean)
        slow = m.tail > self.bound if self.bound < inf else m.mean > 2 * self.fastest
        return self.limit * 0.9 if slow or m.failed else self.limit + 1


class Vegas(_Rival):
    """Keeps the queue, which is what the fastest calls do not explain of the limit, between 3 and 6 logarithms of the limit.

    The fastest time is measured anew after 30 times as many calls as the limit.
    """

    fastest = inf
    calls = 0

    def next(self, m: Measurement) -> float:
        self.calls += m.calls
        if self.calls > 30 * self.limit:
            self.calls, self.fastest = 0, m.mean
            return self.limit
        if m.mean < self.fastest:
            self.fastest = m.mean
            return self.limit
        some = max(1.0, log10(self.limit))
        queue = self.limit * (1 - self.fastest / m.mean)
        if queue <= some:
            return self.limit + 6 * some
        if queue < 3 * some:
            return self.limit + some
        return self.limit - some if queue > 6 * some else self.limit


class Gradient2(_Rival):
    """Goes down by the ratio of the usual time to that of now, with half as much again tolerated, and up by 4."""

    usual = 0.0
    seen = 0

    def next(self, m: Measurement) -> float:
        self.seen += 1
        # An exponential mean of 600 samples, which begins as the mean of the first ten.
        weight = 1 / self.seen if self.seen <= 10 else 2 / 601
        self.usual += weight * (m.mean - self.usual)
        if self.usual > 2 * m.mean:
            self.usual *= 0.95
        gradient = max(0.5, min(1.0, 1.5 * self.usual / m.mean))
        return 0.8 * self.limit + 0.2 * (gradient * self.limit + 4)


RIVALS: dict[str, Callable[..., Controller]] = {"AIMD": Aimd, "Vegas": Vegas, "Gradient2": Gradient2}
