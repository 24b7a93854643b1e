"""What a controller is told of the time since it was last asked."""

from __future__ import annotations

from array import array
from math import nan
from typing import Any, Protocol

import msgspec
import numpy as np

from warren.core.policies import Proposal

__all__ = ["Controller", "Interval", "Measurement"]


class Measurement(msgspec.Struct):
    """How a step did for a while with one value of its knob. What is not known is NaN.

    - ``at``: when it ended, in seconds since 1970; ``seconds``: how long it was
    - ``value``: of the knob; ``in_flight``: how many calls there were at once, on average, where the knob bounds that
    - ``done``: messages of calls that ended well; ``calls``: how many calls these were; ``failed``: calls that did not
    - ``mean`` and ``deviation``: of the seconds that a call took; ``tail``: their quantile that the tuner was asked for
    """

    at: float
    seconds: float
    value: int
    done: int
    calls: int = 0
    failed: int = 0
    in_flight: float = nan
    mean: float = nan
    deviation: float = nan
    tail: float = nan

    @property
    def throughput(self) -> float:
        """Messages a second whose calls ended well."""
        return self.done / self.seconds if self.seconds > 0 else nan


class Controller(Protocol):
    """Decides which value a knob should have next."""

    def propose(self, measurement: Measurement) -> Proposal:
        """The next value, from what came of the one before."""
        ...

    def state(self) -> dict[str, Any]:
        """What was learned, as plain values."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with what was learned; `DataError` where it is damaged."""
        ...


class Interval:
    """The calls of one interval, added up by who is told of each; ``flying`` is how many there were at the end of each."""

    __slots__ = ("done", "failed", "flying", "start", "took")

    def __init__(self, start: float) -> None:
        self.start = start
        self.took = array("d")
        self.done = self.failed = 0
        self.flying = 0.0

    def __len__(self) -> int:
        return len(self.took) + self.failed

    def measured(self, at: float, value: int, quantile: float) -> Measurement:
        """What there was until now."""
        took, count = np.frombuffer(self.took), len(self.took)
        found = Measurement(at, at - self.start, value, self.done, count, self.failed, self.flying / max(len(self), 1))
        if count:
            tail = min(int(quantile * count), count - 1)
            found.mean, found.deviation = float(took.mean()), float(took.std())
            found.tail = float(np.partition(took, tail)[tail])
        return found
