"""The pages of a dashboard, and what they ask for, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from warren.analytics.probes import Place
from warren.apps.dashboard.access import HEADERS, Access, guarded
from warren.apps.dashboard.asked import answer, asked, read
from warren.apps.dashboard.hub import Hub
from warren.apps.dashboard.queues import Queues
from warren.core.errors import AddressError, GraphError

if TYPE_CHECKING:
    from aiohttp import web

    from warren.apps.dashboard.recorded import Recorded

__all__ = ["Server"]

_log = logging.getLogger("warren.dashboard")

_STATIC = Path(__file__).parent / "static"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".html": "text/html"}
_EVERY = 1.0
_LARGEST = 1 << 16


class _Token(msgspec.Struct):
    token: str


class Server:
    """Serves what a `Hub` knows, on the running event loop, until it is closed.

    Raises `GraphError` where aiohttp is missing, and `AddressError` where the place is taken or none of this machine.
    """

    def __init__(self, hub: Hub, queues: Queues, at: Place, access: Access, recorded: Recorded | None = None) -> None:
        try:
            import aiohttp  # noqa: F401 - it is to be missed here, not when somebody asks
        except ImportError as error:
            raise GraphError("a dashboard needs aiohttp: pip install 'warren[dashboard]'") from error
        self.hub = hub
        self.access = access
        self._queues = queues
        self._at = at
        self._recorded = recorded
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self.address = ""
        self._files = {path.name: path.read_bytes() for path in sorted(_STATIC.iterdir()) if path.suffix in _KINDS}

    async def start(self) -> None:
        """Listen."""
        from aiohttp import web

        app = web.Application(middlewares=[guarded(self.access)], client_max_size=_LARGEST)
        app.on_response_prepare.append(_with_headers)
        app.router.add_get("/", self._page)
        app.router.add_get("/static/{name}", self._file)
        app.router.add_post("/session", self._sign_in)
        app.router.add_get("/api/session", self._session)
        app.router.add_get("/api/events", self._events)
        app.router.add_get("/api/hours", self._hours)
        asked(app, self._queues)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.2)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self._at.host, self._at.port)
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise AddressError(
                f"a dashboard cannot be served at {self._at}: {error.strerror or error}; give another HOST:PORT, or end "
                f"what listens there"
            ) from error
        port = self._runner.addresses[0][1]
        self.address = f"http://{Place(self._at.host, port)}"
        works = [self._tick()] + ([] if self._recorded is None else [self._recorded.watch(self.hub.notice)])
        self._tasks = [asyncio.get_running_loop().create_task(work) for work in works]

    async def close(self) -> None:
        """Stop listening."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            try:
                self.hub.tick()
            except Exception:
                _log.exception("what the reports say cannot be shown")

    async def _page(self, request: web.Request) -> web.Response:
        return self._asset("index.html")

    async def _file(self, request: web.Request) -> web.Response:
        return self._asset(request.match_info["name"])

    def _asset(self, name: str) -> web.Response:
        from aiohttp import web

        body = self._files.get(name)
        if body is None:
            raise web.HTTPNotFound(text="there is no such page\n")
        kind = _KINDS[Path(name).suffix]
        return web.Response(body=body, content_type=kind, charset="utf-8", headers={"Cache-Control": "no-cache"})

    async def _sign_in(self, request: web.Request) -> web.Response:
        session = self.access.sign_in((await read(request, _Token)).token)
        if session is None:
            return answer({"error": "this is not the token"}, 401)
        response = answer({})
        self.access.remember(request, response, session)
        return response

    async def _session(self, request: web.Request) -> web.Response:
        return answer({"changes": self.access.changes, "change": self.access.change if self.access.changes else None})

    async def _hours(self, request: web.Request) -> web.Response:
        return answer({} if self._recorded is None else self._recorded.hours)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        async with contextlib.aclosing(self.hub.watch()) as events:
            try:
                async for event in events:
                    await response.write(event)
            except ConnectionError:
                pass
        return response


async def _with_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["Server"] = "warren"
