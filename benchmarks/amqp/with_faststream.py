"""FastStream, in the fastest form found that still has it call the user's handler with a decoded message.

Without its injection of arguments (``apply_types=False``), with a codec of msgspec's decoder, a publish of a ready-made
message that awaits its confirm, and an acknowledgement by hand after that. Handlers run concurrently, up to the prefetch.
`relay_pydantic` is the form its documentation shows: a pydantic model that is returned to a publisher, which FastStream
acknowledges after the publish is confirmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pydantic
from aio_pika import DeliveryMode, Message
from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from benchmarks.amqp.aio import ended, run
from benchmarks.amqp.orders import Order, Tally, change, decode, encode
from benchmarks.amqp.trial import Job

__all__ = ["consume", "publish", "relay", "relay_pydantic"]

PREFETCH = 200
AT_ONCE = 500


class Codec:
    """The typed order, beside the message that it came in."""

    async def decode(self, msg: Any) -> tuple[Any, Order]:
        return msg, decode(msg.body)

    async def encode(self, msg: Any, serializer: Any = None) -> tuple[bytes, str]:
        return encode(msg), "application/json"


class Model(pydantic.BaseModel):
    """`Order` as FastStream's documentation would have it."""

    id: int
    region: str
    amount: float
    note: str


def relay(job: Job) -> None:
    run(_relay(job))


def relay_pydantic(job: Job) -> None:
    run(_relay_pydantic(job))


def consume(job: Job, tally: Tally) -> None:
    run(_consume(job, tally))


def publish(job: Job, values: Sequence[Order]) -> None:
    run(_publish(job, values))


def _broker(job: Job) -> RabbitBroker:
    return RabbitBroker(job.url, logger=None, apply_types=False, default_channel=Channel(prefetch_count=PREFETCH))


def _message(job: Job, order: Order) -> Message:
    mode = DeliveryMode.PERSISTENT if job.setting.persistent else DeliveryMode.NOT_PERSISTENT
    return Message(encode(order), content_type=job.setting.content_type, delivery_mode=mode)


async def _relay(job: Job) -> None:
    broker, done = _broker(job), asyncio.Event()

    @broker.subscriber(RabbitQueue(job.source, declare=False), ack_policy=AckPolicy.MANUAL, codec=Codec())
    async def handle(pair: tuple[Any, Order]) -> None:
        message, order = pair
        await broker.publish(_message(job, change(order)), job.target)
        await message.ack()
        _count(job, done)

    await _serve(broker, job, done)


async def _relay_pydantic(job: Job) -> None:
    channel = Channel(prefetch_count=PREFETCH)
    broker, done = RabbitBroker(job.url, logger=None, default_channel=channel), asyncio.Event()

    @broker.publisher(job.target, persist=job.setting.persistent)
    @broker.subscriber(RabbitQueue(job.source, declare=False), ack_policy=AckPolicy.NACK_ON_ERROR)
    async def handle(order: Model) -> Model:
        _count(job, done)  # before the publish; `stop` waits for what is being handled
        return Model(id=order.id, region=order.region, amount=order.amount * 1.25, note=order.note)

    await _serve(broker, job, done)


async def _consume(job: Job, tally: Tally) -> None:
    broker, done = _broker(job), asyncio.Event()

    @broker.subscriber(RabbitQueue(job.source, declare=False), ack_policy=AckPolicy.MANUAL, codec=Codec())
    async def handle(pair: tuple[Any, Order]) -> None:
        message, order = pair
        tally.see(order)
        await message.ack()
        _count(job, done)

    await _serve(broker, job, done)


async def _publish(job: Job, values: Sequence[Order]) -> None:
    async with _broker(job) as broker:
        await broker.start()
        for start in range(0, len(values), AT_ONCE):
            batch = values[start : start + AT_ONCE]
            await asyncio.gather(*[broker.publish(_message(job, order), job.target) for order in batch])
    job.progress.add(len(values))


def _count(job: Job, done: asyncio.Event) -> None:
    job.progress.add(1)
    if job.progress.finished:
        done.set()


async def _serve(broker: RabbitBroker, job: Job, done: asyncio.Event) -> None:
    await broker.start()
    await ended(job, done)
    await broker.stop()
