"""How deep the queues behind a branch are, looked at again and again while a pipeline runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from warren.core.clock import Clock
from warren.core.graph import Outlet, SinkConnection, Step
from warren.core.health import PATIENCE, HasHealth
from warren.pipelines.plan import outlets

__all__ = ["watched"]

_log = logging.getLogger("warren.depths")

_ANSWER = 5.0
"""Seconds after which a look that has not ended is given up."""

Tell = Callable[[int, float], None]


def watched(sinks: Mapping[int, SinkConnection], branch: Step, clock: Clock, every: float, tell: Tell) -> Callable[[], None]:
    """Look at what a branch writes to every so many seconds; returns what ends it."""
    written = [branch] if isinstance(branch, Outlet) else outlets(branch)
    ends = [end for outlet in written if isinstance(end := sinks[id(outlet)], HasHealth)]
    watching = asyncio.get_running_loop().create_task(_watch(ends, clock, every, tell)) if ends else None

    def close() -> None:
        if watching is not None:
            watching.cancel()

    return close


async def _watch(ends: Sequence[HasHealth], clock: Clock, every: float, tell: Tell) -> None:
    failed = False
    while True:
        # A message that is sent meanwhile may be there or not: only of those before it is known.
        at = clock()
        try:
            async with asyncio.timeout(_ANSWER):
                found = await asyncio.gather(*(end.health(PATIENCE) for end in ends))
            depths = [queue.depth for health in found for queue in health.queues]
            known = [depth for depth in depths if depth is not None]
            if known and len(known) == len(depths):
                tell(sum(known), at)
        except Exception as error:
            if not failed:
                _log.warning("how deep queues are could not be told: %r; they are looked at again", error)
            failed = True
        await asyncio.sleep(every)
