"""Signals that an event loop hears although it waits."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["on_signals", "run", "wakeful"]

T = TypeVar("T")


@contextmanager
def wakeful() -> Iterator[None]:
    """Have signals wake the running event loop.

    A signal that comes just as the loop begins to wait, or in another thread, is otherwise heard when the wait is over,
    however long that takes: Python calls handlers between two instructions of the main thread. Elsewhere than there, and
    where the loop sees to it by itself as uvloop does, it does nothing.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    ours, its = socket.socketpair()
    with ours, its:
        ours.setblocking(False)
        its.setblocking(False)
        before = signal.set_wakeup_fd(its.fileno(), warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)
            yield
            return
        loop.add_reader(ours, ours.recv, 4096)
        try:
            yield
        finally:
            loop.remove_reader(ours)
            signal.set_wakeup_fd(-1)


@contextmanager
def on_signals(handle: Callable[[int, object], object]) -> Iterator[None]:
    """Have ``handle`` called at SIGINT and SIGTERM, although the running event loop waits; afterwards all is as it was."""
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with wakeful():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in which an interrupt is heard at once, whenever it comes.

    >>> run(asyncio.sleep(0, "done"))
    'done'
    """

    async def heard() -> T:
        with wakeful():
            return await main

    return asyncio.run(heard())
