"""Who may look and who may change something: the token, sessions, and what a browser is told to refuse."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from warren.analytics.probes import Place
from warren.core.errors import AddressError

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Middleware

__all__ = ["HEADERS", "Access", "guarded", "is_loopback"]

_SHORTEST = 16
_SESSIONS = 1000
_HOURS = 12
_CHANGE = "X-Warren-Change"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What every answer tells the browser: no script but ours, in no frame, nothing told to others."""


class Access:
    """Decides about requests. Beyond this machine a token is needed; without ``changes`` nothing can be changed.

    Raises `AddressError` where everybody could look, or the token is too short to keep anybody out.

    >>> Access(Place("0.0.0.0", 8080), "short", changes=False)
    Traceback (most recent call last):
    ...
    warren.core.errors.AddressError: the token of a dashboard has 5 characters, which can be guessed; give 16 or more
    """

    def __init__(self, at: Place, token: str | None, *, changes: bool) -> None:
        self.here = is_loopback(at.host)
        if token is None and not self.here:
            raise AddressError(f"at {at} everybody could look: set WARREN_DASHBOARD_TOKEN, or listen on this machine only")
        if token is not None and len(token) < _SHORTEST:
            raise AddressError(
                f"the token of a dashboard has {len(token)} characters, which can be guessed; give {_SHORTEST} or more"
            )
        self.token = token
        self.changes = changes
        self.change = secrets.token_urlsafe(16)
        """What a page of ours sends with each change, and a page of others cannot know."""
        self._sessions: dict[str, float] = {}

    def sign_in(self, token: str) -> str | None:
        """A new session, if the token is right."""
        if self.token is None or not _same(token, self.token):
            return None
        session = secrets.token_urlsafe(32)
        self._sessions[session] = time.monotonic() + _HOURS * 3600
        while len(self._sessions) > _SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return session

    def cookie(self, request: web.Request) -> str:
        """The name of the cookie; those of a host are shared by its ports."""
        return f"warren-{urlsplit(f'//{request.host}').port or 0}"

    def remember(self, request: web.Request, response: web.Response, session: str) -> None:
        """Have the browser send the session from now on, to us and from our pages alone."""
        response.set_cookie(
            *(self.cookie(request), session), httponly=True, samesite="Strict", secure=request.secure, max_age=_HOURS * 3600
        )

    def allowed(self, request: web.Request) -> bool:
        """Whether whoever asks may look."""
        session = request.cookies.get(self.cookie(request), "")
        return self.token is None or self._bears(request) or self._sessions.get(session, 0.0) > time.monotonic()

    def refusal(self, request: web.Request) -> tuple[int, str] | None:
        """Why a request is not answered, if so."""
        if self.token is None and not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            # A name that leads here but is not ours: a page elsewhere would read what only this machine may.
            return 421, "ask for it by localhost or 127.0.0.1"
        if request.path.startswith("/api/") and request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            # A look into a queue may cost messages, and a picture on a page elsewhere could ask for one.
            return 403, "a page of another place is told nothing here"
        if request.method in ("GET", "HEAD"):
            return None
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return 403, "a page of another place may change nothing here"
        if request.content_type != "application/json":
            return 415, "send JSON"
        return None

    def change_refusal(self, request: web.Request) -> str | None:
        """Why a change is not made, if so."""
        if not self.changes:
            return "this dashboard only looks: start it with --allow-changes to change something"
        if not self._bears(request) and not _same(request.headers.get(_CHANGE, ""), self.change):
            return f"the header {_CHANGE} is missing or wrong: load the page again"
        return None

    def _bears(self, request: web.Request) -> bool:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        return self.token is not None and kind.lower() == "bearer" and _same(token.strip(), self.token)


def _same(given: str, right: str) -> bool:
    """Whether two texts are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(), right.encode())


def is_loopback(host: str) -> bool:
    """Whether only this machine gets there.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("localhost.example")
    (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def guarded(access: Access) -> Middleware:
    """What stands before all that is answered."""
    from aiohttp import web

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        refused = access.refusal(request)
        if refused is None and request.path.startswith("/api/") and not access.allowed(request):
            refused = 401, "a token is needed"
        if refused is None and request.path.startswith("/api/") and request.method != "GET":
            why = access.change_refusal(request)
            refused = None if why is None else (403, why)
        if refused is None:
            return await handler(request)
        status, why = refused
        return web.json_response({"error": why}, status=status)

    return guard
