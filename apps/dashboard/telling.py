"""Where workers send their reports, and how a dashboard gets them."""

from __future__ import annotations

import asyncio
import contextlib

from warren.apps.dashboard.hub import Hub
from warren.apps.dashboard.snapshot import Snapshot

__all__ = ["Beside"]


class Beside:
    """Hands reports to a dashboard in another thread of this process."""

    threaded = True

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self._hub = hub
        self._loop = loop

    async def send(self, snapshot: Snapshot) -> None:
        """Hand one over."""
        with contextlib.suppress(RuntimeError):  # the dashboard has been closed
            self._loop.call_soon_threadsafe(self._hub.take, snapshot)

    async def close(self) -> None:
        """Nothing to close."""
