"""An asyncio event loop whose time jumps: what waits for an hour in a test is done at once."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable
from typing import Any

__all__ = ["VirtualLoop"]


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for real events, and where there are none moves the time on instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.limit = math.inf
        self.reached: Callable[[], None] = _nothing

    def select(self, timeout: float | None = None) -> Any:
        limited = self.limit < math.inf
        events = super().select(0 if timeout is not None or limited else None)
        if not events and limited and (timeout is None or self.now + timeout > self.limit):
            self.now = max(self.now, self.limit)
            self.reached()
        elif not events and timeout is not None and timeout > 0:
            self.now += timeout
        return events


def _nothing() -> None:
    pass


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which starts at 0 and moves only when nothing else is left to do.

    >>> loop = VirtualLoop()
    >>> loop.run_until_complete(asyncio.sleep(3600)); loop.time() >= 3600
    True
    >>> loop.close()
    """

    def __init__(self) -> None:
        self._virtual = _JumpingSelector()
        super().__init__(self._virtual)
        # A timer is due within this of its time; the system's nanosecond is lost in a float that counts months.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual.now

    def block(self, seconds: float) -> None:
        """Pass time in a call that keeps the loop from everything else meanwhile.

        >>> loop = VirtualLoop()
        >>> loop.block(1.5); loop.time()
        1.5
        >>> loop.close()
        """
        self._virtual.now += seconds

    def advance(self, until: float) -> None:
        """Run everything that is due up to that time, and stop there; what a thread still works on is not waited for.

        >>> loop, seen = VirtualLoop(), []
        >>> timers = [loop.call_at(time, seen.append, time) for time in (1, 2, 3)]
        >>> loop.advance(2); seen, loop.time()
        ([1, 2], 2.0)
        >>> loop.close()
        """
        self._virtual.limit, self._virtual.reached = until, self.stop
        try:
            self.run_forever()
        finally:
            self._virtual.limit = math.inf
