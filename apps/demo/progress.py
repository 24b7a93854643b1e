"""A progress bar that moves as messages are settled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from warren.core.hooks import FlowObserver
from warren.core.receipt import Delivery, Outcome

__all__ = ["Bar", "bar"]


class Bar(FlowObserver):
    """An observer of a pipeline that moves a bar, and counts what was settled."""

    def __init__(self, progress: Progress, title: str, total: int, done: int) -> None:
        self.count = 0
        self._progress = progress
        self._done, self._total = done, total
        self._task = progress.add_task(title, total=total, completed=done)

    def open(self, pipeline: str) -> None:
        """A pipeline starts."""

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome, at: float) -> None:
        """Messages reached their end."""
        self.count += len(tokens)
        # What a killed run held comes again, so more can be settled than seemed to be left.
        self._progress.update(self._task, completed=min(self._done + self.count, self._total))

    def handled(
        self, stage: str, taken: int, given: int, failed: int, start: float, end: float, credit: int, depth: int | None
    ) -> None:
        """A step took a chunk."""

    def close(self) -> None:
        """The pipeline has ended."""


@contextmanager
def bar(console: Console, title: str, total: int, done: int = 0) -> Iterator[Bar]:
    """Show a bar while the block runs."""
    columns = (TextColumn("{task.description:<10}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, refresh_per_second=5) as progress:
        yield Bar(progress, title, total, done)
