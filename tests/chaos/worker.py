"""A worker process: one pipeline that decodes, fails now and then, retries, batches and publishes, until it is stopped.

usage: python -m tests.chaos.worker ADDRESSES LANE SLOW HEARTBEAT
"""

from __future__ import annotations

import asyncio
import sys

import msgspec

from warren import Pipeline, exponential
from warren.connectors import rabbitmq
from warren.operators import batch, flat_map, map, retry

SOURCE, SINK, DEAD = "chaos.in", "chaos.out", "chaos.dead"

BAD_EVERY, BUSY_EVERY, BROKEN_EVERY = 53, 17, 101
"""Which messages always fail, which fail at first, and which cannot be decoded."""


class Order(msgspec.Struct):
    """What the messages carry."""

    id: int


def pipeline(broker: rabbitmq.Broker, slow: float = 0.0) -> Pipeline:
    """The pipeline under test; ``slow`` is how many seconds each message takes."""
    tried: dict[int, int] = {}

    async def handle(order: Order) -> Order:
        tried[order.id] = tried.get(order.id, 0) + 1
        if slow:
            await asyncio.sleep(slow)
        if order.id % BAD_EVERY == 0:
            raise ValueError(f"{order.id} is bad")
        if order.id % BUSY_EVERY == 0 and tried[order.id] < 3:
            raise ConnectionError("busy")
        return order

    return Pipeline(
        "chaos",
        rabbitmq.queue(SOURCE, Order, broker=broker, max_deliveries=None)
        | map(handle, concurrency=64)
        # Delays above 30 ms are parked with the broker, so both ways are taken.
        | retry(exponential("20ms", attempts=5, factor=2), on=ConnectionError, park="30ms")
        | batch(20, "50ms")
        | flat_map(lambda orders: orders)
        | rabbitmq.queue(SINK, broker=broker),
        credit=1000,
        dead_letters=DEAD,
        shutdown="10s",
    )


def main() -> None:
    """Run until SIGTERM."""
    addresses, lane, slow, heartbeat = sys.argv[1:]
    broker = rabbitmq.Broker(
        addresses.split(","),
        lane=lane == "lane",
        heartbeat=float(heartbeat),
        backoff=("20ms", "300ms"),
        cooldown="200ms",
        patience="60s",
    )
    pipeline(broker, float(slow)).run()


if __name__ == "__main__":
    main()
