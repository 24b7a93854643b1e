"""`Decision`: what `AdaptiveBackoff` records of each failure."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Decision"]


class Decision(NamedTuple):
    """What was decided for one failure, why, and what became of it.

    ``usual`` is the delay in seconds of the usual policy and ``chosen`` that of the learned one, ``None`` to give up;
    ``propensity`` is the probability with which a delay of that bucket is chosen, ``queued`` whether it waits for its turn,
    and ``gap`` how many seconds its turn lasts. ``ok`` is ``None`` where no attempt has ended.
    """

    at: float
    kind: str
    failed: int
    usual: float | None
    chosen: float | None
    propensity: float
    reason: str
    acted: bool
    queued: bool = False
    gap: float = 0.0
    ok: bool | None = None
