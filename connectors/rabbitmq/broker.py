"""Where a RabbitMQ broker is and how to connect to it, as a value."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from warren.connectors.rabbitmq.tls import TLS
from warren.core.clock import Duration, seconds
from warren.core.errors import AddressError, GraphError

__all__ = ["Broker", "Server"]

VARIABLE = "WARREN_AMQP_URL"
DEFAULT = "amqp://guest:guest@localhost:5672/"
_PORTS = {"amqp": 5672, "amqps": 5671}


class Server(NamedTuple):
    """One address, taken apart; its text shows no password."""

    secure: bool
    host: str
    port: int
    user: str
    password: str
    vhost: str

    @property
    def url(self) -> str:
        """The whole address, with the password, for the client."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'amqps' if self.secure else 'amqp'}://{login}@{host}:{self.port}/{quote(self.vhost, safe='')}"

    def __str__(self) -> str:
        """The address without the password."""
        vhost = "" if self.vhost == "/" else f"/{self.vhost}"
        return f"{'amqps' if self.secure else 'amqp'}://{self.user}@{self.host}:{self.port}{vhost}"


def server(address: str) -> Server:
    """Take an ``amqp://`` or ``amqps://`` address apart.

    Raises `AddressError` where it is none; the sentence shows no password.

    >>> print(server("amqp://me:secret@mq.example/shop"))
    amqp://me@mq.example:5672/shop
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise AddressError(
            f"a broker's address cannot be read: {error}; write amqp://user:password@host:port/vhost"
        ) from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise AddressError(
            f"{_shown(address)!r} is no broker's address: write amqp://user:password@host:port/vhost, or amqps:// with TLS"
        )
    if parts.query or parts.fragment:
        raise AddressError(f"{_shown(address)}: options do not stand in a broker's address; give them to Broker(...)")
    path = parts.path.removeprefix("/")
    if "/" in path:
        raise AddressError(f"{_shown(address)}: a vhost with a slash is written with %2F, such as /%2Fshop")
    return Server(
        parts.scheme == "amqps",
        parts.hostname,
        port or _PORTS[parts.scheme],
        unquote(parts.username) if parts.username is not None else "guest",
        unquote(parts.password) if parts.password is not None else "guest",
        unquote(path) or "/",
    )


def _shown(address: str) -> str:
    """An address as it was typed, without the password."""
    before, at, host = address.rpartition("@")
    scheme, separator, login = before.partition("://")
    return f"{scheme}{separator}{login.partition(':')[0]}{at}{host}"


@dataclass(frozen=True, repr=False)
class Broker:
    """A RabbitMQ broker, or several in order of preference; a value, which connects to nothing by itself.

    - ``addresses``: ``amqp://user:password@host:port/vhost``, or several; the first that answers is used, and the
      preferred one again once it is back. Without one, the environment variable ``WARREN_AMQP_URL``, or ``localhost``
    - ``tls``: certificates and authorities for ``amqps://``, see `TLS`
    - ``name``: what the broker's operators see the connection as
    - ``heartbeat``: a connection that is silent for about twice as long is given up
    - ``connections``: how many for each of consuming and publishing, which never share one
    - ``lane``: whether to use the fast lane; without it every frame goes through aiormq, with the same results
    - ``patience``: how long opening waits for a broker that does not answer yet; once connected, reconnecting never ends
    - ``backoff``: the first and the longest delay between attempts to connect; they double, with jitter
    - ``failures``, ``cooldown``: after so many attempts in a row that failed, none is made for so long
    - ``back``: how often a preferred address that failed is tried again
    - ``management``: address of the management API (``http://user:password@host:15672``), for what only it knows

    >>> Broker(["amqp://app:secret@one/shop", "amqp://app:secret@two/shop"])
    Broker(amqp://app@one:5672/shop, amqp://app@two:5672/shop)
    """

    addresses: str | Sequence[str] = ()
    tls: TLS | None = None
    name: str = "warren"
    heartbeat: Duration = "10s"
    connections: int = 1
    lane: bool = True
    patience: Duration = "5s"
    backoff: tuple[Duration, Duration] = ("100ms", "10s")
    failures: int = 5
    cooldown: Duration = "5s"
    back: Duration = "30s"
    management: str | None = None
    servers: tuple[Server, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Check the values, and take the addresses apart."""
        given = (self.addresses,) if isinstance(self.addresses, str) else tuple(self.addresses)
        given = given or (os.environ.get(VARIABLE) or DEFAULT,)
        object.__setattr__(self, "addresses", given)
        object.__setattr__(self, "servers", tuple(map(server, given)))
        if not 1 <= seconds(self.heartbeat) <= 600:
            raise GraphError(f"Broker(heartbeat={self.heartbeat!r}): give between 1 s and 10 minutes")
        for name in ("connections", "failures"):
            if getattr(self, name) < 1:
                raise GraphError(f"Broker({name}={getattr(self, name)!r}): it must be at least 1")
        if self.tls is not None and not all(each.secure for each in self.servers):
            raise GraphError("Broker(tls=...): only amqps:// addresses are encrypted; write amqps:// in each of them")

    def __repr__(self) -> str:
        """The addresses, without passwords."""
        return f"Broker({', '.join(map(str, self.servers))})"
