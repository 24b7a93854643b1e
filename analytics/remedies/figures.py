"""What rules look at: what a pipeline did since they last looked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from warren.analytics.remedies.readings import Readings
from warren.core.health import Health
from warren.core.receipt import Kind

__all__ = ["Counts", "Figures"]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a pipeline did in the last ``seconds``, until ``at`` (seconds since 1970).

    - ``rate``, ``delivered``, ``dead_lettered``, ``parked``: messages a second that ended, all of them and by how
    - ``failed``: failures of steps a second, also of messages that were tried again and went well
    - ``dead_share``: dead letters among the messages that ended, 0 where none did
    - ``unsettled``: messages in hand; ``depth``: those that wait at the source, ``None`` where nobody knows
    - ``health``: what the pipeline and its ends say of themselves, where that was asked for
    - ``metrics``: what metrics say, where they were given
    """

    at: float
    seconds: float
    rate: float = 0.0
    delivered: float = 0.0
    dead_lettered: float = 0.0
    parked: float = 0.0
    failed: float = 0.0
    dead_share: float = 0.0
    unsettled: int = 0
    depth: int | None = None
    health: Health | None = None
    metrics: Readings | None = None

    def plain(self) -> dict[str, Any]:
        """As plain values, without the metrics."""
        found: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(self, metrics=None))
        del found["metrics"]
        return found


class Counts:
    """Counts what happens, cheaply, until it is asked."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.ended: Counter[Kind] = Counter()
        self.failed = 0
        self.unsettled = 0
        self.depth: int | None = None

    def figures(self, now: float, health: Health | None, metrics: Readings | None) -> Figures:
        """What happened since the last call."""
        # A clock may be turned back.
        seconds = max(now - self.at, 1e-6)
        ended, failed = self.ended, self.failed
        self.at, self.ended, self.failed = now, Counter(), 0
        count = sum(ended.values())
        return Figures(
            at=now,
            seconds=seconds,
            rate=count / seconds,
            delivered=ended[Kind.DELIVERED] / seconds,
            dead_lettered=ended[Kind.DEAD_LETTERED] / seconds,
            parked=ended[Kind.PARKED] / seconds,
            failed=failed / seconds,
            dead_share=ended[Kind.DEAD_LETTERED] / count if count else 0.0,
            unsettled=self.unsettled,
            depth=self.depth,
            health=health,
            metrics=metrics,
        )
