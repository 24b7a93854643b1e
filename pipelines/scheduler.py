"""What the timers of a running pipeline run on."""

from __future__ import annotations

from typing import Any

from reactivex import abc
from reactivex.disposable import Disposable
from reactivex.scheduler.eventloop import AsyncIOScheduler

__all__ = ["Scheduler"]


class Scheduler(AsyncIOScheduler):
    """Fires no timer once the pipeline has ended: what a timer held has gone back to its source."""

    closed = False

    def invoke_action(self, action: Any, state: Any = None) -> abc.DisposableBase:
        return Disposable() if self.closed else super().invoke_action(action, state)
