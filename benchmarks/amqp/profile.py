"""Where the time of a message goes, without the fast lane and with it: ``python -m benchmarks.amqp.profile [VERSION]``.

The same pipeline as in the case ``relay``, under the interpreter's own profiler, which makes small functions look dearer
than they are. Waiting for the broker is left out.
"""

from __future__ import annotations

import asyncio
import cProfile
import itertools
import pstats
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.amqp.orders import Order, change, messages
from benchmarks.amqp.trial import Setting, _fill
from tests.brokers.rabbitmq import VERSIONS, Node
from warren import Pipeline
from warren.connectors import rabbitmq
from warren.operators import map

__all__ = ["main"]

COUNTS = {"plain": 5_000, "lane": 100_000}
ROWS = 14


def main() -> int:
    """Profile both paths and print a table for each."""
    version = sys.argv[1] if len(sys.argv) > 1 else VERSIONS[0]
    with Node(version) as node:
        for path, count in COUNTS.items():
            _show(path, count, _profile(node.url, path, count))
    return 0


def _profile(url: str, path: str, count: int) -> pstats.Stats:
    broker = rabbitmq.Broker(url, lane=path == "lane")
    source = rabbitmq.queue(f"{path}.in", Order, broker=broker, kind="classic", persistent=False)
    target = rabbitmq.queue(f"{path}.out", broker=broker, kind="classic", persistent=False)
    Pipeline("empty", source | map(change) | target).run(until_empty=True)
    _fill(url, f"{path}.in", messages(count, 150), Setting())
    pipeline = Pipeline("bench", source | map(change) | target)

    async def run() -> None:
        await pipeline.start(until_empty=True)

    profile = cProfile.Profile()
    profile.enable()
    # The standard loop, as its waiting shows as such.
    asyncio.run(run())
    profile.disable()
    return pstats.Stats(profile)


def _show(path: str, count: int, stats: pstats.Stats) -> None:
    rows = []
    for (file, _, function), (_, calls, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]  # as documented
        if "poll" in function or "select" in function or function == "main":
            continue
        place = "built in" if file == "~" else "/".join(Path(file).parts[-2:])
        rows.append((own, calls, place, function))
    rows.sort(reverse=True)
    total = sum(own for own, *_ in rows)
    table = Table(
        "µs a message", "calls a message", "where", "function", title=f"{path}: {total / count * 1e6:.1f} µs a message"
    )
    for own, calls, place, function in itertools.islice(rows, ROWS):
        table.add_row(f"{own / count * 1e6:.2f}", f"{calls / count:.2f}", place, function)
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
