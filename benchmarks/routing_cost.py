"""What it costs to ask `EarliestFinish` in place of a plain function (``limit``), from one RabbitMQ queue to nine.

Cases that end in ``-cpu`` count messages for each second of the processor that the process takes, which others on the
machine hardly change. The rest count messages a second.
"""

from __future__ import annotations

import sys

from benchmarks.amqp.trial import routing
from benchmarks.harness import Bar, Benchmark, Case, Subject, main
from benchmarks.rabbitmq import broker, options

__all__ = ["BENCHMARK"]

TARGETS = 9
SIDES = {
    "act": ("plain", "acts; limit: each in turn"),
    "act_kinds": ("plain_kinds", "acts, with size= and kind=; limit: a function that calls these"),
    "act_read": ("plain", "acts by the depths of the queues; limit: each in turn"),
    "shadow": ("plain", "decides, and each in turn is done; limit: each in turn"),
    "shadow_static": ("plain_static", "decides, and what static= says is done; limit: that function"),
}


def case(name: str, *, processor: bool) -> Case:
    plain, note = SIDES[name]
    sides = [
        Subject("warren", routing(name, TARGETS, processor=processor)),
        Subject("limit", routing(plain, TARGETS, processor=processor)),
    ]
    title = name.replace("_", "-") + ("-cpu" if processor else "")
    return Case(title, "messages/s", sides, 60_000, 15_000, note=note, quick=processor)


BENCHMARK = Benchmark(
    "routing_cost",
    [case(name, processor=processor) for processor in (True, False) for name in SIDES],
    [Bar(f"{name}-cpu".replace("_", "-"), "limit", 0.97) for name in SIDES],
    options=options,
    around=broker,
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
