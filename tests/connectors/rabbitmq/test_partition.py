"""Partitions: order within a key over several workers, who shares them, and what every queue has to keep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.brokers.rabbitmq import Node
from warren.connectors import rabbitmq as connector
from warren.connectors.conformance import Conformance


class TestOnePartition(Conformance):
    @pytest.fixture(autouse=True)
    def _vhost(self, vhost: str) -> Iterator[None]:
        self.broker = connector.Broker(vhost)
        yield

    def queue(self, name: str) -> Any:
        if name.endswith(".dead"):
            return connector.queue(name, broker=self.broker)
        return connector.partition(name, broker=self.broker, n=1)

    async def crash(self, connection: Any) -> None:
        connection.source.link._session.transport._writer_task.get_coro().cr_frame.f_locals["writer"].transport.abort()
