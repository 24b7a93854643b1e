"""Private RabbitMQ nodes on loopback, for tests, benchmarks and chaos runs: all that others use of them."""

from __future__ import annotations

from tests.brokers.certificates import Authority, Certificate
from tests.brokers.cluster import Cluster
from tests.brokers.installation import VERSIONS, Installation, Unavailable, ensure
from tests.brokers.node import Node, NotStarted

__all__ = [
    "VERSIONS",
    "Authority",
    "Certificate",
    "Cluster",
    "Installation",
    "Node",
    "NotStarted",
    "Unavailable",
    "ensure",
]
