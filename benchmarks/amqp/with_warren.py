"""warren: a pipeline from one queue to another, as its documentation shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import polars as pl

from benchmarks.amqp.aio import ended, run
from benchmarks.amqp.orders import Order, Tally, change, change_rows
from benchmarks.amqp.trial import Job
from warren import Pipeline
from warren.connectors import memory, rabbitmq
from warren.operators import discard, map

__all__ = ["consume", "publish", "relay", "relay_frames", "serve"]


def relay(job: Job) -> None:
    _pipeline(job).run(until_empty=True)


def relay_frames(job: Job) -> None:
    source, target = _source(job, pl.DataFrame), _target(job)
    Pipeline("bench", source | map(change_rows) | target).run(until_empty=True)


def consume(job: Job, tally: Tally) -> None:
    Pipeline("bench", _source(job, Order) | map(tally.see) | discard()).run(until_empty=True)


def publish(job: Job, values: Sequence[Order]) -> None:
    Pipeline("bench", memory.items(values) | _target(job)).run()


def serve(job: Job) -> None:
    run(_serve(job))


async def _serve(job: Job) -> None:
    running = _pipeline(job).start()
    await ended(job, asyncio.Event())
    running.stop()
    await running


def _pipeline(job: Job) -> Pipeline:
    return Pipeline("bench", _source(job, Order) | map(change) | _target(job))


def _source(job: Job, type: type) -> rabbitmq.Queue:
    return rabbitmq.queue(job.source, type, broker=rabbitmq.Broker(job.url), kind=job.setting.kind, passive=True)


def _target(job: Job) -> rabbitmq.Queue:
    setting = job.setting
    broker = rabbitmq.Broker(job.url)
    return rabbitmq.queue(job.target, broker=broker, kind=setting.kind, persistent=setting.persistent, passive=True)
