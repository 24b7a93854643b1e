"""Connectors by address, so that a configuration or a command line can name them.

========================================= ======================================================================
``memory:NAME``                           a queue in this process
``sqlite:///path/to/file?queue=NAME``     a queue in a file; ``sqlite:relative/path?queue=NAME`` from where you stand
========================================= ======================================================================

A package adds a scheme with an entry point in the group ``warren.connectors``: its name is the scheme, its value an
object with ``source(address, type)`` and ``sink(address)``, both taking an `Address`. The built-in ones do the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from warren.core.errors import AddressError
from warren.core.graph import Inlet, Outlet

__all__ = ["Address", "Connector", "parse", "schemes", "sink", "source"]

GROUP = "warren.connectors"

_PLANNED = {"amqp": "RabbitMQ", "amqps": "RabbitMQ"}


class Address(NamedTuple):
    """The parts of an address.

    >>> parse("sqlite:///var/orders.db?queue=orders")
    Address(scheme='sqlite', host='', path='/var/orders.db', options={'queue': 'orders'}, text='sqlite:///var/orders.db?queue=orders')
    """

    scheme: str
    host: str
    path: str
    options: Mapping[str, str]
    text: str

    def only(self, *known: str) -> None:
        """Raise `AddressError` where an option is none of the known ones."""
        for name in self.options:
            if name not in known:
                raise AddressError(f"{self.text}: unknown option {name!r}; {self.scheme} knows {', '.join(known) or 'none'}")


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
        raise AddressError(f"{address!r} is not an address: {error}") from error
    if not parts.scheme:
        raise AddressError(f"{address!r} is not an address: write SCHEME:REST, with one of {', '.join(schemes())}")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) != len(pairs):
        raise AddressError(f"{address}: an option is given twice; give each once")
    return Address(parts.scheme, parts.netloc, unquote(parts.path), options, address)


def schemes() -> list[str]:
    """The schemes that are known here, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


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

    >>> sink("kafka://here/orders")
    Traceback (most recent call last):
    ...
    warren.core.errors.AddressError: kafka://here/orders: no connector knows the scheme 'kafka'; known are memory, sqlite
    """
    parts = parse(address)
    return _find(parts).sink(parts)


def _find(address: Address) -> Connector:
    found = list(entry_points(group=GROUP, name=address.scheme))
    if found:
        connector: Connector = found[0].load()
        return connector
    if address.scheme in _PLANNED:
        raise AddressError(
            f"{address.text}: {_PLANNED[address.scheme]} is not there yet in this version; use one of {', '.join(schemes())}"
        )
    raise AddressError(
        f"{address.text}: no connector knows the scheme {address.scheme!r}; known are {', '.join(schemes()) or 'none'}"
    )
