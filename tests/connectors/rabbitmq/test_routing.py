"""A route that learns, over real queues: it is told how deep they are, whatever the broker does meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from tests.brokers.proxy import Proxy
from tests.brokers.rabbitmq import Node
from tests.connectors.rabbitmq.hands import eventually, run, write
from warren import Pipeline
from warren.analytics.routing import EarliestFinish
from warren.connectors import memory, rabbitmq
from warren.connectors.rabbitmq.queues import delete
from warren.operators import discard, map, route

EVERY = "50ms"


class Heard(EarliestFinish):
    """Keeps the last depth of each queue, and counts the readings."""

    def __init__(self) -> None:
        super().__init__(mode="act", ends="read", every=EVERY)
        self.depths: dict[Any, float | None] = {}
        self.count: Counter[Any] = Counter()

    def reading(self, label: Any, depth: float | None, at: float) -> None:
        self.depths[label] = depth
        self.count[label] += 1
        super().reading(label, depth, at)


def queues(url: str, **options: Any) -> dict[str, Any]:
    broker = rabbitmq.Broker(url, **options)
    return {name: rabbitmq.queue(name, broker=broker, kind="classic") for name in ("fast", "slow")}


def until(true: Callable[[], bool]) -> Coroutine[Any, Any, None]:
    async def asked() -> bool:
        return true()

    return eventually(asked)


def test_a_policy_is_told_the_depths_of_real_queues(vhost: str) -> None:
    async def main() -> None:
        policy = Heard()
        put = memory.queue("in", broker=memory.Broker())
        running = Pipeline("orders", put | route(policy, **queues(vhost))).start()
        await write(put, *range(20))
        await until(lambda: sum(policy.depths.values()) == 20)
        running.stop()
        await running

    run(main)


def test_a_queue_that_is_worked_off_faster_gets_more(vhost: str) -> None:
    async def main() -> None:
        policy, done = Heard(), Counter[str]()

        def worker(name: str, seconds: float) -> Any:
            async def work(value: Any) -> Any:
                await asyncio.sleep(seconds)
                done[name] += 1
                return value

            return Pipeline(name, queues(vhost)[name] | map(work) | discard(), credit=1).start()

        put = memory.queue("in", broker=memory.Broker())
        sending = Pipeline("orders", put | route(policy, **queues(vhost))).start()
        workers = [worker("fast", 0.01), worker("slow", 0.1)]
        for _ in range(150):
            await write(put, 1)
            await asyncio.sleep(0.02)
        await until(lambda: done.total() == 150)
        assert done["fast"] > 2.5 * done["slow"] > 0
        assert policy.errors == 0
        for each in (sending, *workers):
            each.stop()
            await each

    run(main)


def test_readings_go_on_after_a_lost_connection_and_without_a_queue(
    rabbitmq_43: Node, start_proxy: Callable[[int], Proxy]
) -> None:
    proxy = start_proxy(rabbitmq_43.amqp_port)

    async def main(url: str) -> None:
        policy = Heard()
        branches = queues(proxy.url(url), handshake="1s", backoff=("20ms", "100ms"))
        put = memory.queue("in", broker=memory.Broker())
        running = Pipeline("orders", put | route(policy, **branches)).start()
        await until(lambda: min(policy.count["fast"], policy.count["slow"]) > 2)
        await asyncio.to_thread(proxy.cut)
        seen = policy.count.copy()
        await until(lambda: min(policy.count["fast"] - seen["fast"], policy.count["slow"] - seen["slow"]) > 2)
        await delete("slow", broker=rabbitmq.Broker(url))
        seen = policy.count.copy()
        await until(lambda: policy.count["fast"] - seen["fast"] > 3)
        assert policy.count["slow"] - seen["slow"] <= 1
        running.stop()
        await running

    with rabbitmq_43.vhost() as url:
        run(lambda: main(url))
