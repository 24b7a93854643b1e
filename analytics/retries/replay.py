"""What `AdaptiveBackoff` would have gained over its usual policy, by what the usual one's own retries showed."""

from __future__ import annotations

from collections.abc import Iterable

from warren.analytics.gains import PARTS, Gain, surely
from warren.analytics.retries.curve import Curve
from warren.core.policies import Decision

__all__ = ["Gain", "replay"]


def replay(decisions: Iterable[Decision], initial: float, maximum: float) -> Gain:
    """Go through decisions made in shadow, in their order, learning from each after it was looked at.

    A retry that happened to wait as long as would have been chosen says what a choice costs: usual policies with jitter give
    such retries, those without hardly ever. Costs are ``(delay + initial)`` for each retry, over all successes.
    """
    curves: dict[str, Curve] = {}
    costs = [[0.0, 0.0] for _ in range(PARTS)], [[0.0, 0.0] for _ in range(PARTS)]
    counts = [0, 0]
    known = (each for each in decisions if each.success is not None and each.mode == "shadow")
    for i, each in enumerate(known):
        delay, failed, kind = each.static, each.inputs["failed"], each.inputs["kind"]
        curve = curves.setdefault(kind, Curve(initial, maximum))
        matches = curve.bucket(delay) in curve.best(failed)
        for side in (0, 1) if matches else (0,):
            part = costs[side][i % PARTS]
            part[0] += delay + initial
            part[1] += bool(each.success)
            counts[side] += 1
        curve.learn(failed, delay, bool(each.success), each.at)
    return surely(lambda without: _gain(costs, without), *counts)


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
