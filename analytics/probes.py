"""A small server that tells Prometheus the metrics of a pipeline, and probes whether it lives and is ready."""

from __future__ import annotations

import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple, cast

import msgspec

from warren.core.errors import AddressError
from warren.core.health import Health

__all__ = ["Place", "Probes", "place"]

_log = logging.getLogger("warren.analytics")

_PATHS = "there are /metrics, /live and /ready\n"


class Place(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        """As in an address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def place(address: str, what: str = "metrics") -> Place:
    """Read ``HOST:PORT``; without a host it is this machine alone. Raises `AddressError` where it is none.

    >>> str(place(":9100")), str(place("0.0.0.0:80")), place("[::1]:0").host
    ('127.0.0.1:9100', '0.0.0.0:80', '::1')
    """
    host, colon, port = str(address).rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or (":" in bare and bare == host):
        raise AddressError(f"{address!r} is no place to serve {what}; give HOST:PORT, such as ':9100' or '0.0.0.0:9100'")
    return Place(bare or "127.0.0.1", int(port))


class Probes:
    """Answers ``/metrics``, ``/live`` and ``/ready``, in threads of its own, until it is closed.

    Raises `AddressError` where the place is taken, or is none of this machine.
    """

    def __init__(self, at: Place, collector: Any, health: Callable[[], Health]) -> None:
        try:
            self._server = _Server(at, collector, health)
        except OSError as error:
            raise AddressError(
                f"metrics cannot be served at {at}: {error.strerror or error}; give another HOST:PORT, or end what listens "
                f"there"
            ) from error
        self.asking = self._server.asking
        """Those who wait for an answer."""
        self.address = f"http://{Place(at.host, self._server.server_address[1])}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="warren-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    """Not the server of `http.server`, which looks its own name up in the DNS before it begins."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, at: Place, collector: Any, health: Callable[[], Health]) -> None:
        self.address_family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
        self.collector = collector
        self.health = health
        self.asking: set[Any] = set()
        super().__init__(at, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.asking.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """It is answered, or could not be."""
        self.asking.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked and has gone away is nothing to tell of."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            _log.exception("a question for metrics could not be answered")


class _Handler(BaseHTTPRequestHandler):
    server_version = "warren"
    sys_version = ""
    timeout = 10

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        server = cast("_Server", self.server)
        if path == "/metrics":
            from prometheus_client.exposition import choose_encoder

            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, content_type, encode(server.collector))
        elif path in ("/live", "/ready"):
            health = server.health()
            fine = health.live if path == "/live" else health.ready
            status = HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, "application/json", msgspec.json.encode(health))
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", _PATHS.encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds: nothing to log."""
