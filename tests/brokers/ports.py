"""Ports on loopback for servers that have to be told theirs."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator

# Below the range from which the system takes the ports of outgoing connections, so that none of those takes a port that a
# server has just been given, or that it needs again after a restart.
LOWEST, HIGHEST = 10_000, 32_000

_chance = random.Random(os.urandom(16))
_given: set[int] = set()


def free_port() -> int:
    """A port that nothing listens on, and that was not given before in this process."""
    return next(_free())


def _free() -> Iterator[int]:
    while True:
        port = _chance.randrange(LOWEST, HIGHEST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            yield port
