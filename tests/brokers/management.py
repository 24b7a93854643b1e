"""A few calls of RabbitMQ's management API, with nothing but the standard library."""

from __future__ import annotations

import base64
import http.client
import json
from urllib.parse import quote

GUEST = "Basic " + base64.b64encode(b"guest:guest").decode("ascii")


def quoted(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def address(scheme: str, user: str, password: str, port: int, vhost: str) -> str:
    """The address of a vhost on loopback; the one named `/` is the path's default."""
    return f"{scheme}://{quoted(user)}:{quoted(password)}@127.0.0.1:{port}/{'' if vhost == '/' else quoted(vhost)}"


def call(port: int, method: str, path: str, body: object = None) -> object:
    """The decoded answer to one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30.0)
    try:
        content = None if body is None else json.dumps(body)
        headers = {"Authorization": GUEST, "Content-Type": "application/json"}
        connection.request(method, f"/api/{path}", content, headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status >= 300:
        raise RuntimeError(
            f"{method} /api/{path} answered {answer.status} {answer.reason}: {text.decode('utf-8', 'replace')}"
        )
    return json.loads(text) if text else None
