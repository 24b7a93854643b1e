"""What receivers are still to be told: kept until they have it."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from warren.analytics.alerts.receivers import Receiver
from warren.analytics.alerts.rules import Notification
from warren.core.clock import Clock

__all__ = ["Outbox"]

_log = logging.getLogger("warren.alerts")

_FIRST, _LONGEST = 1.0, 300.0
"""Seconds until the second attempt, doubled with each one after it, and at most."""


_Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""A receiver, a pipeline, a group."""


class Waiting(msgspec.Struct):
    """What one receiver is still to be told of one group."""

    receiver: str
    notification: Notification
    tries: int = 0
    due: float = 0.0


class Outbox:
    """Tells receivers from a thread of its own, and again until they have it; ``clock`` tells seconds for the pauses.

    What is still to be told of a group grows together: an incident that ends before a receiver could be told of it is told
    with its end. So as much waits as there are incidents, however long a receiver is away. ``changed`` is called, on that
    thread, when somebody was told.
    """

    def __init__(
        self, receivers: Sequence[Receiver], changed: Callable[[], None] = lambda: None, clock: Clock = time.monotonic
    ) -> None:
        self._receivers = {each.name: each for each in receivers}
        self._changed = changed
        self._clock = clock
        self._waiting: dict[_Key, Waiting] = {}
        self._moved = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self.told = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, receiver: str, notification: Notification) -> None:
        """Have a receiver told, with the next `wake` at the latest."""
        with self._moved:
            self._add(Waiting(receiver, notification))

    def wake(self) -> None:
        """Tell what is due; returns at once."""
        with self._moved:
            self._moved.notify()

    def _add(self, more: Waiting) -> None:
        key = (more.receiver, more.notification.pipeline, tuple(sorted(more.notification.group.items())))
        there = self._waiting.setdefault(key, more)
        if there is not more:
            news = {each.key: each for each in (*there.notification.incidents, *more.notification.incidents)}
            there.notification.incidents = list(news.values())

    def state(self) -> Any:
        """What waits, as plain values."""
        with self._moved:
            return msgspec.to_builtins(list(self._waiting.values()))

    def restore(self, state: Any) -> None:
        """Have told what `state` gave. Raises `msgspec.ValidationError` where it gave something else."""
        for each in msgspec.convert(state, list[Waiting]):
            self._add(Waiting(each.receiver, each.notification))

    def start(self) -> None:
        """Begin to tell."""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="warren-alerts", daemon=True)
        self._thread.start()

    def close(self, linger: float) -> None:
        """Try once more what waits, for so many seconds at most, and end."""
        with self._moved:
            self._closing = True
            self._moved.notify()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(linger)

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._moved:
                if not self._closing and (pause := self.pause()) != 0:
                    self._moved.wait(pause)
                closing = self._closing
            self.tell(all=closing)

    def pause(self) -> float | None:
        """Seconds until the next attempt; ``None`` where nothing waits."""
        times = [each.due for each in self._waiting.values() if each.receiver in self._receivers]
        return max(0.0, min(times) - self._clock()) if times else None

    def tell(self, all: bool = False) -> None:
        """Tell what is due, or all that waits."""
        with self._moved:
            now = self._clock()
            mine = {key: each for key, each in self._waiting.items() if each.receiver in self._receivers}
            due = {key: copy.deepcopy(each) for key, each in mine.items() if all or each.due <= now}
        for key, each in due.items():
            try:
                self._receivers[each.receiver].send(each.notification)
            except Exception as error:
                self._failed(self._waiting[key], error)
            else:
                self._told(key, each.notification)
                self._changed()

    def _told(self, key: _Key, notification: Notification) -> None:
        """What came meanwhile still waits."""
        with self._moved:
            left = [each for each in self._waiting[key].notification.incidents if each not in notification.incidents]
            if left:
                self._waiting[key] = Waiting(key[0], msgspec.structs.replace(notification, incidents=left))
            else:
                del self._waiting[key]
            self.told += 1

    def _failed(self, waiting: Waiting, error: Exception) -> None:
        with self._moved:
            pause = min(_FIRST * 2**waiting.tries, _LONGEST)
            waiting.tries, waiting.due = min(waiting.tries + 1, 20), self._clock() + pause
        if waiting.tries == 1:
            _log.warning("%s is not told yet: %s", waiting.receiver, error)
