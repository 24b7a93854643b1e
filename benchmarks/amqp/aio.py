"""aio-pika written by hand, in the fastest form found that uses its documented interface alone.

A callback keeps what comes; what has come is decoded, changed and published at the same time, on a second connection, and
when all its confirms are there, acknowledged with one ``multiple`` ack. In `relay_each` each message is a task of its own
instead, as the documentation shows it: publish, confirm, acknowledge. That has the lower latency. uvloop is used where it is
installed, as warren does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.amqp.limit import rows_changed
from benchmarks.amqp.orders import Order, Tally, change, decode, encode
from benchmarks.amqp.trial import Job

__all__ = ["consume", "ended", "publish", "relay", "relay_each", "relay_frames", "run"]

PREFETCH = 1_000
AT_ONCE = 500


def run(main: Coroutine[Any, Any, None]) -> None:
    """On uvloop where it is installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        new_event_loop = None
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)


async def ended(job: Job, done: asyncio.Event) -> None:
    """Wait for the event, or until other processes have done the rest."""
    while not job.progress.finished:
        try:
            async with asyncio.timeout(0.05):
                await done.wait()
        except TimeoutError:
            pass


def relay(job: Job) -> None:
    run(_relay(job, lambda body: encode(change(decode(body)))))


def relay_frames(job: Job) -> None:
    run(_relay(job, rows_changed))


def relay_each(job: Job) -> None:
    run(_relay_each(job))


def consume(job: Job, tally: Tally) -> None:
    run(_consume(job, tally))


def publish(job: Job, values: Sequence[Order]) -> None:
    run(_publish(job, values))


class Arrivals:
    """What a consumer was sent and nobody has taken yet."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

    async def keep(self, message: AbstractIncomingMessage) -> None:
        self._queue.put_nowait(message)

    async def take(self) -> list[AbstractIncomingMessage]:
        """What is there, or the next that comes; nothing where none comes for a while."""
        queue = self._queue
        try:
            async with asyncio.timeout(0.05):
                found = [await queue.get()]
        except TimeoutError:
            return []
        while len(found) < AT_ONCE and not queue.empty():
            found.append(queue.get_nowait())
        return found


@asynccontextmanager
async def _source(job: Job, callback: Callable[[AbstractIncomingMessage], Any]) -> AsyncIterator[None]:
    async with await aio_pika.connect(job.url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=min(PREFETCH, job.setting.prefetch))
        await (await channel.get_queue(job.source)).consume(callback)
        yield


@asynccontextmanager
async def _sink(job: Job) -> AsyncIterator[Callable[[bytes], Coroutine[Any, Any, None]]]:
    """What publishes one body and waits for its confirm."""
    mode = DeliveryMode.PERSISTENT if job.setting.persistent else DeliveryMode.NOT_PERSISTENT
    content_type, target = job.setting.content_type, job.target
    async with await aio_pika.connect(job.url) as connection:
        exchange = (await connection.channel()).default_exchange

        async def send(body: bytes) -> None:
            await exchange.publish(Message(body, content_type=content_type, delivery_mode=mode), target)

        yield send


async def _relay(job: Job, work: Callable[[bytes], bytes]) -> None:
    arrivals = Arrivals()
    async with _sink(job) as send, _source(job, arrivals.keep):

        async def handle(message: AbstractIncomingMessage) -> None:
            await send(work(message.body))

        while not job.progress.finished:
            if messages := await arrivals.take():
                results = await asyncio.gather(*map(handle, messages), return_exceptions=True)
                if any(results):
                    await _settle_each(messages, results)
                else:
                    await messages[-1].ack(multiple=True)
                job.progress.add(len(messages))


async def _settle_each(messages: Sequence[AbstractIncomingMessage], results: Sequence[BaseException | None]) -> None:
    """One bad message does not take the others along."""
    for message, result in zip(messages, results, strict=True):
        await (message.reject() if result else message.ack())


async def _relay_each(job: Job) -> None:
    done = asyncio.Event()
    async with _sink(job) as send:

        async def handle(message: AbstractIncomingMessage) -> None:
            await send(encode(change(decode(message.body))))
            await message.ack()
            job.progress.add(1)
            if job.progress.finished:
                done.set()

        async with _source(job, handle):
            await ended(job, done)


async def _consume(job: Job, tally: Tally) -> None:
    arrivals = Arrivals()
    async with _source(job, arrivals.keep):
        while not job.progress.finished:
            if messages := await arrivals.take():
                for message in messages:
                    tally.see(decode(message.body))
                await messages[-1].ack(multiple=True)
                job.progress.add(len(messages))


async def _publish(job: Job, values: Sequence[Order]) -> None:
    async with _sink(job) as send:
        for start in range(0, len(values), AT_ONCE):
            await asyncio.gather(*[send(encode(order)) for order in values[start : start + AT_ONCE]])
    job.progress.add(len(values))
