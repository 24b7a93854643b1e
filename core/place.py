"""What the end of a pipeline says of the place that it reads or writes, for documents about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Place", "place_of"]


class Place(NamedTuple):
    """Where an end of a pipeline reads or writes; never with a user or a password.

    - ``address``: what a message is addressed to: the queue, the routing key; ``None`` where that is computed
    - ``protocol``: ``amqp``, ``sqlite``, ``memory``, ``file``
    - ``hosts``: the servers that have it, any of them: ``host:port``, or the file
    - ``path``: where on the server, such as the vhost
    - ``channel``, ``operation``: what AsyncAPI's binding of that protocol says of it, and of writing to it
    """

    address: str | None
    protocol: str
    hosts: tuple[str, ...] = ()
    path: str = ""
    channel: Mapping[str, Any] = {}
    operation: Mapping[str, Any] = {}


def place_of(end: Any) -> Place:
    """What an end says with its method ``place``; without one, what its name tells.

    >>> from warren.connectors import memory
    >>> place_of(memory.queue("orders")).address
    'orders'
    """
    if hasattr(end, "place"):
        return end.place()  # type: ignore[no-any-return]  # so the method is documented
    protocol, _, address = end.name.partition(":")
    return Place(address or None, protocol.partition(".")[0])
