"""What tuning costs a pipeline that is busy: processor time with a tuner that acts, beside the same number without one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.tuning_model.service import Client, Load, Now, served
from warren import Pipeline
from warren.analytics.tuning import Tuner
from warren.connectors import memory, rabbitmq
from warren.core.knobs import Knob, Setting
from warren.operators import batch, map

__all__ = ["PLACES", "costs"]


async def _nothing(value: bytes) -> bytes:
    await asyncio.sleep(0)
    return value


PLACES: dict[str, tuple[int, Callable[[Any, Any], Any]]] = {
    "map, calls over a socket": (16, lambda number, call: map(call, concurrency=number)),
    "map, calls that do nothing": (16, lambda number, call: map(_nothing, concurrency=number)),
    "batch": (64, lambda number, call: batch(number)),
    "credit": (4_096, lambda number, call: map(_nothing, concurrency=16)),
}


def costs(url: str, messages: int = 20_000, rounds: int = 15) -> dict[str, tuple[float, float]]:
    """Of each place the microseconds of a message without a tuner, and how much more it is with one, as a share.

    Messages come from memory, and from a queue on the broker at ``url``, whose own time is not counted.

    The knob has one value, so that both do the same work. Each run with a tuner stands between two without, so that a
    machine that slows down slows both; the median of the rounds counts.
    """
    return {
        place + where: asyncio.run(_cost(place, messages, rounds, broker))
        for where, broker in (("", None), (", from RabbitMQ", rabbitmq.Broker(url)))
        for place in PLACES
    }


async def _cost(place: str, messages: int, rounds: int, broker: rabbitmq.Broker | None) -> tuple[float, float]:
    number, step = PLACES[place]
    now = Now(Load("no wait", work=1e-9, spread=0.0, workers=1_000, size=64))
    server = await served(now)
    loop = asyncio.get_running_loop()
    async with server:
        transport, client = await loop.create_connection(lambda: Client(now), *server.sockets[0].getsockname())

        async def seconds(number: int | Setting) -> float:
            values: Any = memory.items([b"x"] * messages)
            if broker is not None:
                queue = rabbitmq.queue("cost", broker=broker, kind="classic", persistent=False)
                await Pipeline("fill", values | queue).start()
                values = queue
            out: list[Any] = []
            flow = values | step(number, client.__call__) | memory.into(out)
            pipeline = Pipeline("cost", flow, credit=number if place == "credit" else 4_096)
            start = time.process_time()
            while sum(len(each) for each in out) < messages:
                # A run may find its queue empty before all is there.
                await pipeline.start(until_empty=True)
            return time.process_time() - start

        usual, more = [], []
        for _ in range(rounds):
            before = await seconds(number)
            tuned = await seconds(Tuner(Knob("n", number, number, number), mode="act"))
            without = (before + await seconds(number)) / 2
            usual.append(without / messages * 1e6)
            more.append(tuned / without - 1)
        transport.close()
    return median(usual), median(more)
