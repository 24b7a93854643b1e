"""A channel that leaves every frame to aiormq, for clients without the seam that the fast lane needs.

Slower, with the same results.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq.faults import unroutable
from warren.connectors.rabbitmq.port import Parcel, Port, asking

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel, DeliveredMessage
    from pamqp.header import ContentHeader

__all__ = ["Plain", "readable"]

_AT_ONCE = 256
"""How many publishes wait for their confirm side by side."""
_WRAPPED = "warren-properties"


class Plain(Port):
    """A channel on which aiormq does the work."""

    def __init__(self, channel: AbstractChannel) -> None:
        super().__init__(channel)
        self._sending = asyncio.Semaphore(_AT_ONCE)
        # The client waits between two of them, and one that takes all before it along must not overtake those.
        self._answering = asyncio.Lock()
        self._underway: set[asyncio.Task[None]] = set()
        channel.closing.add_done_callback(self._closed)
        channel.on_consumer_cancel_callbacks.add(self._cancelled)

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
        came.heads.append(_head(message.header))
        if message.delivery.redelivered:  # type: ignore[union-attr]  # as above
            came.again.add(came.tags[-1])
        self.on_change()

    async def _consume(self, queue: str, tag: str, arguments: dict[str, Any]) -> None:
        await self.channel.basic_consume(queue, self._arrived, consumer_tag=tag, arguments=arguments)

    async def settle(self, acks: Sequence[tuple[int, bool]]) -> None:
        await self._answer(self.channel.basic_ack(tag, multiple=multiple) for tag, multiple in acks)

    async def give_back(self, tags: Sequence[int]) -> None:
        await self._answer(self.channel.basic_nack(tag, requeue=True) for tag in tags)

    async def fail(self, tags: Sequence[int]) -> None:
        await self._answer(self.channel.basic_reject(tag, requeue=True) for tag in tags)

    async def _answer(self, answers: Iterable[Awaitable[None]]) -> None:
        try:
            with asking():
                async with self._answering:
                    for answer in answers:
                        await answer
        except Exception as error:
            self.lose(ConnectionError(str(error)))

    def lose(self, reason: Exception) -> None:
        super().lose(reason)
        # The client may wait for the broker to say that it has closed the channel, and that may never come.
        for task in self._underway:
            task.cancel()

    async def publish(self, parcel: Parcel) -> tuple[Sequence[int], dict[int, Exception]]:
        again: set[int] = set()
        refused: dict[int, Exception] = {}
        tasks = [asyncio.ensure_future(self._publish(parcel, i, again, refused)) for i in range(len(parcel.bodies))]
        self._underway.update(tasks)
        try:
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._underway.difference_update(tasks)
        for i, end in enumerate(ends):
            if isinstance(end, asyncio.CancelledError):
                again.add(i)
            elif end is not None:
                raise end
        return sorted(again), refused

    async def _publish(self, parcel: Parcel, i: int, again: set[int], refused: dict[int, Exception]) -> None:
        from aiormq.exceptions import DeliveryError, PublishError
        from pamqp.commands import Basic

        key = parcel.keys if isinstance(parcel.keys, str) else parcel.keys[i]
        data = parcel.properties[i]
        properties = Basic.Properties()
        properties.unmarshal(int.from_bytes(data[:2], "big"), data[2:])
        async with self._sending:
            if self.lost is not None:
                again.add(i)
                return
            try:
                with asking():
                    await self.channel.basic_publish(
                        parcel.bodies[i], exchange=parcel.exchange, routing_key=key, properties=properties, mandatory=True
                    )
            except PublishError as error:
                # What came back is a message; without one it is the broker's own refusal.
                text = getattr(getattr(error.message, "delivery", None), "reply_text", None) or "no route"
                refused[i] = unroutable(str(text), parcel.exchange, key)
            except DeliveryError:
                again.add(i)
            except Exception as error:
                again.add(i)
                self.lose(ConnectionError(str(error)))


def readable(frame: bytes) -> bytes:
    """A content header that aiormq can read: one that it cannot is wrapped whole, for `_head` to take out again.

    Otherwise one message with a strange property would end the connection again and again.
    """
    from pamqp.header import ContentHeader

    try:
        ContentHeader().unmarshal(frame[7:-1])
        # It takes some that are cut short, and the lane does not.
        frames.read_table(frames.read_properties(frame[19:-1]).headers)
    except Exception:
        headers = frames.table({_WRAPPED: frame[19:-1]})
        payload = frame[7:19] + b"\x20\x00" + len(headers).to_bytes(4, "big") + headers
        return frame[:3] + len(payload).to_bytes(4, "big") + payload + frames.END
    return frame


def _head(header: ContentHeader) -> bytes:
    """The encoded properties of a message, as they came."""
    headers = header.properties.headers
    wrapped = headers.get(_WRAPPED) if headers else None
    return bytes(wrapped) if isinstance(wrapped, bytes | bytearray) else header.marshal()[12:]
