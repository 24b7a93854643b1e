"""``memory:NAME``: a queue of the process's own broker."""

from __future__ import annotations

from typing import Any

from warren.connectors.address import Address
from warren.connectors.memory.broker import Queue
from warren.core.errors import AddressError

__all__ = ["sink", "source"]


def source(address: Address, type: Any = None) -> Queue[Any]:
    """The queue an address names."""
    address.only()
    name = (address.host + address.path).lstrip("/")
    if not name:
        raise AddressError(f"{address.text}: which queue? write memory:NAME")
    return Queue(name, type)


sink = source
