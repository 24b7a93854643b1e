"""An asyncio event loop whose time jumps: what waits for an hour in a test is done at once."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

__all__ = ["VirtualLoop"]


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for real events, and where there are none moves the time on instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0 if timeout is not None else None)
        if not events and timeout is not None and timeout > 0:
            self.now += timeout
        return events


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
