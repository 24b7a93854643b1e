"""The protocols that recording and tuning plug into; a pipeline calls them, and knows nothing of who listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from warren.core.receipt import Delivery, Outcome

__all__ = ["FlowObserver"]


@runtime_checkable
class FlowObserver(Protocol):
    """Sees every message's end and every chunk's way through a step. Calls come on the hot path: keep them short."""

    def open(self, pipeline: str) -> None:
        """A pipeline starts."""

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome, at: float) -> None:
        """Messages of one delivery reached their end ``at`` seconds since 1970."""

    def handled(
        self, stage: str, taken: int, given: int, failed: int, start: float, end: float, credit: int, depth: int | None
    ) -> None:
        """A step took a chunk of ``taken`` messages, gave ``given`` and failed ``failed`` since it was last called.

        ``start`` and ``end`` are seconds since 1970, ``credit`` is how many messages are unsettled, and ``depth`` how many
        wait at the source, where it knows.
        """

    def close(self) -> None:
        """The pipeline has ended; everything seen must be safe when this returns."""
