"""Ten million messages through keyed windows over 100,000 keys with the state in a file: is the memory flat?

``python -m benchmarks.steps.soak [--messages N] [--keys N]`` prints what it saw and exits with 1 where memory is not flat,
or the windows do not hold every message once. One window of each key is open at a time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

__all__ = ["Look", "Seen", "main", "soak"]

VALUES = 5
"""Of each key in one window."""
WARM = 0.2
"""The share of the messages after which memory should grow no more."""
GROWTH = 0.05
EVERY = 0.1
START = 1_700_000_000.0


class Point(msgspec.Struct):
    """What a message says."""

    key: int
    time: float


class Look(NamedTuple):
    """One look at the running pipeline."""

    share: float
    memory: int
    file: int


class Seen(NamedTuple):
    """What was seen from begin to end; ``lost`` are messages in no window, below zero those in several."""

    messages: int
    keys: int
    seconds: float
    lost: int
    looks: list[Look]

    def most(self, begin: float, end: float) -> Look:
        """The most memory and the largest file in a part of the run."""
        part = [look for look in self.looks if begin <= look.share <= end] or self.looks[-1:]
        return Look(end, max(look.memory for look in part), max(look.file for look in part))

    @property
    def growth(self) -> float:
        """By how much memory grew from the first half after the warm-up to the second."""
        middle = (1.0 + WARM) / 2
        return self.most(middle, 1.0).memory / self.most(WARM, middle).memory - 1.0

    @property
    def flat(self) -> bool:
        """Whether it grew by no more than allowed."""
        return self.growth <= GROWTH


class _Points:
    """The messages, made as they are asked for, so that they take no memory."""

    def __init__(self, messages: int, keys: int) -> None:
        self.messages = messages
        self.keys = keys
        self.given = 0

    def __iter__(self) -> Iterator[Point]:
        for number in range(self.messages):
            self.given = number
            yield Point(number % self.keys, START + number / (self.keys * VALUES))


def resident() -> int:
    """The bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def soak(messages: int, keys: int) -> Seen:
    """Run, looking at memory and the file all the time."""
    from warren import Pipeline
    from warren.connectors import memory
    from warren.operators import aggregate, count, discard, map, tumbling, window

    points = _Points(messages, keys)
    counted = 0
    looks: list[Look] = []
    done = threading.Event()

    def add(row: dict[str, Any]) -> None:
        nonlocal counted
        counted += row["n"]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "soak.state"

        def watch() -> None:
            while not done.wait(EVERY):
                size = sum(part.stat().st_size for part in (path, Path(f"{path}-wal")) if part.exists())
                looks.append(Look(points.given / messages, resident(), size))

        windows = window(tumbling("1s"), by=lambda point: point.key, time=lambda point: point.time)
        flow = memory.items(points) | windows | aggregate(n=count()) | map(add) | discard()
        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.perf_counter()
        try:
            Pipeline("soak", flow, state=path, checkpoint="1s").run()
        finally:
            done.set()
            watcher.join()
        seconds = time.perf_counter() - began
        looks.append(Look(1.0, resident(), path.stat().st_size))
    return Seen(messages, keys, seconds, messages - counted, looks)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps.soak", allow_abbrev=False)
    parser.add_argument("--messages", type=int, default=10_000_000, help="how many messages (10,000,000)")
    parser.add_argument("--keys", type=int, default=100_000, help="of how many keys (100,000)")
    options = parser.parse_args(argv)
    if not Path("/proc/self/statm").exists():
        print("the soak reads its memory from /proc, which is not there; run it on Linux")
        return 2
    seen = soak(options.messages, options.keys)
    print(
        f"{seen.messages:,} messages, {seen.keys:,} keys: {seen.seconds:.1f} s, {seen.messages / seen.seconds:,.0f} a second"
    )
    print("of the run   memory, MB   state file, MB   bytes of it for each key")
    for tenth in range(10):
        most = seen.most(tenth / 10, (tenth + 1) / 10)
        shown = f"{most.memory / 1e6:12.1f} {most.file / 1e6:16.1f} {most.file / seen.keys:26.0f}"
        print(f"{tenth * 10:3}–{tenth * 10 + 10:3} % {shown}")
    verdict = "PASS" if seen.flat else "FAIL"
    print(f"{verdict}  memory after the warm-up: {seen.growth:+.1%}, at most {GROWTH:+.0%}")
    if seen.lost:
        print(f"FAIL  {abs(seen.lost):,} messages {'lost' if seen.lost > 0 else 'counted twice'}")
    return 0 if seen.flat and not seen.lost else 1


if __name__ == "__main__":
    sys.exit(main())
