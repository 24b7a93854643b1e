"""Values by key of which those are forgotten that were not changed for a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from itertools import repeat
from math import inf
from typing import Any

from warren.core.stage import Stage
from warren.core.state import Table

__all__ = ["Expiring"]

_SLACK = 1 / 4
"""How much longer than its time a value of which nobody asks may stay: so many are forgotten at once."""


class Expiring:
    """The values of a step by key; of one that was not changed for ``ttl`` seconds of the pipeline's clock nothing is left.

    They live in ``table``, or in memory where there is none. Call `look` with the keys whose values are looked at next. A
    clock that is set back makes nothing older or younger.
    """

    def __init__(self, stage: Stage, table: Table | None, ttl: float) -> None:
        self._values: dict[Hashable, Any] = {} if table is None else table
        self.get: Callable[[Hashable, Any], Any] = self._values.get
        self._table = table
        self._stage = stage
        self._ttl = ttl
        self._times = {} if table is None else table.timed(stage.run.clock())
        self._waits = False
        self._now = max(self._times.values(), default=-inf)
        self._read_clock()
        self._sweep()

    def update(self, changes: Mapping[Hashable, Any], /) -> None:
        """Take over new values of some keys."""
        self._values.update(changes)
        self._times.update(dict.fromkeys(changes, self._now))
        if not self._waits:
            self._wait()

    def look(self, keys: Collection[Hashable]) -> None:
        """Forget those of these keys whose time is over."""
        oldest = self._read_clock() - self._ttl
        times = self._times
        if keys and min(map(times.get, keys, repeat(inf))) <= oldest:
            self._forget({key for key in keys if times.get(key, inf) <= oldest})

    def _read_clock(self) -> float:
        self._now = max(self._now, self._stage.run.clock())
        return self._now

    def _sweep(self) -> None:
        oldest = self._read_clock() - self._ttl
        self._forget([key for key, time in self._times.items() if time <= oldest])
        self._wait()

    def _forget(self, keys: Iterable[Hashable]) -> None:
        for key in keys:
            del self._times[key]
            if self._table is None:
                self._values.pop(key, None)
        if self._table is not None:
            self._table.remove(keys)

    def _wait(self) -> None:
        self._waits = bool(self._times)
        if self._waits:
            left = min(self._times.values()) + self._ttl - self._now
            self._stage.later(max(left, self._ttl * _SLACK), self._wake, idle=True)

    def _wake(self) -> None:
        self._sweep()
        if self._table is not None and self._table.removed:
            self._table.due()
