"""What `AdaptiveBackoff` would have gained over its usual policy, by what the usual one's own retries showed."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import NamedTuple

from warren.analytics.retries.curve import Curve
from warren.core.policies import Decision

__all__ = ["Gain", "replay"]

_PARTS = 10
_LEAST = 50


class Gain(NamedTuple):
    """How much less a success costs with what was learned, as a share of what it costs with the usual policy.

    ``share`` is the best guess, ``least`` what it is at least with 97.5 % confidence; 0 and below is no gain. ``usual`` and
    ``matched`` are how many retries were looked at, and how many of them had a delay that would have been chosen.
    """

    share: float
    least: float
    usual: int
    matched: int


def replay(decisions: Iterable[Decision], initial: float, maximum: float) -> Gain:
    """Go through decisions made in shadow, in their order, learning from each after it was looked at.

    A retry that happened to wait as long as would have been chosen says what a choice costs: usual policies with jitter give
    such retries, those without hardly ever. Costs are ``(delay + initial)`` for each retry, over all successes.
    """
    curves: dict[str, Curve] = {}
    costs = [[0.0, 0.0] for _ in range(_PARTS)], [[0.0, 0.0] for _ in range(_PARTS)]
    counts = [0, 0]
    known = (each for each in decisions if each.success is not None and each.mode == "shadow")
    for i, each in enumerate(known):
        delay, failed, kind = each.static, each.inputs["failed"], each.inputs["kind"]
        curve = curves.setdefault(kind, Curve(initial, maximum))
        matches = curve.bucket(delay) in curve.best(failed)
        for side in (0, 1) if matches else (0,):
            part = costs[side][i % _PARTS]
            part[0] += delay + initial
            part[1] += bool(each.success)
            counts[side] += 1
        curve.learn(failed, delay, bool(each.success), each.at)
    share = _gain(costs, None)
    if share is None or counts[1] < _LEAST:
        return Gain(0.0, float("-inf"), *counts)
    left_out = [found for part in range(_PARTS) if (found := _gain(costs, part)) is not None]
    mean = sum(left_out) / len(left_out)
    spread = sqrt((_PARTS - 1) / _PARTS * sum((found - mean) ** 2 for found in left_out))
    return Gain(share, share - 1.96 * spread, *counts)


def _gain(costs: tuple[list[list[float]], list[list[float]]], without: int | None) -> float | None:
    """One minus the cost of a success with what was learned, over the usual one; without one part of the decisions."""
    sums = []
    for side in costs:
        parts = [part for i, part in enumerate(side) if i != without]
        sums.append((sum(cost for cost, _ in parts), sum(good for _, good in parts)))
    (usual, usually), (chosen, well) = sums
    if not usually or not well:
        return None
    return 1 - (chosen / well) / (usual / usually)
