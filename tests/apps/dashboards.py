"""Pipelines that run beside a test, with their dashboard."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from warren import Pipeline
from warren.analytics.probes import Place
from warren.apps.dashboard.access import Access
from warren.apps.dashboard.beside import beside
from warren.connectors.sqlite.admin import FileAdmin
from warren.core.errors import StorageError
from warren.core.graph import Outlet
from warren.core.message import Outgoing

T = TypeVar("T")

HERE = Place("127.0.0.1", 0)


@contextmanager
def at_work(pipeline: Pipeline) -> Iterator[None]:
    """The pipeline runs in another thread until the block ends."""
    started: Future[Any] = Future()

    async def main() -> None:
        running = pipeline.start()
        started.set_result((asyncio.get_running_loop(), running))
        await running

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        loop, running = started.result(20)
        yield
        loop.call_soon_threadsafe(running.stop)
    finally:
        thread.join(20)
    assert not thread.is_alive()


@contextmanager
def on_a_page(pipeline: Pipeline, token: str | None = None, *, changes: bool = False) -> Iterator[str]:
    """The pipeline runs, and its dashboard is served; gives its address."""
    with beside(pipeline, HERE, Access(HERE, token, changes=changes)) as (observed, address), at_work(observed):
        yield address


def in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives; an event loop of Playwright runs in the thread of the test."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


def pause() -> None:
    """Let others have a turn, before a condition is looked at again."""
    threading.Event().wait(0.02)


def publish(outlet: Outlet[Any], values: Sequence[Any]) -> None:
    """Write values to a queue."""

    async def write() -> None:
        connection = await outlet.open()
        try:
            await connection.write(Outgoing(values))
        finally:
            await connection.close()

    in_a_thread(write())


def depths(file: Path, wanted: Mapping[str, int]) -> None:
    """Wait until so many messages wait in these queues of a file."""
    end = time.monotonic() + 20

    def look() -> dict[str, int | None]:
        try:
            return {each.name: each.depth for each in in_a_thread(FileAdmin(str(file)).queues())}
        except StorageError:
            return {}

    while not wanted.items() <= (found := look()).items():
        assert time.monotonic() < end, found
        pause()
