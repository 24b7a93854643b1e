"""Publishes at a steady rate, consumes what comes out at the other end, and prints how long it took: p50 and p99 in ms.

Publisher and final consumer are this one process with one clock, on raw sockets, whoever works in between. The first tenth
is not counted. ``python -m benchmarks.amqp.probe URL SOURCE TARGET COUNT RATE``
"""

from __future__ import annotations

import gc
import json
import select
import sys
import time

from benchmarks.amqp.orders import Order, decode, encode
from benchmarks.amqp.wire import Wire

__all__ = ["main"]

PATIENCE = 20.0
NOTE = "x" * 85


def main(url: str, source: str, target: str, count: int, rate: int) -> dict[str, float]:
    """Run, check that everything came out once and changed, and return the percentiles."""
    with Wire(url) as sink, Wire(url) as inlet:
        sink.consume(target, 0, no_ack=True)
        inlet.target(source, persistent=False)
        deadline = time.monotonic() + PATIENCE
        while not inlet.counts(source)[1]:
            if time.monotonic() > deadline:
                raise TimeoutError("nobody consumes")
            time.sleep(0.005)
        gc.disable()
        arrived = _run(sink, inlet, count, rate)
    taken = []
    amounts = []
    for now, body in arrived:
        order = decode(body)
        taken.append((order.id, now - order.id))
        amounts.append(order.amount)
    if len({sent for sent, _ in taken}) != count or sum(amounts) != sum(i % 401 / 4 * 1.25 for i in range(count)):
        raise ValueError("something came out twice, or does not say what it should")
    lasted = (max(taken)[0] - min(taken)[0]) / 1e9
    if lasted > 1.1 * count / rate + 0.2:
        raise ValueError(f"publishing {count} messages took {lasted:.1f} s: the machine is too busy to measure latency")
    times = sorted(time for _, time in sorted(taken)[count // 10 :])
    return {name: times[min(len(times) - 1, len(times) * share // 100)] / 1e6 for name, share in (("p50", 50), ("p99", 99))}


def _run(sink: Wire, inlet: Wire, count: int, rate: int) -> list[tuple[int, bytes]]:
    arrived: list[tuple[int, bytes]] = []
    start, sent = time.monotonic(), 0
    deadline = start + count / rate + PATIENCE
    while len(arrived) < count:
        wait = max(0.0, start + sent / rate - time.monotonic()) if sent < count else deadline - time.monotonic()
        if wait < 0:
            raise TimeoutError(f"{len(arrived)} of {count} messages came out")
        if select.select((sink.socket,), (), (), wait)[0]:
            bodies = sink.receive()
            now = time.monotonic_ns()
            arrived += [(now, bytes(body)) for body in bodies]
        if sent < count and time.monotonic() >= start + sent / rate:
            inlet.publish([encode(Order(time.monotonic_ns(), "eu", sent % 401 / 4, NOTE))])
            sent += 1
    return arrived


if __name__ == "__main__":
    url, source, target, count, rate = sys.argv[1:]
    print(json.dumps(main(url, source, target, int(count), int(rate))))
