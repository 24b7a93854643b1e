"""What turning a knob has gained over leaving it at its start, by what was measured with both."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isfinite

from warren.analytics.gains import PARTS, Gain, surely
from warren.core.policies import Decision

__all__ = ["replay"]

_FEWEST = 50


def replay(decisions: Iterable[Decision], bound: float = inf) -> Gain:
    """Compare decisions made in the shadow with those that were acted on, of two replays of one flow.

    A knob that stays tells nothing of its other values, so both are needed: how much less time a message takes, the waiting
    for others included, which is what throughput is the inverse of. Where the quantile of the calls was over ``bound``
    seconds, messages count by as much less. Both are cut into as many stretches, to see how sure the difference is.
    """
    made = list(decisions)
    usual, acted = (
        [each for row in made if row.mode == mode and (each := _shown(row, bound))] for mode in ("shadow", "act")
    )

    def share(without: int | None) -> float | None:
        if len(usual) < _FEWEST:
            return None
        static, turned = _rate(usual, without), _rate(acted, without)
        return 1 - static / turned if turned > 0 else None

    return surely(share, len(usual) + len(acted), len(acted))


def _rate(rows: list[tuple[float, float]], without: int | None) -> float:
    kept = [row for i, row in enumerate(rows) if i * PARTS // len(rows) != without]
    return sum(good for good, _ in kept) / sum(span for _, span in kept) if kept else 0.0


def _shown(decision: Decision, bound: float) -> tuple[float, float] | None:
    """Messages that count, and in how many seconds; ``None`` where it is not known how long it was."""
    span, tail = (decision.inputs.get(name) for name in ("span", "tail"))
    if not isinstance(span, int | float) or not 0 < span < inf:
        return None
    over = tail / bound if isinstance(tail, int | float) and isfinite(tail) else 0.0
    return decision.messages / max(over, 1.0), span
