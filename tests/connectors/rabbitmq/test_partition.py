"""Partitions: order within a key over several workers, who shares them, and what every queue has to keep."""

from __future__ import annotations

import pytest

from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.crew import Crew, in_order
from tests.connectors.rabbitmq.hands import run
from warren.connectors import rabbitmq as connector
from warren.connectors.conformance import Conformance


class TestOnePartition(Conformance):
    @pytest.fixture(autouse=True)
    def _vhost(self, vhost: str) -> None:
        self.broker = connector.Broker(vhost)

    def queue(self, name: str) -> connector.Queue[object]:
        if name.endswith(".dead"):
            return connector.queue(name, broker=self.broker)
        return connector.partition(name, broker=self.broker, n=1)

    async def crash(self, connection: object) -> None:
        connection.source.link._session.transport._writer_task.get_coro().cr_frame.f_locals["writer"].transport.abort()  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", ["3.10", "4.3"])
def test_workers_join_leave_and_die_and_each_key_keeps_its_order(version: str, request: pytest.FixtureRequest) -> None:
    node: Node = request.getfixturevalue(f"rabbitmq_{version.replace('.', '')}")

    async def main() -> None:
        with node.vhost() as url:
            async with Crew.at(url, partitions=4, keys=40) as crew:
                crew.join("a")
                await crew.shared_by("a")
                crew.join("b")
                await crew.shared_by("a", "b")
                crew.join("c")
                await crew.shared_by("a", "b", "c")
                await crew.leave("b")
                await crew.shared_by("a", "c")
                assert crew.repeated() == 0
                for _, numbers in crew.first_times():
                    assert in_order(numbers)
                crew.kill("a")
                await crew.shared_by("c")
                await crew.finish()
                for key, numbers in crew.first_times():
                    assert numbers == list(range(crew.rounds)), key

    run(main, 180)
