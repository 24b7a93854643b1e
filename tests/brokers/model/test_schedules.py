"""A small client that does all it should, against the model under seeded faults: nothing is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pamqp.commands import Basic, Channel, Confirm, Queue

from tests.brokers.model import FAULTS, ModelBroker, Schedule, play
from tests.brokers.model.connection import ServerConnection
from tests.brokers.model.scripts import Seen
from tests.brokers.model.talker import Talker

COUNT = 30
QUORUM = {"x-queue-type": "quorum"}


class Over(Exception):
    """The connection, the channel or the consumer has ended."""


async def next_of(talk: Talker, channel: int, *wanted: str) -> Seen:
    """The next frame on a channel."""
    (seen,) = await talk.take(channel)
    if seen["name"] not in wanted:
        raise Over(seen)
    return seen


@asynccontextmanager
async def connected(broker: ModelBroker, kind: dict[str, str]) -> AsyncIterator[Talker]:
    talk = await Talker.connect(broker.host, broker.port)
    talk.patience = 10.0
    try:
        await talk.shake_hands()
        await talk.open(1)
        for name in ("in", "out"):
            talk.send(1, Queue.Declare(queue=name, durable=True, arguments=kind))
            await next_of(talk, 1, "Queue.DeclareOk")
        talk.send(1, Confirm.Select())
        await next_of(talk, 1, "Confirm.SelectOk")
        yield talk
    finally:
        await talk.close()


async def persist(attempt: object) -> None:
    """Try again until it goes through."""
    assert callable(attempt)
    while True:
        try:
            return await attempt()
        except (Over, OSError, TimeoutError):
            await asyncio.sleep(0.1)


async def confirmed(talk: Talker, queue: str, name: str, tag: int) -> bool:
    talk.publish(1, name.encode(), queue, message_id=name, delivery_mode=2)
    answer = await next_of(talk, 1, "Basic.Ack", "Basic.Nack")
    assert answer["delivery_tag"] == tag
    return answer["name"] == "Basic.Ack"


async def publish(broker: ModelBroker, kind: dict[str, str], done: set[str]) -> None:
    async def attempt() -> None:
        tag = 0
        async with connected(broker, kind) as talk:
            for number in range(COUNT):
                while str(number) not in done:
                    tag += 1
                    if await confirmed(talk, "in", str(number), tag):
                        done.add(str(number))
                    await asyncio.sleep(broker.schedule.span / COUNT)

    await persist(attempt)


async def relay(broker: ModelBroker, kind: dict[str, str], careless: str) -> None:
    async def attempt() -> None:
        tag = 0
        async with connected(broker, kind) as talk:
            talk.send(2, Channel.Open())
            await next_of(talk, 2, "Channel.OpenOk")
            talk.send(2, Basic.Qos(prefetch_count=4), Basic.Consume(queue="in", consumer_tag="c"))
            await next_of(talk, 2, "Basic.QosOk")
            await next_of(talk, 2, "Basic.ConsumeOk")
            talk.patience = 2 * broker.schedule.span
            while True:
                seen = await next_of(talk, 2, "Basic.Deliver")
                settle = Basic.Ack(delivery_tag=seen["delivery_tag"])
                if careless == "acknowledges too early":
                    talk.send(2, settle)
                await asyncio.sleep(0.02)  # its work
                tag += 1
                while not await confirmed(talk, "out", seen["body"].decode(), tag) and careless != "hears no refusal":
                    tag += 1
                if careless != "acknowledges too early":
                    talk.send(2, settle)

    await persist(attempt)


async def work(broker: ModelBroker, kind: dict[str, str], careless: str = "") -> None:
    done: set[str] = set()
    publisher = asyncio.ensure_future(publish(broker, kind, done))
    worker = asyncio.ensure_future(relay(broker, kind, careless))
    while not publisher.done() or broker.loop.time() < broker.schedule.calm_at or broker.messages("in"):
        await asyncio.sleep(0.5)
        broker.ledger.check()
    worker.cancel()
    await asyncio.gather(publisher, worker, return_exceptions=True)
    everything = {str(number) for number in range(COUNT)}
    assert done == everything
    assert set(broker.ledger.confirmed("in")) >= everything
    assert set(broker.ledger.acknowledged("in")) >= everything
    assert set(broker.messages("out")) == everything
    assert broker.ledger.lost() == []


@pytest.mark.parametrize("first", range(0, 200, 40))
def test_nothing_is_lost(first: int) -> None:
    struck: Counter[str] = Counter()
    for seed in range(first, first + 40):
        schedule = Schedule(seed)
        play(lambda broker, kind=QUORUM if seed % 2 else {}: work(broker, kind), schedule)
        struck += Counter(fault.kind for fault in schedule.struck)
    assert len(struck) >= len(FAULTS) - 2


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_one_fault_at_a_time(kind: str) -> None:
    struck = 0
    for seed in range(6):
        schedule = Schedule(seed, kinds=[kind])
        play(lambda broker: work(broker, QUORUM), schedule)
        struck += len(schedule.struck)
    assert struck


@pytest.mark.parametrize("careless", ["acknowledges too early", "hears no refusal"])
def test_a_careless_client_is_found_out(careless: str) -> None:
    found = 0
    for seed in range(100):
        try:
            play(lambda broker: work(broker, QUORUM, careless), Schedule(seed))
        except AssertionError:
            found += 1
    assert found >= 2


def test_a_schedule_happens_again_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    traces: list[list[tuple[float, int, bytes]]] = []
    receive = ServerConnection.receive

    def traced(self: ServerConnection, data: bytes) -> None:
        traces[-1].append((self.broker.loop.time(), self.number, data))
        receive(self, data)

    monkeypatch.setattr(ServerConnection, "receive", traced)
    for seed in range(20):
        traces.clear()
        for _ in range(2):
            traces.append([])
            play(lambda broker: work(broker, QUORUM), Schedule(seed))
        assert traces[0] == traces[1]


def test_schedules_differ_and_end() -> None:
    texts = set()
    for seed in range(500):
        schedule = Schedule(seed, span=2.0)
        assert str(schedule) == str(Schedule(seed, span=2.0))
        assert 1 <= len(schedule.faults) <= 5
        assert all(0 <= fault.at <= 2.0 for fault in schedule.faults)
        assert schedule.calm_at <= 3.0 + max(longest for _, longest in (kind.lasts for kind in FAULTS.values()))
        texts.add(str(schedule).partition(":")[2])
    assert len(texts) == 500
