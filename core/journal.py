"""What models have decided, told to those observers that ask for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from warren.core.hooks import DecisionObserver
from warren.core.policies import Deciding

if TYPE_CHECKING:
    from warren.core.stage import Stage

__all__ = ["Journal"]

_EVERY = 0.25
"""Seconds after which decisions are told, with the next thing that happens."""


class Journal:
    """Asks the models of one stage, a few times a second, which decisions are over, and tells the run's observers."""

    def __init__(self, stage: Stage, models: Iterable[object]) -> None:
        self._stage = stage.name
        self._observers = [each for each in stage.run.observers if isinstance(each, DecisionObserver)]
        self._models = [each for each in models if isinstance(each, Deciding)] if self._observers else []
        self._since = stage.run.clock()
        if self._models:
            stage.run.on_close(self.tell)
        for model in self._models:
            # What was over before is of another run.
            model.over()

    def tick(self, now: float) -> None:
        """Time has passed."""
        if self._models and not 0 <= now - self._since < _EVERY:
            self._since = now
            self.tell()

    def tell(self) -> None:
        """Tell what is over."""
        for model in self._models:
            if decisions := model.over():
                for observer in self._observers:
                    observer.decided(self._stage, decisions)
