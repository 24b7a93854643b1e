"""Whether something answers on a port of loopback."""

from __future__ import annotations

import socket

# A header of no protocol: a broker that is up answers with the one it speaks, and closes.
WRONG_HEADER = b"AMQP\x00\x00\x09\x00"


def answers_tcp(port: int) -> bool:
    """Whether connections are taken there."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0):
            return True
    except OSError:
        return False


def answers_amqp(port: int) -> bool:
    """Whether an AMQP broker is there, and up."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as peer:
            peer.sendall(WRONG_HEADER)
            return peer.recv(8).startswith(b"AMQP")
    except OSError:
        return False
