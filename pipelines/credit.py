"""The credit of a run that a setting tunes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from warren.core.journal import Journal
from warren.core.knobs import Setting
from warren.core.receipt import Delivery, Kind, Outcome
from warren.core.stage import Stage

if TYPE_CHECKING:
    from warren.pipelines.runtime import Runtime

__all__ = ["TunedCredit"]


class TunedCredit:
    """Tells a setting how long messages took from being read to their end, and gives the run the credit it says."""

    def __init__(self, run: Runtime, setting: Setting) -> None:
        self._run = run
        self._setting = setting
        setting.open(run.clock)
        stage = Stage(run, "0", "credit")
        stage.learned("credit", [setting])
        self._journal = Journal(stage, [setting])
        run.credit = setting.knob.clip(setting.value)

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        """Messages that were read together have ended together."""
        if outcome.kind is Kind.RELEASED:
            return
        run, setting = self._run, self._setting
        now = run.clock()
        done = outcome.kind <= Kind.DELIVERED
        setting.ended(now - delivery.received, done, in_flight=run.unacknowledged, count=len(tokens))
        if (value := setting.value) != run.credit:
            run.credit = setting.knob.clip(value)
        self._journal.tick(now)
