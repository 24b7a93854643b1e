"""What looks at a running pipeline again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from warren.analytics.remedies.figures import Counts, Figures
from warren.analytics.remedies.readings import Collector, Readings
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError
from warren.core.health import PATIENCE, Health
from warren.core.hooks import Controls
from warren.core.receipt import Delivery, Outcome

__all__ = ["Watching"]

_log = logging.getLogger("warren.remedies")


class Watching:
    """An observer that looks at its pipeline every so often: what `Remedies` and `Alerts` have in common."""

    def __init__(self, every: Duration, health: bool, metrics: Collector | None) -> None:
        self.every = seconds(every)
        self._title = type(self).__name__
        if not self.every > 0:
            raise GraphError(f"{self._title}(every={every!r}): give a time above 0, such as '5s'")
        self._health = health
        self._metrics = metrics
        self._readings: Readings | None = None
        self._pipeline: str | None = None
        self._controls: Controls | None = None
        self._task: asyncio.Task[None] | None = None
        self._counts = Counts(0.0)

    def look(self, figures: Figures, controls: Controls) -> None:
        """Look at what happened since the last time."""
        raise NotImplementedError(f"{self._title} must implement look(figures, controls)")

    def leave(self, figures: Figures, controls: Controls) -> None:
        """The pipeline has ended."""

    def open(self, pipeline: str) -> None:
        """A pipeline starts."""
        if self._pipeline is not None:
            raise GraphError(
                f"{self._title} watch the running pipeline {self._pipeline!r}; give {pipeline!r} some of its own"
            )
        self._pipeline = pipeline

    def steer(self, controls: Controls) -> None:
        """The pipeline runs: begin to look at it."""
        self._controls = controls
        self._counts = Counts(controls.clock())
        self._readings = None if self._metrics is None else Readings(self._metrics)
        self._task = asyncio.get_running_loop().create_task(self._watch(controls))

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome, at: float) -> None:
        """Messages reached their end."""
        self._counts.ended[outcome.kind] += len(tokens)

    def handled(
        self, stage: str, taken: int, given: int, failed: int, start: float, end: float, credit: int, depth: int | None
    ) -> None:
        """A step took a chunk."""
        counts = self._counts
        counts.failed += failed
        counts.unsettled, counts.depth = credit, depth

    def close(self) -> None:
        """The pipeline has ended."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        controls, self._controls = self._controls, None
        try:
            if controls is not None:
                self.leave(self._counts.figures(controls.clock(), None, None), controls)
        finally:
            self._pipeline = None

    async def _watch(self, controls: Controls) -> None:
        while True:
            await asyncio.sleep(self.every)
            health = await self._ask(controls)
            figures = self._counts.figures(controls.clock(), health, self._read(controls.clock()))
            try:
                self.look(figures, controls)
            except Exception:
                _log.exception("%s of %r looked in vain", self._title, self._pipeline)

    async def _ask(self, controls: Controls) -> Health | None:
        if not self._health:
            return None
        try:
            async with asyncio.timeout(self.every):
                return await controls.health(PATIENCE)
        except Exception as error:
            _log.warning("the health of %r is not known: %r", self._pipeline, error)
            return None

    def _read(self, at: float) -> Readings | None:
        if self._readings is None:
            return None
        try:
            self._readings.look(at)
        except Exception as error:
            _log.warning("the metrics of %r are not known: %r", self._pipeline, error)
            return None
        return self._readings
