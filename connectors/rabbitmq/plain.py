"""A channel that leaves every frame to aiormq: for clients without the seam that the fast lane needs. Slower, the same results."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from warren.connectors.rabbitmq.faults import unroutable
from warren.connectors.rabbitmq.port import Parcel, Port

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel, DeliveredMessage

__all__ = ["Plain"]

_AT_ONCE = 256
"""How many publishes wait for their confirm side by side."""


class Plain(Port):
    """A channel on which aiormq does the work."""

    def __init__(self, channel: AbstractChannel) -> None:
        super().__init__(channel)
        self._sending = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[Any]] = set()
        channel.closing.add_done_callback(self._closed)
        channel.on_consumer_cancel_callbacks.add(self._cancelled)  # type: ignore[attr-defined]  # of the one channel class

    def _closed(self, closing: asyncio.Future[Any]) -> None:
        error = closing.exception() if not closing.cancelled() else None
        self.lose(ConnectionError(f"the channel was closed: {error or 'the connection has ended'}"))

    def _cancelled(self, cancel: Any) -> None:
        self.cancelled.add(cancel.consumer_tag)
        self.on_change()

    async def _arrived(self, message: DeliveredMessage) -> None:
        came = self.arrivals
        came.bodies.append(bytes(message.body))
        came.tags.append(message.delivery.delivery_tag)  # type: ignore[union-attr, arg-type]  # a delivery has a tag
        came.heads.append(message.header.marshal()[12:])
        if message.delivery.redelivered:  # type: ignore[union-attr]  # as above
            came.again.add(came.tags[-1])
        self.on_change()

    async def consume(self, queue: str, tag: str, prefetch: int, arguments: Mapping[str, Any]) -> None:
        await self.channel.basic_qos(prefetch_count=prefetch)
        await self.channel.basic_consume(queue, self._arrived, consumer_tag=tag, arguments=dict(arguments))

    def settle(self, acks: Sequence[tuple[int, bool]]) -> None:
        self._spawn(self._settle(acks))

    async def _settle(self, acks: Sequence[tuple[int, bool]]) -> None:
        for tag, multiple in acks:
            await self.channel.basic_ack(tag, multiple=multiple, wait=False)

    def give_back(self, tags: Sequence[int]) -> None:
        self._spawn(self._give_back(tags))

    async def _give_back(self, tags: Sequence[int]) -> None:
        for tag in tags:
            await self.channel.basic_nack(tag, requeue=True, wait=False)

    def _spawn(self, work: Any) -> None:
        # One after the other, so that what is given back is given back before the channel is closed.
        before = tuple(self._tasks)

        async def run() -> None:
            if before:
                await asyncio.wait(before)
            try:
                await work
            except Exception as error:
                self.lose(ConnectionError(str(error)))

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def publish(self, parcel: Parcel) -> tuple[Sequence[int], dict[int, Exception]]:
        again: list[int] = []
        refused: dict[int, Exception] = {}
        await asyncio.gather(*(self._publish(parcel, i, again, refused) for i in range(len(parcel.bodies))))
        return sorted(again), refused

    async def _publish(self, parcel: Parcel, i: int, again: list[int], refused: dict[int, Exception]) -> None:
        from aiormq.exceptions import DeliveryError, PublishError
        from pamqp.commands import Basic

        key = parcel.keys if isinstance(parcel.keys, str) else parcel.keys[i]
        data = parcel.properties[i]
        properties = Basic.Properties()
        properties.unmarshal(int.from_bytes(data[:2], "big"), data[2:])
        async with self._sending:
            if self.lost is not None:
                again.append(i)
                return
            try:
                await self.channel.basic_publish(
                    parcel.bodies[i], exchange=parcel.exchange, routing_key=key, properties=properties, mandatory=True
                )
            except PublishError as error:
                # What came back is a message; without one it is the broker's own refusal.
                text = getattr(getattr(error.message, "delivery", None), "reply_text", None) or "no route"
                refused[i] = unroutable(str(text), parcel.exchange, key)
            except DeliveryError:
                again.append(i)
            except Exception as error:
                again.append(i)
                self.lose(ConnectionError(str(error)))

    async def close(self) -> None:
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        await super().close()
