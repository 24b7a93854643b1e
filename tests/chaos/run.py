"""All scenarios, and a table: ``python -m tests.chaos.run [--rounds 10] [--only NAME] [--version 4.3]``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
import time
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from tests.brokers.rabbitmq import VERSIONS, Cluster, Node
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.stage import Stage

__all__ = ["Account", "play"]

PATIENCE = 180.0
"""Seconds after a scenario in which everything has to come out: a killed node may have left several delay queues without a
leader, and a message waits ten seconds for each before it is put into the next one."""


class Account(NamedTuple):
    """What became of the messages of one scenario."""

    confirmed: int
    arrived: int
    dead: int
    duplicates: int
    missing: int
    seconds: float
    problem: str = ""


async def play(scenario: Scenario, nodes: list[Node], *, rounds: int, lane: bool = True) -> Account:
    """Play one scenario on running nodes."""
    start = time.monotonic()
    problem = ""
    async with Stage.on(nodes, lane=lane, slow=scenario.slow) as stage:
        stage.work()
        try:
            await scenario.play(stage, rounds)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        ledger = stage.ledger
        if not stage.working:
            problem = problem or "the worker has ended"
            stage.work()
        await ledger.collect(PATIENCE)
        if ledger.missing:
            problem = problem or f"missing: {sorted(ledger.missing)[:10]} …; still queued: {await ledger.queued()}"
        return Account(
            len(ledger.confirmed),
            len(ledger.arrived),
            len(ledger.dead),
            ledger.duplicates,
            len(ledger.missing),
            time.monotonic() - start,
            problem,
        )


def main() -> int:
    """Run as the command line says; exit code 1 where a scenario failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run")
    parser.add_argument("--rounds", type=int, default=10, help="how often each fault comes")
    parser.add_argument("--only", help="scenarios whose name contains this")
    parser.add_argument("--version", action="append", choices=VERSIONS, help="broker versions; all unless given")
    options = parser.parse_args()
    # The client tells of every lost connection, and here there are many.
    for name in ("aiormq", "aio_pika", "warren"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    console = Console()
    table = Table("scenario", "broker", "path", "confirmed", "arrived", "dead", "twice", "lost", "seconds", "")
    failed = False
    for version in options.version or VERSIONS:
        for lane in (True, False):
            with contextlib.ExitStack() as stack:
                single: list[Node] = []
                trio: list[Node] = []
                for scenario in SCENARIOS:
                    if options.only and options.only not in scenario.name:
                        continue
                    if scenario.cluster:
                        trio = trio or list(stack.enter_context(Cluster(version)).nodes)
                    else:
                        single = single or [stack.enter_context(Node(version))]
                    name = f"{scenario.name}, {version}, {'lane' if lane else 'plain'}"
                    with console.status(name):
                        account = asyncio.run(
                            play(scenario, trio if scenario.cluster else single, rounds=options.rounds, lane=lane)
                        )
                    failed = failed or bool(account.problem)
                    numbers = [f"{each:,}" for each in account[:5]]
                    table.add_row(
                        scenario.name,
                        version,
                        "lane" if lane else "plain",
                        *numbers,
                        f"{account.seconds:.1f}",
                        account.problem or "ok",
                    )
                    console.print(f"{name}: {account.problem or 'ok'} ({account.seconds:.1f} s)")
    console.print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
