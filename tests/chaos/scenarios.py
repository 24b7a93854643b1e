"""What may go wrong while a worker works. After each, everything that was confirmed has to come out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.chaos.stage import HEARTBEAT, Stage
from tests.chaos.worker import SOURCE

__all__ = ["SCENARIOS", "Scenario"]


class Scenario(NamedTuple):
    """A play on a `Stage`; ``rounds`` says how often the fault comes. ``cluster`` needs three nodes."""

    name: str
    play: Callable[[Stage, int], Awaitable[None]]
    cluster: bool = False
    slow: float = 0.0


async def _worker_killed(stage: Stage, rounds: int) -> None:
    async with stage.ledger.publishing():
        for _ in range(rounds):
            await stage.flowing(150)
            stage.kill()
            stage.work()
        await stage.flowing()


async def _broker_killed(stage: Stage, rounds: int) -> None:
    async with stage.ledger.publishing():
        for _ in range(rounds):
            await stage.flowing(150)
            await asyncio.to_thread(stage.node.kill)
            await asyncio.to_thread(stage.node.restart)
        await stage.flowing()


async def _one_of_three_killed(stage: Stage, rounds: int) -> None:
    async with stage.ledger.publishing():
        for turn in range(rounds):
            await stage.flowing(150)
            node = stage.nodes[turn % 3]
            await asyncio.to_thread(node.kill)
            await stage.flowing(150)
            await asyncio.to_thread(node.restart)
        await stage.flowing()


async def _cut(stage: Stage, rounds: int) -> None:
    async with stage.ledger.publishing():
        for _ in range(rounds):
            await stage.flowing(100)
            stage.proxy.cut()
        await stage.flowing()


async def _cut_inside_a_frame(stage: Stage, rounds: int) -> None:
    async with stage.ledger.publishing():
        for turn in range(rounds):
            await stage.flowing(100)
            stage.proxy.drop_after(1_000 + 37 * turn, "up" if turn % 2 else "down")
        await stage.flowing()


async def _half_open(stage: Stage, rounds: int) -> None:
    async with stage.ledger.publishing():
        for _ in range(rounds):
            await stage.flowing(100)
            taken = stage.proxy.connections
            stage.proxy.stall()
            # The worker has to notice by itself and connect again; new connections stall too until the flow comes back.
            await stage.until(lambda taken=taken: stage.proxy.connections > taken, 12 * HEARTBEAT + 5, "a new connection")
            stage.proxy.flow()
        await stage.flowing()


async def _stalled(stage: Stage, rounds: int) -> None:
    async with stage.ledger.publishing():
        for turn in range(rounds):
            await stage.flowing(100)
            stage.proxy.stall("up" if turn % 2 else "down")
            await stage.progress(100)
            stage.proxy.flow()
        await stage.flowing()


async def _queue_deleted(stage: Stage, rounds: int) -> None:
    # What is in a queue goes with it, so the worker is first let to empty it; then nothing confirmed may be lost.
    for _ in range(rounds):
        async with stage.ledger.publishing():
            await stage.flowing(100)
        await stage.until(lambda: stage.working, 1, "a worker")
        while await stage.ledger.depth(SOURCE) or await _unsettled(stage):
            await asyncio.sleep(0.05)
        await asyncio.to_thread(stage.node.ctl, "delete_queue", SOURCE)
    async with stage.ledger.publishing():
        await stage.flowing(100)


async def _unsettled(stage: Stage) -> int:
    text = await asyncio.to_thread(stage.node.ctl, "-q", "list_queues", "--no-table-headers", "name", "messages")
    rows = (line.split("\t") for line in text.splitlines())
    return sum(int(count) for name, count in rows if name == SOURCE or name.startswith(f"{SOURCE}.delay"))


async def _memory_alarm(stage: Stage, rounds: int) -> None:
    async with stage.ledger.publishing():
        for _ in range(rounds):
            await stage.flowing(100)
            await asyncio.to_thread(stage.node.alarm, True)
            before = len(stage.ledger.confirmed)
            await asyncio.sleep(3 * HEARTBEAT)
            assert len(stage.ledger.confirmed) <= before + 50, "the broker takes messages in spite of its alarm"
            await asyncio.to_thread(stage.node.alarm, False)
        await stage.flowing()


async def _channel_closed(stage: Stage, rounds: int) -> None:
    # Every channel is made to see an acknowledgement of a message that it never delivered: 406, and it is closed.
    acknowledge = "{'$gen_cast', {method, {'basic.ack', 999999999, false}, none, noflow}}"
    wrong = f"[P ! {acknowledge} || P <- rabbit_channel:list()]."
    async with stage.ledger.publishing():
        for _ in range(rounds):
            await stage.flowing(100)
            await asyncio.to_thread(stage.node.eval, wrong)
        await stage.flowing()


async def _stopped_inside_a_batch(stage: Stage, rounds: int) -> None:
    async with stage.ledger.publishing(size=7, pause=0.002):
        for _ in range(rounds):
            await stage.flowing(100)
            assert await stage.stop() == 0, "a worker that is asked to stop has to end in good order"
            stage.work()
        await stage.flowing()


async def _slow_sink(stage: Stage, rounds: int) -> None:
    stage.proxy.delay(0.05)
    async with stage.ledger.publishing():
        await stage.flowing(100 * rounds)
    stage.proxy.delay(0.0)


SCENARIOS = (
    Scenario("worker killed", _worker_killed),
    Scenario("broker killed and restarted", _broker_killed),
    Scenario("one of three nodes killed", _one_of_three_killed, cluster=True),
    Scenario("connection cut", _cut),
    Scenario("connection cut inside a frame", _cut_inside_a_frame),
    Scenario("connection half open", _half_open),
    Scenario("connection stalled one way", _stalled),
    Scenario("queue deleted under its consumer", _queue_deleted),
    Scenario("memory alarm", _memory_alarm),
    Scenario("channel closed by a precondition failure", _channel_closed),
    Scenario("worker stopped inside a batch", _stopped_inside_a_batch),
    Scenario("slow sink", _slow_sink, slow=0.002),
)
