"""A pool of processes that belong to this program: they end with it, and leave it to the program to be interrupted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from warren.core.handling import beginnings

__all__ = ["Processes"]

T = TypeVar("T")

# Seconds that a process has to end once it is not needed, and again once it was told to.
_GRACE = 1.0


class Processes(ProcessPoolExecutor):
    """Processes that end with their pool, even where a call in one never does, and with the program, however that ends.

    Ctrl-C reaches every process that a terminal started. These do not hear it, as the program is to drain.
    """

    def __init__(self, workers: int) -> None:
        # A process that is forked off one with threads may stand still for ever.
        context = SpawnContext()
        make, made = context.Process, list[BaseProcess]()

        def process(*arguments: Any, **options: Any) -> BaseProcess:
            made.append(make(*arguments, **options))
            return made[-1]

        context.Process = process  # type: ignore[misc,assignment]  # this context is made for this pool alone
        self._made = made
        super().__init__(workers, mp_context=context, initializer=_begin, initargs=tuple(beginnings))

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a function called in one of the processes, which are started here."""
        with _uninterrupted():
            return super().submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the processes end; those that do not are made to, a little later."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        if self._made:
            # Not a daemon: a program that ends meanwhile waits for the processes, which are given little time.
            threading.Thread(target=_end, args=(list(self._made),), name="warren-pool-end").start()
            self._made.clear()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """What starts here inherits that it is not interrupted: it would be too late to say so once it runs."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(*beginnings: Callable[[], object]) -> None:
    """Runs in each process first."""
    _end_with_parent()
    for begin in beginnings:
        begin()


def _end_with_parent() -> None:
    """Runs in each process: nobody would tell it that the program was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _end(processes: list[BaseProcess]) -> None:
    """See processes end: by themselves, when they are told to, or by force."""
    alive = [process for process in processes if process.pid is not None]
    for end in (BaseProcess.terminate, BaseProcess.kill):
        until = time.monotonic() + _GRACE
        while alive and (left := until - time.monotonic()) > 0:
            ended = connection.wait([process.sentinel for process in alive], left)
            alive = [process for process in alive if process.sentinel not in ended]
        for process in alive:
            end(process)
