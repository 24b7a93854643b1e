"""What retries that learn cost: the same pipeline with `AdaptiveBackoff` in act mode and with full jitter, in alternation.

    python -m benchmarks.retrying.cost

One message in a thousand, then two in a hundred, fail once; in memory, and from queue to queue on a private RabbitMQ node.
Each by the processor time of a whole run, without the broker's, so that what else runs on the machine matters little; and by
the time that passed, as a pipeline and its broker have it.
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

INITIAL, ROUNDS = "1ms", 11


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


def timed(pipeline: Pipeline) -> tuple[float, float]:
    """Seconds of the processor, and seconds that passed, until a pipeline's source is empty."""
    start, began = time.process_time(), time.perf_counter()
    pipeline.run(until_empty=True)
    return time.process_time() - start, time.perf_counter() - began


def in_memory(policy: Any, every: int, size: int) -> tuple[float, float]:
    """Seconds of the processor, and seconds that passed."""
    out: list[int] = []
    flow = memory.items(range(size)) | failing(every) | retry(policy) | memory.into(out)
    took = timed(Pipeline("cost", flow, credit=2000))
    assert len(out) == size
    return took


def on_a_broker(policy: Any, every: int, size: int, url: str) -> tuple[float, float]:
    """Seconds of the processor without those of the broker, and seconds that passed."""
    broker = rabbitmq.Broker(url)
    source, target = (rabbitmq.queue(name, int, broker=broker, kind="classic") for name in ("cost-in", "cost-out"))
    Pipeline("fill", memory.items(range(size)) | source).run()
    step, out, took = failing(every), list[int](), (0.0, 0.0)
    while len(out) < size:
        # A run may find its queue empty before all is there.
        again = timed(Pipeline("cost", source | step | retry(policy) | target))
        took = took[0] + again[0], took[1] + again[1]
        Pipeline("empty", target | memory.into(out)).run(until_empty=True)
    assert len(out) == size
    return took


def compared(title: str, run: Callable[[Any, int, int], tuple[float, float]], size: int) -> None:
    """Both sides, one after the other."""
    for every in (1000, 50):
        run(full(), every, size // 10)
        sides: dict[Callable[[], Any], list[tuple[float, float]]] = {full: [], adaptive: []}
        for turn in range(ROUNDS):
            for side in sorted(sides, key=lambda each: (each is full) == turn % 2):
                sides[side].append(run(side(), every, size))
        said = []
        for name, place in (("processor", 0), ("passed", 1)):
            usual, learning = ([each[place] for each in sides[side]] for side in (full, adaptive))
            ratio = median(a / b for a, b in zip(learning, usual, strict=True))
            said.append(f"{size / median(usual):,.0f} and {size / median(learning):,.0f} by {name} time ({ratio:.3f})")
        print(f"{title}, 1 in {every} fails; messages/s with full jitter and learning: {'; '.join(said)}", flush=True)


def main() -> None:
    """Measure and print."""
    from tests.brokers.rabbitmq import Node

    compared("in memory", in_memory, 400_000)
    with Node("4.3") as node:
        compared("RabbitMQ", lambda policy, every, size: on_a_broker(policy, every, size, node.url), 50_000)


if __name__ == "__main__":
    main()
