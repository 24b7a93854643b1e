"""Where a scenario plays: a broker, a proxy before it, a worker process behind the proxy, and the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.brokers.proxy import Proxy
from tests.brokers.rabbitmq import Node
from tests.chaos.ledger import Ledger
from tests.chaos.worker import DEAD, SINK, SOURCE
from warren.connectors import rabbitmq

__all__ = ["Stage"]

ROOT = Path(__file__).parents[2]
HEARTBEAT = 1.0
SETTINGS = {"heartbeat": HEARTBEAT, "backoff": ("20ms", "300ms"), "cooldown": "200ms", "patience": "60s"}


class Stage:
    """One scenario's surroundings. The worker reaches its broker through ``proxy``, the ledger directly."""

    def __init__(self, nodes: list[Node], proxies: list[Proxy], lane: bool, slow: float) -> None:
        self.nodes = nodes
        self.proxies = proxies
        self.lane = lane
        self.slow = slow
        self.ledger = Ledger(rabbitmq.Broker([node.url for node in nodes], name="ledger", **SETTINGS))  # type: ignore[arg-type]
        self._worker: subprocess.Popen[bytes] | None = None

    @property
    def node(self) -> Node:
        """The first node."""
        return self.nodes[0]

    @property
    def proxy(self) -> Proxy:
        """The one before the first node."""
        return self.proxies[0]

    @classmethod
    @contextlib.asynccontextmanager
    async def on(cls, nodes: list[Node], *, lane: bool = True, slow: float = 0.0) -> AsyncIterator[Stage]:
        """Set the stage on running nodes; queues that an earlier scenario left are deleted."""
        with contextlib.ExitStack() as stack:
            proxies = [stack.enter_context(Proxy(node.amqp_port)) for node in nodes]
            stage = cls(nodes, proxies, lane, slow)
            await stage.clear()
            for node in nodes:
                await asyncio.to_thread(node.sync)
            try:
                yield stage
            finally:
                stage.kill()

    async def clear(self) -> None:
        """Delete the queues."""
        names = await asyncio.to_thread(self.node.ctl, "-q", "list_queues", "name", "--no-table-headers")
        for name in names.split():
            if name.startswith("chaos."):
                await asyncio.to_thread(self.node.ctl, "delete_queue", name)
        for name in (SOURCE, SINK, DEAD):
            await (await rabbitmq.queue(name, broker=self.ledger.broker).open()).close()

    def work(self) -> None:
        """Start the worker."""
        addresses = ",".join(proxy.url(node) for proxy, node in zip(self.proxies, self.nodes, strict=True))
        lane = "lane" if self.lane else "plain"
        command = [sys.executable, "-m", "tests.chaos.worker", addresses, lane, str(self.slow), str(HEARTBEAT)]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
        self._worker = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        """End the worker with SIGKILL."""
        self._signal(signal.SIGKILL)

    async def stop(self) -> int:
        """End the worker with SIGTERM; returns its exit code."""
        assert self._worker is not None
        self._worker.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self._worker.wait, 30)

    def _signal(self, number: int) -> None:
        if self._worker is not None and self._worker.poll() is None:
            self._worker.send_signal(number)
            self._worker.wait()

    @property
    def working(self) -> bool:
        """Whether the worker runs."""
        return self._worker is not None and self._worker.poll() is None

    async def progress(self, count: int, deadline: float = 60.0) -> None:
        """Wait until ``count`` more messages are confirmed to the publisher."""
        goal = len(self.ledger.confirmed) + count
        await self.until(lambda: len(self.ledger.confirmed) >= goal, deadline, f"{count} more confirmed messages")

    async def flowing(self, count: int = 100, deadline: float = 60.0) -> None:
        """Wait until the worker has put ``count`` more messages into the sink or the dead letters."""
        start = await self.done()
        end = time.monotonic() + deadline
        while await self.done() < start + count:
            assert time.monotonic() < end, f"the worker did not get through {count} messages in {deadline:g} s"
            await asyncio.sleep(0.05)

    async def done(self) -> int:
        """How many messages are in the sink."""
        return await self.ledger.depth(SINK)

    @staticmethod
    async def until(holds: Callable[[], bool], deadline: float, what: str) -> None:
        """Wait for a condition."""
        end = time.monotonic() + deadline
        while not holds():
            assert time.monotonic() < end, f"{what} did not come within {deadline:g} s"
            await asyncio.sleep(0.02)
