"""``warren dlq replay`` killed again and again, and what became of every letter.

``python -m tests.chaos.replay [--letters 100000] [--kills 4] [--version 4.3]``
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, aclosing
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from tests.brokers.rabbitmq import VERSIONS, Node
from warren.connectors import address as addresses
from warren.core.admin import ERROR, SOURCE, Admin
from warren.core.message import Metadata, Outgoing

__all__ = ["Account", "account"]

DEAD, ORDERS = "orders.dead", "orders"
PROGRAM = [sys.executable, "-c", "from warren.apps.cli import main; main()"]
PATIENCE = 120.0
_AT_ONCE = 2000
# Every second letter may be meant, so that what goes is acknowledged one by one beside what stays.
ALL, HALF = "", "header.half=0"


class Account(NamedTuple):
    """What became of the letters that were meant, and what the runs said of it: ``reported`` may be there twice."""

    meant: int
    kills: int
    back: int
    twice: int
    reported: int
    lost: int
    stayed: int
    second: int
    seconds: float

    @property
    def problem(self) -> str:
        """What must not be; empty where all is well."""
        if self.lost or self.back != self.meant:
            return f"{self.lost} are lost"
        if self.twice > self.reported:
            return f"{self.twice} are there twice, and {self.reported} were reported"
        return f"a second replay found {self.second}" if self.second else ""


async def account(address: str, letters: int, kills: int, where: str = ALL, seed: int = 0) -> Account:
    """Have letters sent back and kill that so often halfway; ``address`` has room for the name of a queue."""
    start = time.monotonic()
    admin, dead = addresses.admin(address.format(DEAD))
    await _fill(admin, dead, letters, "sqlite" if address.startswith("sqlite") else "rabbitmq")
    meant = set(range(0, letters, 2 if where else 1))
    reported = 0
    for goal in sorted(random.Random(seed).sample(range(len(meant) // 20, len(meant) * 9 // 10), kills)):
        with _Replay(address, where) as replay:
            while replay.process.poll() is None and await _depth(admin, ORDERS) < goal:
                await asyncio.sleep(0.002)
            replay.process.kill()
        reported += replay.repeated
    second = 0
    for _ in range(2):
        with _Replay(address, where) as replay:
            pass
        reported += replay.repeated
        second = replay.moved
    back: Counter[int] = Counter()
    async with aclosing(admin.peek(ORDERS)) as batches:
        async for batch in batches:
            back.update(map(int, batch.bodies))
    return Account(
        len(meant),
        kills,
        len(back),
        back.total() - len(back),
        reported,
        len(meant - back.keys()),
        await _depth(admin, DEAD),
        second,
        time.monotonic() - start,
    )


async def _fill(admin: Admin, queue: str, letters: int, system: str) -> None:
    for name in (ORDERS, queue):
        await admin.create(name)
    connection = await admin.outlet(queue).open()
    try:
        for first in range(0, letters, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, letters))
            known = [_letter(number, f"{system}:{ORDERS}") for number in numbers]
            await connection.write(Outgoing([str(number).encode() for number in numbers], known.__getitem__))
    finally:
        await connection.close()
    async with asyncio.timeout(PATIENCE):
        while await _depth(admin, queue) < letters:
            await asyncio.sleep(0.02)


def _letter(number: int, source: str) -> Metadata:
    headers = {ERROR: "TimeoutError", SOURCE: source, "half": str(number % 2)}
    return Metadata(id=str(number), headers=headers, content_type="application/json")


async def _depth(admin: Admin, queue: str) -> int:
    return (await admin.queue(queue)).depth or 0


class _Replay:
    """One run of the command."""

    moved = repeated = 0

    def __init__(self, address: str, where: str) -> None:
        options = ["--where", where] if where else []
        command = [*PROGRAM, "dlq", "replay", address.format(DEAD), "--yes", "--json", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> _Replay:
        return self

    def __exit__(self, *problem: object) -> None:
        """Wait for its end, and read what it said."""
        out, told = self.process.communicate(timeout=10 * PATIENCE)
        self.repeated = max((int(line.split()[0].replace(",", "")) for line in told.splitlines()), default=0)
        if self.process.returncode == 0:
            said = json.loads(out)
            assert said["repeated"] == self.repeated, "what was said before is what is said at the end"
            self.moved = said["moved"]


def main() -> int:
    """Run as the command line says; exit code 1 where letters are lost, or are there twice without a word."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.replay")
    parser.add_argument("--letters", type=int, default=100_000, help="how many dead letters")
    parser.add_argument("--kills", type=int, default=4, help="how often the replay is killed")
    parser.add_argument("--version", action="append", choices=VERSIONS, help="broker versions; the newest unless given")
    options = parser.parse_args()
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    table = Table("queue", "which", "meant", "kills", "back", "twice", "reported", "lost", "stayed", "second", "seconds", "")
    failed = False
    with ExitStack() as stack:
        nodes = {version: stack.enter_context(Node(version)) for version in options.version or VERSIONS[-1:]}
        for name in ("sqlite", *nodes):
            for where in (ALL, HALF):
                if name == "sqlite":
                    address = f"sqlite:{stack.enter_context(tempfile.TemporaryDirectory())}/queues.db?queue={{}}"
                else:
                    address = f"{stack.enter_context(nodes[name].vhost())}?queue={{}}"
                found = asyncio.run(account(address, options.letters, options.kills, where))
                failed = failed or bool(found.problem)
                numbers = [f"{each:,}" for each in found[:-1]]
                table.add_row(name, where or "all", *numbers, f"{found.seconds:.1f}", found.problem or "ok")
    Console(width=140).print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
