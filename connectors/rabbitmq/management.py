"""RabbitMQ's management API: what only it knows of a queue, asked in a thread, with nothing but the standard library."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.tls import TLS
from warren.core.errors import BrokerError

__all__ = ["Numbers", "delivery_limits", "nodes", "numbers", "queues", "settings"]

_ANSWER = 5.0
_COLUMNS = "messages_unacknowledged,message_stats"


class Numbers(NamedTuple):
    """What the API tells of a queue, as of up to five seconds ago.

    ``rates`` are messages a second, as far as it tells them: ``published``, ``delivered``, ``acknowledged``.
    """

    unacked: int
    rates: dict[str, float]


async def numbers(broker: Broker, queue: str, vhost: str) -> Numbers | None:
    """Ask the API that ``broker`` names of a queue; ``None`` where it knows no such queue, or not yet.

    Without user and password in its address, those of the broker's first one are used.
    Raises `BrokerError` where it cannot be asked.
    """
    path = f"/api/queues/{quote(vhost, safe='')}/{quote(queue, safe='')}?columns={_COLUMNS}"
    found = await asyncio.to_thread(_get, broker, path)
    if not isinstance(found, dict) or "messages_unacknowledged" not in found:
        return None
    stats = found.get("message_stats") or {}
    details = {
        "published": stats.get("publish_details"),
        "delivered": stats.get("deliver_get_details"),
        "acknowledged": stats.get("ack_details"),
    }
    rates = {name: float(each["rate"]) for name, each in details.items() if each and "rate" in each}
    return Numbers(found["messages_unacknowledged"], rates)


async def queues(broker: Broker, vhost: str) -> list[dict[str, Any]]:
    """Every queue of a vhost, sorted by name, with its numbers. Raises `BrokerError` where the API cannot be asked."""
    path = f"/api/queues/{quote(vhost, safe='')}?columns=name,messages_ready,messages_unacknowledged,consumers"
    found = await asyncio.to_thread(_get, broker, path)
    return sorted(found if isinstance(found, list) else [], key=lambda each: str(each["name"]))


async def delivery_limits(broker: Broker, queue: str, vhost: str) -> list[int]:
    """How often a queue may hand a message out again, as far as its arguments and its policies say."""
    said = [each.get("delivery-limit") for each in await _said(broker, queue, vhost)]
    return [limit for limit in said if isinstance(limit, int)]


async def settings(broker: Broker, queue: str, vhost: str) -> dict[str, Any]:
    """What its policies and, before them, its arguments say of a queue, by the names that policies have for it."""
    own, policy = await _said(broker, queue, vhost)
    return policy | own


async def _said(broker: Broker, queue: str, vhost: str) -> tuple[dict[str, Any], dict[str, Any]]:
    path = f"/api/queues/{quote(vhost, safe='')}/{quote(queue, safe='')}?columns=arguments,effective_policy_definition"
    found = await asyncio.to_thread(_get, broker, path)
    if not isinstance(found, dict):
        return {}, {}
    # What is empty may be a list.
    own = dict(found.get("arguments") or {})
    return {key.removeprefix("x-"): own[key] for key in own}, dict(found.get("effective_policy_definition") or {})


async def nodes(broker: Broker) -> tuple[list[dict[str, Any]], float | None]:
    """Every node with its alarms and limits, and by how many seconds the clock of the one that answers is ahead of ours."""
    clock: list[str] = []
    found = await asyncio.to_thread(_get, broker, "/api/nodes", clock)
    try:
        # It tells whole seconds, the rest of which is cut off.
        ahead = parsedate_to_datetime(clock[0]).timestamp() + 0.5 - time.time()
    except (IndexError, ValueError):
        ahead = None
    return found if isinstance(found, list) else [], ahead


def _login(broker: Broker) -> tuple[str, str]:
    parts = urlsplit(broker.management or "")
    if parts.username is None:
        return broker.servers[0].user, broker.servers[0].password
    return unquote(parts.username), unquote(parts.password or "")


def _get(broker: Broker, path: str, clock: list[str] | None = None) -> Any:
    """The decoded answer to one request; ``None`` where there is nothing of that name."""
    import http.client

    assert broker.management is not None
    parts = urlsplit(broker.management)
    user, password = _login(broker)
    secret = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    shown = f"the management API at {parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    try:
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it is no http:// or https:// address")
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = (broker.tls or TLS()).context()
            connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=_ANSWER, context=context)
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_ANSWER)
        try:
            connection.request("GET", parts.path.rstrip("/") + path, headers={"Authorization": f"Basic {secret}"})
            answer = connection.getresponse()
            text = answer.read()
            if clock is not None and (date := answer.getheader("Date")):
                clock.append(date)
        finally:
            connection.close()
        if answer.status == 404:
            return None
        if answer.status in (401, 403):
            raise BrokerError(f"{shown} refused user {user!r}: give it the tag 'monitoring', or correct user and password")
        if answer.status >= 300:
            raise BrokerError(f"{shown} answered {answer.status} {answer.reason}; check its address")
        found = json.loads(text)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise BrokerError(f"{shown} cannot be asked: {error}; enable the plugin, or correct the address") from error
    return found
