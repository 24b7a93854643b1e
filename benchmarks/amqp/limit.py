"""The limit: a raw blocking socket with frames made in advance, one connection to consume and one to publish.

Two connections were 5 to 10 % faster than one. A pause of half a millisecond between rounds makes reads and writes larger,
which leaves the broker more of the processor; for latency there is none.
"""

from __future__ import annotations

import io
import select
import time
from collections.abc import Callable, Sequence

import polars as pl

from benchmarks.amqp.orders import Order, Tally, change, change_rows, decode, encode
from benchmarks.amqp.trial import Job
from benchmarks.amqp.wire import Bodies, Wire

__all__ = ["consume", "publish", "relay", "relay_at_once", "relay_frames", "rows_changed"]

PAUSE = 0.0005
AT_ONCE = 500
AHEAD = 8_192


def relay(job: Job) -> None:
    _pump(job, _orders, PAUSE)


def relay_at_once(job: Job) -> None:
    _pump(job, _orders, 0.0)


def relay_frames(job: Job) -> None:
    _pump(job, _frames, 0.0)


def _orders(bodies: Bodies) -> list[bytes]:
    return [encode(change(decode(body))) for body in bodies]


def _frames(bodies: Bodies) -> list[bytes]:
    return [rows_changed(body) for body in bodies]


def rows_changed(body: memoryview | bytes) -> bytes:
    """An Arrow stream read, changed and written, all by Polars."""
    buffer = io.BytesIO()
    change_rows(pl.read_ipc_stream(bytes(body))).write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()


def _pump(job: Job, work: Callable[[Bodies], list[bytes]], pause: float) -> None:
    setting, acknowledged = job.setting, 0
    with Wire(job.url) as sink, Wire(job.url) as source:
        sink.confirm()
        sink.target(job.target, persistent=setting.persistent, content_type=setting.content_type)
        source.consume(job.source, setting.prefetch)
        sockets = (source.socket, sink.socket)
        while not job.progress.finished:
            ready = select.select(sockets, (), (), 0 if source.has_pending else 0.05)[0]
            if source.socket in ready or source.has_pending:
                bodies = source.receive()
                if bodies:
                    sink.publish(work(bodies))
            if sink.socket in ready:
                sink.receive()
                if sink.confirmed > acknowledged:
                    # Both count from 1, and each delivery is published once, in order: one number for both.
                    source.acknowledge(sink.confirmed)
                    job.progress.add(sink.confirmed - acknowledged)
                    acknowledged = sink.confirmed
            if pause:
                time.sleep(pause)


def consume(job: Job, tally: Tally) -> None:
    with Wire(job.url) as source:
        source.consume(job.source, job.setting.prefetch)
        while not job.progress.finished:
            bodies = source.receive()
            for body in bodies:
                tally.see(decode(body))
            if bodies:
                source.acknowledge(source.delivered)
                job.progress.add(len(bodies))
            time.sleep(PAUSE)


def publish(job: Job, values: Sequence[Order]) -> None:
    setting = job.setting
    with Wire(job.url) as sink:
        sink.confirm()
        sink.target(job.target, persistent=setting.persistent, content_type=setting.content_type)
        for start in range(0, len(values), AT_ONCE):
            sink.publish([encode(order) for order in values[start : start + AT_ONCE]])
            while sink.published - sink.confirmed > AHEAD:
                sink.receive()
        sink.settle()
        job.progress.add(len(values))
