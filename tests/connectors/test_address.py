"""Connectors by address."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from warren.connectors import address, memory, sqlite
from warren.core.errors import AddressError


def test_memory() -> None:
    source = address.source("memory:orders/eu", dict)
    assert isinstance(source, memory.Queue)
    assert (source.queue, source.type) == ("orders/eu", dict)
    assert isinstance(address.sink("memory:orders"), memory.Queue)


def test_sqlite() -> None:
    source = address.source("sqlite:///var/a%20b.db?queue=orders&synchronous=normal&lease=5s&max_deliveries=3", dict)
    assert isinstance(source, sqlite.Queue)
    assert (source.path, source.queue, source.type) == ("/var/a b.db", "orders", dict)
    assert (source.synchronous, source.lease, source.max_deliveries) == ("normal", "5s", 3)
    relative = address.sink("sqlite:some/file.db?queue=q")
    assert isinstance(relative, sqlite.Queue)
    assert relative.path == "some/file.db"
    home = address.sink("sqlite:~/file.db?queue=q")
    assert isinstance(home, sqlite.Queue)
    assert home.path == str(Path.home() / "file.db")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("orders", "is not an address: write SCHEME:REST, with one of .*memory, .*sqlite"),
        ("kafka://x/y", "no connector knows the scheme 'kafka'; known are .*memory, .*sqlite"),
        ("amqp://localhost/orders", "which queue"),
        ("memory:", "which queue"),
        ("memory:q?x=1", "unknown option 'x'; memory knows none"),
        ("sqlite:///a.db", "which file and queue"),
        ("sqlite:?queue=q", "which file and queue"),
        ("sqlite://a.db?queue=q", "'a.db' stands where a host would"),
        ("sqlite:///a.db?queue=q&queue=r", "an option is given twice"),
        ("sqlite:///a.db?queue=q&colour=red", "unknown option 'colour'"),
        ("sqlite:///a.db?queue=q&max_deliveries=many", "is not a whole number"),
        ("sqlite:///a.db?queue=q&lease=soon", "'soon' is not a duration"),
        ("sqlite:///a.db?queue=q&synchronous=off", "neither 'full' nor 'normal'"),
        ("http://[x", "is not an address"),
    ],
)
def test_a_bad_address_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason):
        address.source(text)


def test_a_package_adds_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint(name="pigeon", value=f"{__name__}:Pigeon", group=address.GROUP)
    known = [EntryPoint("memory", "warren.connectors.memory.address", address.GROUP), entry]

    def entry_points(group: str, name: str | None = None) -> list[EntryPoint]:
        return [each for each in known if each.group == group and name in (None, each.name)]

    monkeypatch.setattr(address, "entry_points", entry_points)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Pigeon if self.name == "pigeon" else None)
    assert address.schemes() == ["memory", "pigeon"]
    assert repr(address.source("pigeon://loft/coop", str)) == "memory:loft/coop"


class Pigeon:
    """A connector of somebody else."""

    @staticmethod
    def source(parts: address.Address, type: Any) -> memory.Queue[Any]:
        return memory.queue(parts.host + parts.path, type)
