"""aiormq, the protocol library below aio-pika: each delivery a task that publishes and awaits the confirm.

Faster than aio-pika: no message objects, writes do not wait for the socket (``wait=False``), and what is confirmed without a
gap is acknowledged 100 at a time. Shown because a user can write it; nothing reconnects or declares for them.
"""

from __future__ import annotations

import asyncio

import aiormq
from aiormq.abc import DeliveredMessage

from benchmarks.amqp.aio import PREFETCH, ended, run
from benchmarks.amqp.orders import change, decode, encode
from benchmarks.amqp.trial import Job

__all__ = ["relay"]

EVERY = 100


def relay(job: Job) -> None:
    run(_relay(job))


async def _relay(job: Job) -> None:
    incoming, outgoing = await aiormq.connect(job.url), await aiormq.connect(job.url)
    source, sink = await incoming.channel(publisher_confirms=False), await outgoing.channel()
    await source.basic_qos(prefetch_count=min(PREFETCH, job.setting.prefetch))
    mode = 2 if job.setting.persistent else 1
    content_type, target = job.setting.content_type, job.target
    done, early = asyncio.Event(), set[int]()
    confirmed = acknowledged = running = 0

    async def handle(message: DeliveredMessage) -> None:
        nonlocal confirmed, acknowledged, running
        running += 1
        body = encode(change(decode(message.body)))
        properties = aiormq.spec.Basic.Properties(content_type=content_type, delivery_mode=mode)
        await sink.basic_publish(body, routing_key=target, properties=properties, mandatory=True, wait=False)
        running -= 1
        early.add(message.delivery.delivery_tag or 0)
        while confirmed + 1 in early:
            confirmed += 1
            early.discard(confirmed)
        if confirmed - acknowledged >= EVERY or (confirmed > acknowledged and not running):
            count, acknowledged = confirmed - acknowledged, confirmed
            await source.basic_ack(confirmed, multiple=True, wait=False)
            job.progress.add(count)
            if job.progress.finished:
                done.set()

    await source.basic_consume(job.source, handle)
    await ended(job, done)
    await incoming.close()
    await outgoing.close()
