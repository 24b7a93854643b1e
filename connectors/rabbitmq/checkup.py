"""What may be wrong with a broker: reach, version, permissions, alarms, limits, certificates and clock."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warren.connectors.rabbitmq import management
from warren.connectors.rabbitmq.broker import Broker, Server
from warren.connectors.rabbitmq.expiry import expiry, expiry_of_file
from warren.connectors.rabbitmq.port import is_cancelled
from warren.connectors.rabbitmq.session import Session
from warren.core.checkup import Finding, State
from warren.core.clock import seconds
from warren.core.errors import BrokerError, WarrenError
from warren.core.words import plural

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel

    from warren.connectors.rabbitmq.admin import BrokerAdmin
__all__ = ["checkup", "queue_checkup"]

_OLDEST, _AGED = (3, 10), (4, 0)
_ANSWER = 2.0
_FEW_CHANNELS, _SMALL_FRAMES = 16, 4096
_SOON, _DAY = 30 * 86400.0, 86400.0
"""Seconds before a certificate's end at which it is time to renew it."""
_SKEW, _FAR = 2.0, 60.0
"""Seconds by which clocks may differ, and by which ages, rates and plots are wrong."""
_MOST_USED = 0.8
_NAME_IT = "name it: ?management=http://user:password@host:15672"
_HERE = ("localhost", "127.0.0.1", "::1")


async def checkup(broker: Broker) -> AsyncGenerator[Finding, None]:
    """Look at each address of a broker, and at what the first one that answers says of itself."""
    first: Session | None = None
    try:
        for index, server in enumerate(broker.servers):
            start = time.perf_counter()
            try:
                session = await Session.open(broker, index, "publish", seconds(broker.handshake))
            except BrokerError as error:
                yield Finding("broker", "problem", *_split(str(error)))
                continue
            yield Finding("broker", "ok", f"{server} answers, after {1000 * (time.perf_counter() - start):.0f} ms")
            for finding in _transport(broker, server, session):
                yield finding
            if first is None:
                first = session
            else:
                await session.close()
        if first is not None:
            yield _version(first)
            for finding in _tuned(first):
                yield finding
            async for finding in _permissions(first):
                yield finding
    finally:
        if first is not None:
            await first.close()
    async for finding in _nodes(broker):
        yield finding


def _split(sentence: str) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    said, sign, remedy = sentence.rpartition("; ") if "; " in sentence else sentence.rpartition(": ")
    return (said, remedy) if sign else (sentence, "check the address, and whether the broker runs")


def _transport(broker: Broker, server: Server, session: Session) -> Iterator[Finding]:
    if not server.secure:
        if server.host not in _HERE:
            yield Finding("TLS", "warning", f"{server} is not encrypted, its password included", "write amqps://")
        return
    writer = session.protocol.transport if session.protocol is not None else session.transport.writer
    secured = writer.get_extra_info("ssl_object")
    yield _certificate(f"the certificate of {server}", lambda: expiry(secured.getpeercert(binary_form=True)))
    tls = broker.tls
    if tls is not None and not tls.check:
        yield Finding("TLS", "warning", "any certificate is accepted, and so anybody in between", "leave out check=false")
    if tls is not None and tls.certificate is not None:
        own = Path(tls.certificate)
        yield _certificate(f"the client's certificate {own}", lambda: expiry_of_file(own))


def _certificate(what: str, ends: Callable[[], float]) -> Finding:
    try:
        left = ends() - time.time()
    except (OSError, ValueError) as error:
        return Finding("TLS", "unknown", f"{what} cannot be read: {error}", "look at it with openssl x509 -enddate")
    if left < 0:
        return Finding("TLS", "problem", f"{what} ended {-left / _DAY:.0f} days ago", "renew it")
    said = f"{what} is valid for {left / _DAY:.0f} days"
    return Finding("TLS", "warning", said, "renew it") if left < _SOON else Finding("TLS", "ok", said)


