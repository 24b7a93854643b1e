"""Waiting in the event loop's own time, virtual or real."""

from __future__ import annotations

import asyncio

__all__ = ["wait", "wake"]


def wake(future: asyncio.Future[None]) -> None:
    """End a wait, unless it has ended."""
    if not future.done():
        future.set_result(None)


async def wait(changed: set[asyncio.Future[None]], due: float | None) -> None:
    """Wait for a change, or until the loop's time is ``due``."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    changed.add(future)
    timer = loop.call_at(due, wake, future) if due is not None else None
    try:
        await future
    finally:
        changed.discard(future)
        if timer is not None:
            timer.cancel()
