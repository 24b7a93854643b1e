"""What the settings of a step that collects are told: how long its batches take until everything made of them is safe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from warren.core.journal import Journal
from warren.core.knobs import Setting
from warren.core.receipt import Kind, Outcome, Token
from warren.core.stage import Stage

__all__ = ["Turned"]


class _Batch(NamedTuple):
    began: float
    values: int
    full: bool


class Turned:
    """The settings of one step in one running pipeline: one for how many values a batch has, one for how long it waits."""

    def __init__(self, stage: Stage, count: Setting | None, wait: Setting | None) -> None:
        self.count = count
        self.wait = wait
        self._ledger = stage.ledger
        self._clock = stage.run.clock
        self._flying: dict[int, list[_Batch]] = {}
        settings = [setting for setting in (count, wait) if setting is not None]
        for setting in settings:
            setting.open(self._clock)
        stage.learned("batch", settings)
        self._journal = Journal(stage, settings)
        self._ledger.watch(self._settled)

    def now(self) -> float:
        """When a batch begins."""
        return self._clock()

    def sent(self, first: Token, began: float, count: int, full: bool) -> None:
        """A batch is closed, as it was ``full`` or as its time was up. It is over when its first message is."""
        origin = first if isinstance(first, int) else next(iter(self._ledger.origins(first)), None)
        if origin is not None:
            self._flying.setdefault(origin, []).append(_Batch(began, count, full))

    def _settled(self, tokens: Sequence[int], outcome: Outcome) -> None:
        if not self._flying or outcome.kind is Kind.RELEASED:
            return
        if isinstance(tokens, range):
            over = [origin for origin in self._flying if origin in tokens]
        else:
            over = sorted(self._flying.keys() & tokens)
        if not over:
            return
        now = self._clock()
        for batch in (batch for origin in over for batch in self._flying.pop(origin)):
            took, well = now - batch.began, outcome.kind <= Kind.DELIVERED
            # One that was closed by the other limit says nothing of this one.
            if self.count is not None:
                in_flight = batch.values if batch.full else 0
                self.count.ended(took, well, in_flight=in_flight, count=batch.values)
            if self.wait is not None:
                in_flight = 0 if batch.full else self.wait.value
                self.wait.ended(took, well, in_flight=in_flight, count=batch.values)
        self._journal.tick(now)
