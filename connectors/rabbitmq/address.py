"""``amqp://user:password@host:port/vhost?queue=NAME``, or ``amqps://``; as a sink also ``?exchange=NAME&routing_key=KEY``.

Several hosts are separated by commas, in order of preference. ``amqp:?queue=NAME`` is where the environment variable
``WARREN_AMQP_URL`` says. More may follow, separated by ``&``:

- ``kind=classic``, ``passive=true``, ``persistent=false``; for a queue ``max_deliveries=20``, ``single_active=true``,
  ``delayed_retry=1s,1m``, ``delayed_exchange=NAME``
- ``lane=false``, ``name=NAME``, ``connections=2``, ``heartbeat=10s``, ``patience=5s``, ``management=http://host:15672``
- ``ca=FILE``, ``certificate=FILE``, ``key=FILE``, ``external=true``, ``least=1.3``, ``check=false`` for ``amqps://``
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from warren.connectors.address import Address
from warren.connectors.rabbitmq.admin import BrokerAdmin
from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.queue import Exchange, Queue
from warren.connectors.rabbitmq.tls import TLS
from warren.core.errors import AddressError, GraphError

__all__ = ["admin", "sink", "source"]

T = TypeVar("T")


def _text(value: str) -> str:
    return value


def _number(value: str) -> int:
    if not value.isdecimal():
        raise ValueError("is not a whole number")
    return int(value)


def _truth(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return value == "true"


def _pair(value: str) -> tuple[str, ...]:
    if value.count(",") != 1:
        raise ValueError("is not two durations with a comma between them")
    return tuple(value.split(","))


_Readers = Mapping[str, Callable[[str], Any]]

_BROKER: _Readers = {
    "lane": _truth,
    "name": _text,
    "connections": _number,
    "heartbeat": _text,
    "patience": _text,
    "management": _text,
}
_TLS: _Readers = {"ca": _text, "certificate": _text, "key": _text, "external": _truth, "least": _text, "check": _truth}
_EITHER: _Readers = {"kind": _text, "passive": _truth, "persistent": _truth}
_QUEUE: _Readers = {
    **_EITHER,
    "max_deliveries": _number,
    "single_active": _truth,
    "delayed_retry": _pair,
    "delayed_exchange": _text,
}
_EXCHANGE: _Readers = {**_EITHER, "routing_key": _text}


def source(address: Address, type: Any = None) -> Queue[Any]:
    """The queue an address names."""
    if "exchange" in address.options:
        raise AddressError(f"{address.text}: an exchange cannot be read; bind a queue to it and write ?queue=NAME")
    return _open(address, "queue", _QUEUE, lambda name, options: Queue(name, type, **options))


def sink(address: Address) -> Queue[Any] | Exchange[Any]:
    """The queue or exchange an address names."""
    if "exchange" in address.options:
        return _open(address, "exchange", _EXCHANGE, lambda name, options: Exchange(name, **options))
    return source(address)


def admin(address: Address) -> tuple[BrokerAdmin, str]:
    """What looks after the queues of the vhost, and the queue that the address names, if any."""
    address.only("queue", *_QUEUE, *_BROKER, *_TLS)
    return BrokerAdmin(_broker(address)), address.options.get("queue", "")


def _open(address: Address, what: str, readers: _Readers, make: Callable[[str, dict[str, Any]], T]) -> T:
    address.only(what, *readers, *_BROKER, *_TLS)
    name = address.options.get(what)
    if not name:
        raise AddressError(f"{address.text}: which queue? write {address.scheme}://user:password@host:port/vhost?queue=NAME")
    try:
        return make(name, {**_read(address, readers), "broker": _broker(address)})
    except GraphError as error:
        raise AddressError(f"{address.text}: {error}") from error


def _broker(address: Address) -> Broker:
    tls = _read(address, _TLS)
    where: str | tuple[()] = ()
    if address.host:
        where = f"{address.scheme}://{address.host}/{quote(address.path.removeprefix('/'), safe='')}"
    elif address.path.strip("/"):
        raise AddressError(
            f"{address.text}: two slashes and a host are missing; write {address.scheme}://host/vhost?queue=NAME"
        )
    broker = Broker(where, tls=TLS(**tls) if tls else None, **_read(address, _BROKER))
    if address.scheme == "amqps" and not all(server.secure for server in broker.servers):
        raise AddressError(
            f"{address.text}: WARREN_AMQP_URL names {broker}, which is not encrypted; write amqps:// there too"
        )
    return broker


def _read(address: Address, readers: _Readers) -> dict[str, Any]:
    """Those options that are given, as values."""
    options: dict[str, Any] = {}
    for name, read in readers.items():
        if name in address.options:
            try:
                options[name] = read(address.options[name])
            except ValueError as error:
                raise AddressError(f"{address.text}: {name}={address.options[name]} {error}; give one") from error
    return options