def _version(session: Session) -> Finding:
    said = {name: _text(value) for name, value in session.transport.server_properties.items()}
    version = said.get("version", "?")
    number = tuple(int(part) for part in version.split("-")[0].split("+")[0].split(".")[:2] if part.isdigit())
    shown = f"{said.get('product', 'the broker')} {version}"
    if number < _OLDEST:
        return Finding("version", "problem", f"{shown} is older than warren is tested with", "use RabbitMQ 3.10 or newer")
    if number < _AGED:
        return Finding("version", "warning", f"{shown} is not supported by its makers any more", "use RabbitMQ 4")
    return Finding("version", "ok", shown)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _tuned(session: Session) -> Iterator[Finding]:
    tune = session.transport.connection_tune
    few, small = 0 < tune.channel_max < _FEW_CHANNELS, 0 < tune.frame_max < _SMALL_FRAMES
    said = f"channel_max {tune.channel_max}, frame_max {tune.frame_max}, heartbeat {tune.heartbeat} s"
    remedy = "raise channel_max: each source, sink and delay needs a channel" if few else "raise frame_max to 131072"
    yield Finding("connection", "warning" if few or small else "ok", said, remedy if few or small else "")


async def _permissions(session: Session) -> AsyncGenerator[Finding, None]:
    """Make a queue that only this connection sees, write to it and read from it."""
    name, server = f"warren-doctor-{secrets.token_hex(6)}", session.broker.servers[session.index]
    start = time.perf_counter()
    steps: dict[str, Callable[[AbstractChannel], Awaitable[Any]]] = {
        "configure": lambda channel: channel.queue_declare(name, exclusive=True, auto_delete=True),
        "write": lambda channel: channel.basic_publish(b"", routing_key=name, mandatory=False),
        "read": lambda channel: channel.basic_get(name, no_ack=True),
    }
    for right, step in steps.items():
        channel = None
        try:
            async with asyncio.timeout(_ANSWER):
                channel = await session.channel()
                await step(channel)
        except (Exception, asyncio.CancelledError) as error:
            if (blocked := session.blocked) is not None:
                yield Finding("alarm", "problem", f"the broker takes no messages: {blocked}", _ALARM)
                return
            if is_cancelled(error):
                raise
            if not session.alive:
                yield Finding("broker", "problem", f"the connection was lost: {session.reason}", "see the broker's log")
                return
            if "NOT_FOUND" in str(error):
                continue
            remedy = f"rabbitmqctl set_permissions -p {server.vhost} {server.user} '.*' '.*' '.*'"
            yield Finding(
                "permissions", "problem", f"user {server.user!r} may not {right}: {str(error) or 'no answer'}", remedy
            )
        else:
            if right == "read":
                yield Finding("permissions", "ok", f"user {server.user!r} may configure, write and read")
                yield Finding("latency", "ok", f"there and back took {1000 * (time.perf_counter() - start):.0f} ms")
        finally:
            if channel is not None and not channel.is_closed and session.blocked is None:
                with contextlib.suppress(Exception):
                    await channel.close()


_ALARM = "free memory or disk on its node, drain queues, or raise vm_memory_high_watermark or disk_free_limit"


