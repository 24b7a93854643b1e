"""What retries that learn cost: the same pipeline with `AdaptiveBackoff` in act mode and with full jitter, in alternation.

    python -m benchmarks.retrying.cost

One message in a thousand, then two in a hundred, fail once; in memory, and from queue to queue on a private RabbitMQ node.
Both by the processor time of a whole run after a shorter one, so what else runs on the machine matters little.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from warren import Pipeline, exponential
from warren.analytics import AdaptiveBackoff
from warren.connectors import memory, rabbitmq
from warren.operators import map, retry

__all__ = ["adaptive", "full", "in_memory"]

INITIAL, ROUNDS = "1ms", 15


def adaptive() -> Any:
    """The policy that learns."""
    return AdaptiveBackoff(INITIAL, mode="act")


def full() -> Any:
    """What it is compared with."""
    return exponential(INITIAL, attempts=5, jitter="full")


def failing(every: int) -> Any:
    """A step that fails for every so many numbers, the first time."""
    seen: set[int] = set()

    def call(value: int) -> int:
        if value % every == 0 and value not in seen:
            seen.add(value)
            raise ConnectionError(f"host 10.0.0.{value % 7} is busy")
        return value

    return map(call)


def in_memory(policy: Any, every: int, size: int) -> float:
    """Seconds of the processor."""
    out: list[int] = []
    flow = memory.items(range(size)) | failing(every) | retry(policy) | memory.into(out)
    start = time.process_time()
    Pipeline("cost", flow, credit=2000).run()
    took = time.process_time() - start
    assert len(out) == size
    return took


def on_a_broker(policy: Any, every: int, size: int, url: str) -> float:
    """Seconds of the processor, without those of the broker."""
    broker = rabbitmq.Broker(url)
    source, target = (rabbitmq.queue(name, int, broker=broker, kind="classic") for name in ("cost-in", "cost-out"))
    Pipeline("fill", memory.items(range(size)) | source).run()
    start = time.process_time()
    Pipeline("cost", source | failing(every) | retry(policy) | target).run(until_empty=True)
    took = time.process_time() - start
    out: list[int] = []
    Pipeline("empty", target | memory.into(out)).run(until_empty=True)
    assert len(out) == size
    return took


def compared(title: str, run: Callable[[Any, int, int], float], size: int) -> None:
    """Both sides, one after the other."""
    for every in (1000, 50):
        run(full(), every, size // 10)
        sides: dict[Callable[[], Any], list[float]] = {full: [], adaptive: []}
        for turn in range(ROUNDS):
            for side in sorted(sides, key=lambda each: (each is full) == turn % 2):
                sides[side].append(run(side(), every, size))
        ratio = median(a / b for a, b in zip(sides[adaptive], sides[full], strict=True))
        each = (median(sides[adaptive]) - median(sides[full])) / (size / every) * 1e6
        print(
            f"{title}, 1 in {every} fails: {size / median(sides[full]):,.0f} messages/s with full jitter, "
            f"{size / median(sides[adaptive]):,.0f} learning: {ratio:.3f} times the time, {each:.1f} us for each retry",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    from tests.brokers.rabbitmq import Node

    compared("in memory", in_memory, 400_000)
    with Node("4.3") as node:
        compared("RabbitMQ", lambda policy, every, size: on_a_broker(policy, every, size, node.url), 100_000)


if __name__ == "__main__":
    main()
