"""A RabbitMQ queue keeps what every queue has to keep: on each version, over the fast lane and without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.brokers.rabbitmq import Node
from warren.connectors import rabbitmq
from warren.connectors.conformance import AdminConformance, Conformance
from warren.connectors.rabbitmq.admin import BrokerAdmin
from warren.connectors.rabbitmq.queues import look


class TestQuorum(Conformance):
    lane = True
    kind: Any = "quorum"

    @pytest.fixture(autouse=True)
    def _vhost(self, rabbitmq_each: Node) -> Iterator[None]:
        with rabbitmq_each.vhost() as url:
            self.broker = rabbitmq.Broker(url, lane=self.lane)
            yield

    def queue(self, name: str) -> Any:
        # Dead letters are kept in a quorum queue whatever their source is.
        return rabbitmq.queue(name, broker=self.broker, kind="quorum" if name.endswith(".dead") else self.kind)

    async def crash(self, connection: Any) -> None:
        connection.source.link._session.transport._writer_task.get_coro().cr_frame.f_locals["writer"].transport.abort()


class TestClassic(TestQuorum):
    kind = "classic"


class TestQuorumWithoutTheLane(TestQuorum):
    lane = False


class TestAdmin(AdminConformance):
    @pytest.fixture(autouse=True)
    def _vhost(self, rabbitmq_each: Node) -> Iterator[None]:
        with rabbitmq_each.vhost() as url:
            self.broker = rabbitmq.Broker(url, management=f"http://127.0.0.1:{rabbitmq_each.management_port}")
            yield

    def admin(self) -> Any:
        return BrokerAdmin(self.broker)


class TestAdminOfClassicQueues(TestAdmin):
    """Pipelines may read them, and somebody else may have made them."""

    def admin(self) -> Any:
        return _ClassicAdmin(self.broker)


class _ClassicAdmin(BrokerAdmin):
    async def create(self, name: str) -> bool:
        if not name.startswith("a") or name.endswith(".dead") or await look(name, self.broker) is not None:
            return await super().create(name)
        await (await rabbitmq.queue(name, broker=self.broker, kind="classic").open()).close()
        return True
