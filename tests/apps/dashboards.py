"""Pipelines that run beside a test, with their dashboard."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from warren import Pipeline
from warren.analytics.probes import Place
from warren.apps.dashboard.access import Access
from warren.apps.dashboard.beside import beside
from warren.core.graph import Outlet
from warren.core.message import Outgoing

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


def publish(outlet: Outlet[Any], values: Sequence[Any]) -> None:
    """Write values to a queue, in a thread of its own: an event loop of Playwright runs in that of the test."""

    async def write() -> None:
        connection = await outlet.open()
        try:
            await connection.write(Outgoing(values))
        finally:
            await connection.close()

    thread = threading.Thread(target=lambda: asyncio.run(write()))
    thread.start()
    thread.join()
