"""What observers can do with the running pipeline that they see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from warren.core.errors import GraphError
from warren.core.health import Health
from warren.core.hooks import Steering

if TYPE_CHECKING:
    from warren.pipelines.endpoints import Reader
    from warren.pipelines.runtime import Runtime

__all__ = ["steer"]


def steer(run: Runtime, readers: Sequence[Reader]) -> None:
    """Hand the controls of a run to those of its observers that want to act on it."""
    for observer in run.observers:
        if isinstance(observer, Steering):
            observer.steer(_Controls(run, readers))


class _Controls:
    """The `warren.core.hooks.Controls` of one run."""

    def __init__(self, run: Runtime, readers: Sequence[Reader]) -> None:
        self.clock = run.clock
        self._run = run
        self._readers = readers

    def paused(self, source: str | None = None) -> bool:
        return all(reader.paused for reader in self._named(source))

    def pause(self, source: str | None = None, *, on: bool = True) -> None:
        for reader in self._named(source):
            reader.paused = on
        self._run.notify()

    async def health(self, patience: float) -> Health:
        return await self._run.health(patience)

    def _named(self, source: str | None) -> list[Reader]:
        found = [reader for reader in self._readers if source in (None, reader.inlet.name)]
        if not found:
            names = ", ".join(reader.inlet.name for reader in self._readers)
            raise GraphError(f"pipeline {self._run.name!r} has no source {source!r} to pause; there are {names}")
        return found
