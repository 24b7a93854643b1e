"""RabbitMQ: from queue to queue, consuming, publishing, Arrow batches, latency, and several workers.

Everything runs against one private node that the benchmark starts. Each round fills its queues first, which is not timed,
and is checked afterwards: every message came out once and says what it should, and none is left unacknowledged. Timed is
all a side does, from connecting to closing. Equal guarantees on every side: manual acknowledgement after the broker has
confirmed what was published, as ``mandatory``; the same decoder, the same functions, uvloop where there is an event loop.

The sides stand in `benchmarks.amqp`, each with what makes it fast:

- warren: a pipeline, as its documentation shows it.
- limit: raw blocking sockets with frames made in advance; no reconnect, no failure but an exception.
- aio-pika: written by hand on its documented interface; aio-pika-each: a task per message, as its documentation shows;
  aiormq: on the protocol library below it.
- faststream: without its injection of arguments, with msgspec's decoder; faststream-pydantic: as its documentation shows.

Quorum queues write all they get to the disk, so for them there is no transient case.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.amqp.orders import ROWS
from benchmarks.amqp.trial import (
    RATE,
    URL,
    Setting,
    consuming,
    latency,
    publishing,
    relaying,
    relaying_rows,
    together,
)
from benchmarks.amqp.wire import ARROW
from benchmarks.harness import Bar, Benchmark, Case, Mark, Subject, main

__all__ = ["BENCHMARK"]

Run = Callable[[int], float]

SETTINGS = {
    "": Setting(),
    "-persistent": Setting(persistent=True),
    "-quorum": Setting("quorum", persistent=True),
    "-4k": Setting(length=4096),
    "-4k-persistent": Setting(persistent=True, length=4096),
    "-4k-quorum": Setting("quorum", persistent=True, length=4096),
}
CORES = os.cpu_count() or 1
WORKERS = sorted({1, min(2, CORES), CORES})
QUICK = {"relay", "relay-quorum", "consume", "publish", "arrow", "latency-p50"}


def case(name: str, unit: str, size: int, quick: int, subjects: list[Subject], note: str = "") -> Case:
    better = "lower" if unit == "ms" else "higher"
    return Case(name, unit, subjects, size, quick, better=better, note=note, quick=name in QUICK)


def sides(run: Callable[[str], Run], aio_pika: float = 0.1, faststream: float = 0.04) -> list[Subject]:
    """warren, the limit, and the two rivals, which get a part of the messages."""
    return [
        Subject("warren", run("with_warren")),
        Subject("limit", run("limit")),
        Subject("aio-pika", run("aio"), "aio_pika", aio_pika),
        Subject("faststream", run("with_faststream"), "faststream", faststream),
    ]


def note(setting: Setting) -> str:
    if setting.kind == "quorum":
        return f"quorum queues, {setting.length} bytes"
    return f"classic queues, {'persistent' if setting.persistent else 'transient'} messages, {setting.length} bytes"


def relays(name: str, setting: Setting) -> Case:
    subjects = sides(lambda module: relaying(module, setting))
    subjects += [
        Subject("aio-pika-each", relaying("aio", setting, "relay_each"), "aio_pika", 0.08),
        Subject("aiormq", relaying("raw_aiormq", setting), "aiormq", 0.15),
        Subject("faststream-pydantic", relaying("with_faststream", setting, "relay_pydantic"), "faststream", 0.03),
    ]
    return case(f"relay{name}", "messages/s", *sizes(setting), subjects, note(setting))


def consumes(name: str, setting: Setting) -> Case:
    subjects = sides(lambda module: consuming(module, setting), 0.2, 0.05)
    return case(f"consume{name}", "messages/s", *sizes(setting), subjects, note(setting))


def publishes(name: str, setting: Setting) -> Case:
    subjects = sides(lambda module: publishing(module, setting), 0.15, 0.08)
    return case(f"publish{name}", "messages/s", *sizes(setting), subjects, note(setting))


def sizes(setting: Setting) -> tuple[int, int]:
    return (60_000, 15_000) if setting.length < 1_000 else (40_000, 5_000)


def arrows(name: str, kind: Setting) -> Case:
    setting = Setting(kind.kind, kind.persistent, content_type=ARROW)
    subjects = [
        Subject("warren", relaying_rows("with_warren", setting)),
        Subject("limit", relaying_rows("limit", setting)),
        Subject("aio-pika-arrow", relaying_rows("aio", setting), "aio_pika"),
        Subject("aio-pika", relaying("aio", kind), "aio_pika", 0.001),
    ]
    text = f"Arrow batches of {ROWS:,} rows; aio-pika: one JSON message for each row; limit: raw socket, Polars alone"
    return case(f"arrow{name}", "rows/s", 5_000_000, 2_000_000, subjects, text)


def latencies(key: str) -> Case:
    subjects = [
        Subject("warren", latency("with_warren", key, "serve")),
        Subject("limit", latency("limit", key, "relay_at_once")),
        Subject("aio-pika", latency("aio", key, "relay_each"), "aio_pika"),
    ]
    text = f"from publish to the final consumer at {RATE:,} messages/s; {note(Setting())}"
    return case(f"latency-{key}", "ms", 5_000, 1_000, subjects, text)


def scaling(workers: int, *, partitions: bool) -> Case:
    setting = SETTINGS["-quorum"]

    def run(module: str) -> Run:
        return together(module, setting, workers, partitions=partitions)

    subjects = [
        Subject("warren", run("with_warren")),
        Subject("limit", run("limit")),
        Subject("aio-pika", run("aio"), "aio_pika", 0.15),
    ]
    if partitions:
        name, text = f"partitions-{workers}", f"{workers} quorum queues with a single active consumer, one process each"
    else:
        name, text = f"workers-{workers}", f"{workers} processes on one quorum queue"
    return case(name, "messages/s", 60_000, 20_000, subjects, text)


KEYS = ("p50", "p99")
CASES = [
    *(relays(*item) for item in SETTINGS.items()),
    *(consumes(*item) for item in SETTINGS.items()),
    *(publishes(*item) for item in SETTINGS.items()),
    arrows("", SETTINGS[""]),
    arrows("-quorum", SETTINGS["-quorum"]),
    *(latencies(key) for key in KEYS),
    *(scaling(count, partitions=False) for count in WORKERS),
    *(scaling(count, partitions=True) for count in WORKERS),
]
RELAY_BARS = (
    ("faststream", 15.0),
    ("faststream-pydantic", 15.0),
    ("aio-pika", 8.0),
    ("aio-pika-each", 8.0),
    ("limit", 0.6),
)
BARS = [
    *(Bar(f"relay{name}", *bar) for name in SETTINGS for bar in RELAY_BARS),
    *(Bar(f"{step}{name}", "limit", 0.6) for step in ("consume", "publish") for name in SETTINGS),
    Bar("latency-p50", "aio-pika", 1 / 1.2),
]
MARKS = [Mark("arrow", 2e6), Mark("arrow-quorum", 2e6), Mark("latency-p99", 1.0)]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--broker-version",
        default=os.environ.get("WARREN_BENCH_BROKER"),
        metavar="V",
        help="3.10, 4.0 or 4.3 (or WARREN_BENCH_BROKER; the newest that can be had)",
    )
    parser.add_argument("--url", help="measure this broker instead of starting one")


@contextmanager
def broker(options: argparse.Namespace) -> Iterator[None]:
    """A broker for all rounds, whose processes find it by the environment."""
    if options.url:
        os.environ[URL] = options.url
        yield
        return
    from tests.brokers.rabbitmq import VERSIONS, Node, Unavailable

    versions = (options.broker_version,) if options.broker_version else tuple(reversed(VERSIONS))
    reasons = []
    for version in versions:
        try:
            node = Node(version, config={"vm_memory_high_watermark.absolute": "6GiB"})
        except (Unavailable, ValueError) as error:
            reasons.append(str(error))
            continue
        with node:
            print(f"RabbitMQ {node.version}")
            os.environ[URL] = node.url
            yield
            return
    sys.exit("\n".join(reasons))


BENCHMARK = Benchmark("rabbitmq", CASES, BARS, MARKS, options=options, around=broker)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