async def _nodes(broker: Broker) -> AsyncGenerator[Finding, None]:
    """Alarms, limits and the clock, which the management API tells alone."""
    if broker.management is None:
        said = "its alarms, open files and clock are not told over AMQP"
        yield Finding("limits", "unknown", f"{said}, but by the management API", _NAME_IT)
        return
    try:
        nodes, ahead = await management.nodes(broker)
    except WarrenError as error:
        yield Finding("limits", "unknown", *_split(str(error)))
        return
    for node in nodes:
        name = node["name"]
        if not node.get("running", True):
            yield Finding("node", "problem", f"{name} does not run", "start it, or forget_cluster_node")
            continue
        for alarm, what in (("mem_alarm", "memory"), ("disk_free_alarm", "disk")):
            if node.get(alarm):
                yield Finding("alarm", "problem", f"{name} is short of {what} and takes no messages", _ALARM)
        if node.get("partitions"):
            yield Finding("node", "problem", f"{name} does not see {', '.join(node['partitions'])}", "heal the network")
        for finding in _used(node):
            yield finding
    if ahead is not None:
        off = abs(ahead)
        said = f"the broker's clock is {off:.0f} s {'ahead' if ahead > 0 else 'behind'}" if off > _SKEW else "clocks agree"
        state: State = "problem" if off > _FAR else "warning" if off > _SKEW else "ok"
        yield Finding("clock", state, said, "let both keep time with NTP" if state != "ok" else "")


def _used(node: dict[str, Any]) -> Iterator[Finding]:
    parts, scarce = [], False
    for what, used, most in (
        ("memory", "mem_used", "mem_limit"),
        ("open files", "fd_used", "fd_total"),
        ("processes", "proc_used", "proc_total"),
        ("sockets", "sockets_used", "sockets_total"),
    ):
        # Newer ones say 0 where they set no limit of their own.
        if node.get(most) and node.get(used) is not None:
            share = node[used] / node[most]
            scarce = scarce or share > _MOST_USED
            parts.append(f"{what} {share:.0%}")
    if node.get("disk_free_limit") and isinstance(node.get("disk_free"), int):
        room = node["disk_free"] / node["disk_free_limit"]
        scarce = scarce or room < 2
        parts.append(f"disk {node['disk_free'] / 1e9:,.1f} GB free of which {node['disk_free_limit'] / 1e9:,.2f} GB must be")
    if not parts:
        yield Finding("limits", "unknown", f"{node['name']} has told no numbers yet", "ask again in a few seconds")
        return
    remedy = "raise the limit that is nearly reached, before the broker stops taking messages" if scarce else ""
    yield Finding("limits", "warning" if scarce else "ok", f"{node['name']} uses {', '.join(parts)}", remedy)


async def queue_checkup(admin: BrokerAdmin, name: str) -> AsyncGenerator[Finding, None]:
    """Look at one queue: who reads it, and what it drops."""
    try:
        found = await admin.queue(name)
        caution = await admin.caution(name)
        said: dict[str, Any] = {}
        if admin.broker.management is not None:
            said = await management.settings(admin.broker, name, admin.broker.servers[0].vhost)
    except WarrenError as error:
        yield Finding("queue", "problem", *_split(str(error)))
        return
    waits = f"{plural(found.depth or 0, 'message waits', 'messages wait')} in {name!r}"
    if name.endswith(".dead"):
        state: State = "warning" if found.depth else "ok"
        yield Finding("queue", state, waits, "see why with warren dlq stats" if found.depth else "")
    elif found.depth and not found.consumers:
        yield Finding("queue", "warning", f"{waits}, and nobody reads it", "start the pipeline that does")
    else:
        yield Finding("queue", "ok", f"{waits}, with {plural(found.consumers or 0, 'consumer')}")
    if caution:
        yield Finding("queue", "warning", caution, "set x-delivery-limit higher, or look at it seldom")
    if admin.broker.management is None:
        yield Finding("queue", "unknown", "its limits are told by the management API alone", _NAME_IT)
    for limit in ("max-length", "max-length-bytes"):
        if limit in said and said.get("overflow", "drop-head") == "drop-head":
            lost = f"{name!r} drops its oldest messages beyond {limit} {said[limit]:,}"
            yield Finding("queue", "warning", lost, "set overflow to reject-publish, so that whoever publishes waits")
    if "message-ttl" in said and "dead-letter-exchange" not in said:
        lost = f"{name!r} drops what waits longer than {said['message-ttl'] / 1000:g} s"
        yield Finding("queue", "warning", lost, "raise message-ttl, or set a dead-letter-exchange")
