"""What a policy would have gained over static choices, by what became of these."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import NamedTuple

from warren.analytics.gains import PARTS, Gain, surely
from warren.core.policies import Decision

__all__ = ["replay"]

# Of the first, little was known yet.
_FIRST = 50
# How many times the mean of the others a failure costs.
_FAILURE = 10.0
_RARE = 0.01


class _Shown(NamedTuple):
    """What was done and what would have been, and the seconds: those that it took, and those expected of either."""

    kind: str
    done: str
    choice: str
    took: float
    failed: bool
    expected: float
    chosen: float
    messages: int


def replay(decisions: Iterable[Decision]) -> Gain:
    """Go through decisions made in shadow, in their order: how much less time a message would have taken.

    Doubly robust: the seconds that the policy expected of its choice, put right by how far it was off where the static
    choice was the same, as much as that is rarer than the choice. How often a static choice is made is counted for each
    kind; a choice that it hardly ever makes counts as no better. A failure costs ten times what the others take in the mean.

    It holds for a message more or less: where all go by the policy, queues differ from those that were watched.
    """
    rows = [row for each in decisions if each.mode == "shadow" and (row := _shown(each)) is not None][_FIRST:]
    matched = sum(row.choice == row.done for row in rows)
    well = sum(row.messages for row in rows if not row.failed)
    expected = sum(row.expected * row.messages for row in rows)
    if not well or not expected:
        return surely(lambda without: None, len(rows), matched)
    failure = _FAILURE * sum(row.took * row.messages for row in rows if not row.failed) / well
    costs = [row.took + failure * row.failed for row in rows]
    scale = sum(cost * row.messages for cost, row in zip(costs, rows, strict=True)) / expected
    often = _often(rows)
    parts = [[0.0, 0.0] for _ in range(PARTS)]
    for i, (row, cost) in enumerate(zip(rows, costs, strict=True)):
        # Neighbours share what happens to them, so a part is a stretch of time.
        part, rate = parts[i * PARTS // len(rows)], often[row.kind, row.choice]
        would = cost
        if rate >= _RARE:
            would = scale * row.chosen + (cost - scale * row.expected) / rate * (row.choice == row.done)
        part[0] += cost * row.messages
        part[1] += would * row.messages

    def share(without: int | None) -> float | None:
        usual, would = (sum(part[side] for i, part in enumerate(parts) if i != without) for side in (0, 1))
        return 1 - would / usual if usual else None

    return surely(share, len(rows), matched)


def _shown(decision: Decision) -> _Shown | None:
    """What a decision shows, if it can be compared."""
    costs, done, choice = decision.inputs.get("costs", {}), str(decision.static), str(decision.choice)
    took, told, chosen = decision.seconds, costs.get(done), costs.get(choice)
    if decision.success is None or not all(each is not None and isfinite(each) for each in (took, told, chosen)):
        return None
    assert took is not None
    return _Shown(decision.inputs["kind"], done, choice, took, not decision.success, told, chosen, decision.messages)


def _often(rows: Iterable[_Shown]) -> Mapping[tuple[str, str], float]:
    """Of each kind, which share of its messages each static choice got."""
    counts: Counter[tuple[str, str]] = Counter()
    kinds: Counter[str] = Counter()
    for row in rows:
        counts[row.kind, row.done] += row.messages
        kinds[row.kind] += row.messages
    return defaultdict(float, {key: count / kinds[key[0]] for key, count in counts.items()})
