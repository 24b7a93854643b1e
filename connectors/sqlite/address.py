"""``sqlite:///path/to/file?queue=NAME``: a queue in a file.

``synchronous=normal``, ``lease=30s`` and ``max_deliveries=20`` may follow, separated by ``&``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from warren.connectors.address import Address
from warren.connectors.sqlite.admin import FileAdmin
from warren.connectors.sqlite.queue import Queue
from warren.core.errors import AddressError, GraphError

__all__ = ["admin", "sink", "source"]


def source(address: Address, type: Any = None) -> Queue[Any]:
    """The queue an address names."""
    _check(address)
    options = dict(address.options)
    name = options.pop("queue", "")
    if not address.path or not name:
        raise AddressError(f"{address.text}: which file and queue? write sqlite:///path/to/file?queue=NAME")
    settings: dict[str, Any] = dict(options)
    if "max_deliveries" in options:
        if not options["max_deliveries"].isdecimal():
            raise AddressError(f"{address.text}: max_deliveries={options['max_deliveries']} is not a whole number; give one")
        settings["max_deliveries"] = int(options["max_deliveries"])
    try:
        return Queue(Path(address.path).expanduser(), name, type, **settings)
    except GraphError as error:
        raise AddressError(f"{address.text}: {error}") from error


sink = source


def admin(address: Address) -> tuple[FileAdmin, str]:
    """What looks after the queues of the file, and the queue that the address names, if any."""
    _check(address)
    if not address.path:
        raise AddressError(f"{address.text}: which file? write sqlite:///path/to/file?queue=NAME")
    return FileAdmin(str(Path(address.path).expanduser())), address.options.get("queue", "")


def _check(address: Address) -> None:
    address.only("queue", "synchronous", "lease", "max_deliveries")
    if address.host:
        raise AddressError(
            f"{address.text}: {address.host!r} stands where a host would; write sqlite:///absolute/path or sqlite:some/path"
        )
