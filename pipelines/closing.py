"""How the ends of a run are closed, whatever one of them does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from warren.core.errors import ShutdownError

__all__ = ["GRACE", "close_all"]

GRACE = 5.0
"""Seconds for what must still be done after the deadline: tasks take their cancellation, each connection closes."""


async def close_all(
    pipeline: str, closes: Iterable[Callable[[], Coroutine[Any, Any, None]]], crash: Callable[[Exception], None]
) -> None:
    """Close one after another, each within its time; ``crash`` is told of each that fails, and the others still are."""
    for close in closes:
        try:
            await asyncio.wait_for(close(), GRACE)
        except TimeoutError:
            crash(
                ShutdownError(
                    f"pipeline {pipeline!r}: {close.__qualname__} did not end within {GRACE:g} s; what was not settled is "
                    f"delivered again"
                )
            )
        except Exception as error:
            crash(error)
