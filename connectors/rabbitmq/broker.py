"""Where a RabbitMQ broker is and how to connect to it, as a value."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from warren.connectors.rabbitmq.tls import TLS
from warren.core.clock import Duration, seconds
from warren.core.errors import AddressError, GraphError
from warren.core.place import Place

__all__ = ["Broker", "Server", "servers"]

VARIABLE = "WARREN_AMQP_URL"
DEFAULT = "amqp://guest:guest@localhost:5672/"
_PORTS = {"amqp": 5672, "amqps": 5671}
_FORM = "write amqp://user:password@host:port/vhost, or amqps:// with TLS"


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
        return f"{self._scheme}://{login}@{self._host}:{self.port}/{quote(self.vhost, safe='')}"

    def __str__(self) -> str:
        """The address without the password."""
        vhost = "" if self.vhost == "/" else f"/{self.vhost}"
        return f"{self._scheme}://{self.user}@{self.netloc}{vhost}"

    def __repr__(self) -> str:
        """As the text, so that no debugger's or logger's output shows the password."""
        return f"Server({self})"

    @property
    def netloc(self) -> str:
        """Host and port."""
        return f"{self._host}:{self.port}"

    @property
    def _scheme(self) -> str:
        return "amqps" if self.secure else "amqp"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def servers(address: str) -> tuple[Server, ...]:
    """Take an ``amqp://`` or ``amqps://`` address apart; several hosts are separated by commas and share the rest.

    Raises `AddressError` where it is none; the sentence shows no password.

    >>> servers("amqp://me:secret@one,two:5673/shop")
    (Server(amqp://me@one:5672/shop), Server(amqp://me@two:5673/shop))
    """
    scheme, separator, rest = address.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _PORTS:
        shown = f"one that begins with {scheme}://" if separator and scheme.isalnum() else "what was given"
        raise AddressError(f"a broker's address begins with amqp:// or amqps://, and {shown} does not: {_FORM}")
    netloc, _, path = rest.partition("/")
    if "@" in path or any(sign in netloc for sign in "?#") or not netloc:
        # Most often a password with one of these signs in it, so nothing of it is shown.
        raise AddressError(
            f"a broker's address {scheme}://… cannot be taken apart: {_FORM}; in user, password and vhost write @ as %40, "
            f"/ as %2F, ? as %3F, # as %23, and give options to Broker(...)"
        )
    login, _, names = netloc.rpartition("@")
    hosts = [_host(scheme, each, bool(login)) for each in names.split(",")]
    user, colon, password = login.partition(":")
    shown = f"{scheme}://{user and user + '@'}{names}"
    vhost, _, beyond = path.partition("/")
    if any(sign in path for sign in "?#"):
        raise AddressError(f"{shown}: options do not stand in a broker's address; give them to Broker(...)")
    if beyond:
        raise AddressError(f"{shown}/{path}: a vhost with a slash is written with %2F, such as /%2Fshop")
    shared = unquote(user) or "guest", unquote(password) if colon else "guest", unquote(vhost) or "/"
    return tuple(Server(scheme == "amqps", *host, *shared) for host in hosts)


def _host(scheme: str, text: str, shown: bool) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    behind = text.rpartition("]")[2]
    if not host or port == 0 or (port is None and ":" in behind):
        # Without a login before it, this may be a user and a password whose host was forgotten.
        what = repr(text) if shown else "what stands behind the slashes"
        raise AddressError(f"a broker's address {scheme}://…: {what} is no host with a port up to 65535; {_FORM}")
    return host, port or _PORTS[scheme]


@dataclass(frozen=True, repr=False)
class Broker:
    """A RabbitMQ broker, or several in order of preference; a value, which connects to nothing by itself.

    - ``addresses``: ``amqp://user:password@host:port/vhost``, or several; the first that answers is used, and the
      preferred one again once it is back. Hosts that share the rest may stand in one, separated by commas. Without any, the
      environment variable ``WARREN_AMQP_URL``, or ``localhost``
    - ``tls``: certificates and authorities for ``amqps://``, see `TLS`
    - ``name``: what the broker's operators see the connection as
    - ``heartbeat``: a connection that is silent for about twice as long is given up
    - ``connections``: how many for each of consuming and publishing, which never share one
    - ``lane``: whether to use the fast lane; without it every frame goes through aiormq, with the same results
    - ``handshake``: how long one address has to take a connection before the next one is tried
    - ``patience``: how long opening waits for a broker that does not answer yet; once connected, reconnecting never ends
    - ``backoff``: the first and the longest delay between attempts to connect; they double, with jitter
    - ``failures``, ``cooldown``: after so many attempts in a row that failed, none is made for so long
    - ``back``: how often a preferred address that failed is tried again; ``None`` stays where it is while that works
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
    handshake: Duration = "10s"
    patience: Duration = "5s"
    backoff: tuple[Duration, Duration] = ("100ms", "10s")
    failures: int = 5
    cooldown: Duration = "5s"
    back: Duration | None = "30s"
    management: str | None = None
    servers: tuple[Server, ...] = field(init=False, compare=False)

    @classmethod
    def given(cls, broker: object) -> Broker:
        """The one that was given, or the usual one. Raises `GraphError` for what is none.

        >>> Broker.given("amqp://mq.example")
        Traceback (most recent call last):
        warren.core.errors.GraphError: broker= takes a rabbitmq.Broker, not a str; write broker=rabbitmq.Broker(address)
        """
        if broker is None:
            return cls()
        if not isinstance(broker, Broker):
            # What was given may have a password in it, so it is not shown.
            kind = type(broker).__name__
            raise GraphError(f"broker= takes a rabbitmq.Broker, not a {kind}; write broker=rabbitmq.Broker(address)")
        return broker

    def __post_init__(self) -> None:
        """Check the values, and take the addresses apart."""
        given = (self.addresses,) if isinstance(self.addresses, str) else tuple(self.addresses)
        given = given or (os.environ.get(VARIABLE) or DEFAULT,)
        object.__setattr__(self, "addresses", given)
        object.__setattr__(self, "servers", tuple(server for address in given for server in servers(address)))
        object.__setattr__(self, "backoff", tuple(self.backoff))
        if not 1 <= seconds(self.heartbeat) <= 600:
            raise GraphError(f"Broker(heartbeat={self.heartbeat!r}): give between 1 s and 10 minutes")
        for name in ("connections", "failures"):
            if getattr(self, name) < 1:
                raise GraphError(f"Broker({name}={getattr(self, name)!r}): it must be at least 1")
        for name in ("handshake", "back"):
            if getattr(self, name) is not None and not seconds(getattr(self, name)):
                raise GraphError(f"Broker({name}={getattr(self, name)!r}): it must be more than nothing")
        if len(self.backoff) != 2 or not 0 < seconds(self.backoff[0]) <= seconds(self.backoff[1]):
            raise GraphError(
                f"Broker(backoff={self.backoff!r}): give the first and the longest delay, such as ('100ms', '10s')"
            )
        for duration in (self.patience, self.cooldown):
            seconds(duration)
        if self.tls is not None and not all(each.secure for each in self.servers):
            raise GraphError("Broker(tls=...): only amqps:// addresses are encrypted; write amqps:// in each of them")

    def place(self, address: str | None, channel: Mapping[str, Any], persistent: bool) -> Place:
        """A queue or exchange on this broker, for documents."""
        first = self.servers[0]
        hosts = tuple(server.netloc for server in self.servers)
        operation = {"deliveryMode": 2 if persistent else 1, "mandatory": True}
        return Place(address, "amqps" if first.secure else "amqp", hosts, first.vhost, channel, operation)

    def __repr__(self) -> str:
        """The addresses, without passwords."""
        return f"Broker({', '.join(map(str, self.servers))})"
