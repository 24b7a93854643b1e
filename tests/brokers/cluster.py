"""Several nodes that form one RabbitMQ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from tests.brokers.node import Node, node_name


class Cluster:
    """Nodes that find one another by a list of names; they start side by side."""

    def __init__(
        self, version: str, size: int = 3, *, plugins: Sequence[str] = (), config: Mapping[str, object] | None = None
    ) -> None:
        names = [node_name() for _ in range(size)]
        settings: dict[str, object] = {
            "cluster_formation.peer_discovery_backend": "classic_config",
            "cluster_formation.discovery_retry_interval": 200,
            **{f"cluster_formation.classic_config.nodes.{number}": name for number, name in enumerate(names, 1)},
            **(config or {}),
        }
        self.nodes = [Node(version, plugins=plugins, config=settings, name=name) for name in names]
        self.version = self.nodes[0].version

    @property
    def urls(self) -> list[str]:
        """The address of each node."""
        return [node.url for node in self.nodes]

    def start(self) -> Self:
        """Start all nodes and wait until each takes connections and all are one cluster."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready()
        self.await_online()
        return self

    def await_online(self) -> None:
        """Until all nodes are members that see one another."""
        self.nodes[0].ctl("await_online_nodes", str(len(self.nodes)))

    def leader(self, queue: str, vhost: str = "/") -> Node | None:
        """The node that leads a quorum queue or a stream, or on which a classic queue is; asks a node that runs.

        None where none leads: the queue is not there, or its members still elect."""
        asked = next(node for node in self.nodes if node.running)
        lines = asked.ctl("--no-table-headers", "list_queues", "-p", vhost, "name", "pid", "--online").splitlines()
        for line in lines:
            name, _, pid = line.partition("\t")
            if name == queue:
                return next(node for node in self.nodes if f"<{node.name}." in pid)
        return None

    def stop(self) -> None:
        """End all nodes for good, with their data."""
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
