"""Connectors by address, so that a configuration or a command line can name them.

========================================= ======================================================================
``memory:NAME``                           a queue in this process
``sqlite:///path/to/file?queue=NAME``     a queue in a file; ``sqlite:relative/path?queue=NAME`` from where you stand
``amqp://user@host/vhost?queue=NAME``     a queue on RabbitMQ, ``amqps://`` with TLS; ``?exchange=NAME`` as a sink
========================================= ======================================================================

A package adds a scheme with an entry point in the group ``warren.connectors``: its name is the scheme, its value an
object with ``source(address, type)`` and ``sink(address)``, both taking an `Address`. The built-in ones do the same. With
``admin(address)`` as well, the command line looks after its queues.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from warren.core import plugins
from warren.core.admin import Admin
from warren.core.errors import AddressError, PluginError
from warren.core.graph import Inlet, Outlet

__all__ = ["Address", "Connector", "admin", "parse", "schemes", "sink", "source"]

_LOGIN = re.compile(r"^([^:/]+:(?://)?[^:@/]*):.*@")


class Address(NamedTuple):
    """The parts of an address; ``host`` is with the login, ``text`` and ``repr`` show no password.

    >>> parse("sqlite:///var/orders.db?queue=orders")
    Address(scheme='sqlite', host='', path='/var/orders.db', options={'queue': 'orders'}, text='sqlite:///var/orders.db?queue=orders')
    """

    scheme: str
    host: str
    path: str
    options: Mapping[str, str]
    text: str

    def __repr__(self) -> str:
        """Its parts, without a password."""
        host = self.host.rpartition("@")[2]
        shown = f"scheme={self.scheme!r}, host={host!r}, path={self.path!r}, options={self.options!r}, text={self.text!r}"
        return f"Address({shown})"

    def only(self, *known: str) -> None:
        """Raise `AddressError` where an option is none of the known ones."""
        for name in self.options:
            if name not in known:
                # A name with other signs may be a piece of a password with a question mark in it.
                shown = f"unknown option {name!r}" if re.fullmatch(r"[\w-]+", name) else "what follows the ? is no option"
                raise AddressError(f"{self.text}: {shown}; {self.scheme} knows {', '.join(known) or 'none'}")


class Connector(Protocol):
    """What an entry point gives: it makes sources and sinks of one scheme."""

    def source(self, address: Address, type: Any) -> Inlet[Any]:
        """The source at an address; raises `AddressError`."""
        ...

    def sink(self, address: Address) -> Outlet[Any]:
        """The sink at an address; raises `AddressError`."""
        ...


def parse(address: str) -> Address:
    """Take an address apart.

    Raises `AddressError` where it has no scheme, or names an option twice.
    """
    try:
        parts = urlsplit(address)
    except ValueError as error:
        # The reason may show the password, so it is left out where there may be one.
        reason = "what stands behind the slashes is no host" if "@" in address else error
        raise AddressError(f"{_shown(address)!r} is not an address: {reason}") from None
    if not parts.scheme:
        raise AddressError(f"{_shown(address)!r} is not an address: write SCHEME:REST, with one of {', '.join(schemes())}")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) != len(pairs):
        raise AddressError(f"{_shown(address)}: an option is given twice; give each once")
    return Address(parts.scheme, parts.netloc, unquote(parts.path), options, _shown(address))


def _shown(address: str) -> str:
    """An address without a password."""
    return _LOGIN.sub(r"\1@", address)


def schemes() -> list[str]:
    """The schemes that are known here, sorted."""
    return plugins.names("connector")


def source(address: str, type: Any = None) -> Inlet[Any]:
    """The source at an address; bodies are decoded to ``type``, and stay bytes without one.

    Raises `AddressError` where the address leads nowhere.

    >>> source("memory:orders", dict)
    memory:orders
    """
    parts = parse(address)
    return _find(parts).source(parts, type)


def sink(address: str) -> Outlet[Any]:
    """The sink at an address.

    Raises `AddressError` where the address leads nowhere.

    >>> sink("fax:orders")
    Traceback (most recent call last):
    ...
    warren.core.errors.AddressError: fax:orders: no connector knows the scheme 'fax'; known are amqp, amqps, memory, sqlite
    """
    parts = parse(address)
    return _find(parts).sink(parts)


def admin(address: str) -> tuple[Admin, str]:
    """What looks after the queues at an address, and the queue that it names, or an empty text.

    Raises `AddressError` where the address leads nowhere, or its connector has no queues to look after.

    >>> admin("memory:orders")
    Traceback (most recent call last):
    ...
    warren.core.errors.AddressError: memory:orders: queues of the scheme 'memory' cannot be looked after from outside
    """
    parts = parse(address)
    give = getattr(_find(parts), "admin", None)
    if give is None:
        raise AddressError(f"{parts.text}: queues of the scheme {parts.scheme!r} cannot be looked after from outside")
    found: tuple[Admin, str] = give(parts)
    return found


def _find(address: Address) -> Connector:
    # What has no slashes may be a user and a password.
    shown = address.text if address.host or "@" not in address.text else f"{address.scheme}:…"
    try:
        connector: Connector | None = plugins.find("connector", address.scheme)
    except PluginError as error:
        raise AddressError(f"{shown}: {error}") from error
    if connector is not None:
        return connector
    raise AddressError(
        f"{shown}: no connector knows the scheme {address.scheme!r}; known are {', '.join(schemes()) or 'none'}"
    )
