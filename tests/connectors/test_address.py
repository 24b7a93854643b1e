"""Connectors by address."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packages import Packages
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


PIGEON = """
from warren.connectors import memory

class Pigeon:
    @staticmethod
    def source(parts, type):
        return memory.queue(parts.host + parts.path, type)

    @staticmethod
    def sink(parts):
        return memory.queue(parts.host)
"""


def test_a_package_adds_a_scheme(packages: Packages) -> None:
    packages.add("loft", {"connector pigeon": "loft_pigeon:Pigeon", "connector memory": "nothing:here"}, loft_pigeon=PIGEON)
    assert address.schemes() == ["amqp", "amqps", "memory", "pigeon", "sqlite"]
    assert repr(address.source("pigeon://loft/coop", str)) == "memory:loft/coop"
    assert repr(address.sink("memory:orders")) == "memory:orders", "what warren has itself comes first"


def test_a_scheme_that_does_not_load_or_is_given_twice_says_so(packages: Packages) -> None:
    packages.add("loft", {"connector pigeon": "loft_pigeon:Pigeon", "connector lost": "loft_nowhere:Pigeon"})
    packages.add("coop", {"connector pigeon": "loft_pigeon:Pigeon"})
    with pytest.raises(AddressError, match=r"pigeon:x: the connector 'pigeon' is given by coop 1.0 and loft 1.0"):
        address.source("pigeon:x")
    with pytest.raises(AddressError, match=r"the connector 'lost' of loft 1.0 does not load: ModuleNotFoundError") as caught:
        address.sink("lost://user:secret@x/y")
    assert "secret" not in str(caught.value)
