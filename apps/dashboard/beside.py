"""A dashboard beside a pipeline in one process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from warren.analytics.probes import Place
from warren.apps.dashboard.access import Access
from warren.apps.dashboard.graph import graph_of
from warren.apps.dashboard.hub import Hub
from warren.apps.dashboard.queues import Queues, admins_of
from warren.apps.dashboard.reporting import Reporting
from warren.apps.dashboard.server import Server
from warren.apps.dashboard.telling import Beside
from warren.pipelines import Pipeline

__all__ = ["beside", "served"]


@contextmanager
def beside(pipeline: Pipeline, at: Place, access: Access) -> Iterator[tuple[Pipeline, str]]:
    """Serve the dashboard of a pipeline from a thread of its own; gives the pipeline to run, and the address.

    Delivery: the pipeline's guarantees do not depend on it.

    Raises `GraphError` where aiohttp is missing, and `AddressError` where the place is taken.
    """
    hub = Hub()
    server = Server(hub, Queues(admins_of(pipeline), hub.queues), at, access)
    with served(server) as loop:
        yield pipeline.observed(Reporting(graph_of(pipeline), Beside(hub, loop))), server.address


@contextmanager
def served(server: Server) -> Iterator[asyncio.AbstractEventLoop]:
    """Serve from a thread with an event loop of its own, which this gives; raises what `Server.start` does."""
    started: Future[asyncio.AbstractEventLoop] = Future()
    ending = asyncio.Event()

    async def serve() -> None:
        try:
            await server.start()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(asyncio.get_running_loop())
        await ending.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="warren-dashboard", daemon=True)
    thread.start()
    try:
        yield started.result()
    finally:
        if started.exception() is None:
            started.result().call_soon_threadsafe(ending.set)
        thread.join()
