"""Who is told: a web hook, people by mail, or a queue."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

import msgspec

from warren.analytics import sending
from warren.analytics.alerts.rules import Notification
from warren.connectors import address as addresses
from warren.core.codecs import JSON
from warren.core.errors import AddressError
from warren.core.graph import Outlet
from warren.core.message import Metadata, Outgoing

__all__ = ["Receiver", "To"]

_PATIENCE = 30.0
"""Seconds for one message to be written."""


@runtime_checkable
class Receiver(Protocol):
    """Whom notifications are sent to, from a thread of their own."""

    name: str
    """What logs call it: no secrets, and another one for each receiver."""

    def send(self, notification: Notification) -> None:
        """Try once; what this raises is logged, and it is tried again later."""
        ...


class To:
    """Who is told of which alerts: of those that have all the labels in ``where``.

    ``receiver`` is a sink, a `Receiver` of your own, or an address: ``https://…`` gets JSON by POST, ``mailto:…`` a mail by
    the server that the environment names, and that of any connector, such as ``sqlite:///…?queue=…``, a message of JSON.
    ``${NAME}`` in an address stands for a variable of the environment.

    Raises `AddressError` where an address leads nowhere.

    >>> To("https://hooks.example.com/T0/secret", where={"severity": "page"}).receiver.name.partition("#")[0]
    'https://hooks.example.com/…'
    """

    def __init__(
        self,
        receiver: str | Outlet[Any] | Receiver,
        *,
        where: Mapping[str, str] | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.where = dict(where or {})
        self.receiver: Receiver = _receiver(receiver, environment)

    def wants(self, labels: Mapping[str, str]) -> bool:
        """Whether it is told of alerts with these labels."""
        return self.where.items() <= labels.items()


def _receiver(given: str | Outlet[Any] | Receiver, environment: Mapping[str, str]) -> Receiver:
    if isinstance(given, Outlet):
        return _Queue(given.name, given)
    if not isinstance(given, str):
        return given
    address = _filled(given, environment)
    # Two addresses of one host are told apart without showing them.
    mark = hashlib.sha256(address.encode()).hexdigest()[:8]
    parts = urlsplit(address)
    if parts.scheme in ("http", "https") and parts.hostname:
        return _Sent(f"{parts.scheme}://{parts.hostname}/…#{mark}", sending.Post(address, pauses=()))
    if parts.scheme == "mailto":
        found = sending.receiver(address, environment, option="alerts, to")
        assert isinstance(found, sending.Mail)
        return _Sent(f"{address}#{mark}", replace(found, pauses=()))
    return _Queue(f"{addresses.parse(address).text.partition('?')[0]}#{mark}", addresses.sink(address))


def _filled(address: str, environment: Mapping[str, str]) -> str:
    parts = address.split("${")
    found = parts[0]
    for part in parts[1:]:
        name, closed, rest = part.partition("}")
        if not closed or name not in environment:
            raise AddressError(f"alerts: an address has ${{{name}}}, and the environment has no such variable; set it")
        found += environment[name] + rest
    return found


class _Sent:
    """A web hook or a mailbox."""

    def __init__(self, name: str, receiver: sending.Receiver) -> None:
        self.name = name
        self._receiver = receiver

    def send(self, notification: Notification) -> None:
        self._receiver.send(
            sending.Parcel("alert", notification.plain(), words=notification.words, what="a notification of alerts")
        )


class _Queue:
    """Where a sink leads: each notification is a message of JSON."""

    def __init__(self, name: str, outlet: Outlet[Any]) -> None:
        self.name = name
        self._outlet = outlet

    def send(self, notification: Notification) -> None:
        asyncio.run(asyncio.wait_for(self._write(notification), _PATIENCE))

    async def _write(self, notification: Notification) -> None:
        body, metadata = msgspec.json.encode(notification.plain()), Metadata(id=notification.id, content_type=JSON)
        connection = await self._outlet.open()
        try:
            await connection.write(Outgoing([body], lambda number: metadata))
        finally:
            await connection.close()
