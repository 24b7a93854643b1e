"""A stream, as a source and a sink."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.queue import Queue
from warren.connectors.rabbitmq.receiver import Waiting
from warren.connectors.rabbitmq.streaming import Start, StreamSource, ahead
from warren.core.errors import GraphError

__all__ = ["Stream"]

T = TypeVar("T")


class Stream(Queue[T]):
    """A stream on a RabbitMQ broker: a source on the left of ``|``, a sink on its right.

    Reading takes nothing out of a stream: every reader sees every message, again from wherever it begins.

    Delivery: at least once. A write returns when a majority of the broker's nodes has it. What was read and not settled
    stays with the pipeline when the connection is lost, and reading goes on behind it. With ``offsets``, a message is
    acknowledged when that is on the disk, and a restart goes on with the first one that is not; a killed worker loses
    nothing, and gets again what it did and had not yet acknowledged. Without, nothing outlives the connection: ``start``
    decides anew each time.

    Nothing can be put back into a stream, so what is delayed waits in the process, and its count of attempts with it (in
    the file too, where there is one). Dead letters go to a quorum queue on the same broker.

    Raises `BrokerError` where the broker cannot be reached or refuses, `TopologyError` where the stream is missing or is
    there with other properties, and `StorageError` where the file cannot be used or its consumer reads already.
    """

    def __init__(
        self,
        stream: str,
        type: Any = None,
        *,
        broker: Broker | None = None,
        start: Start = "first",
        offsets: str | os.PathLike[str] | None = None,
        consumer: str = "warren",
        passive: bool = False,
        arguments: Mapping[str, Any] | None = None,
        key: Callable[[T], str | None] | None = None,
        headers: Callable[[T], Mapping[str, str]] | None = None,
        max_deliveries: int | None = 20,
    ) -> None:
        super().__init__(
            stream,
            type,
            broker=broker,
            kind="stream",
            passive=passive,
            arguments=arguments,
            key=key,
            headers=headers,
            max_deliveries=max_deliveries,
        )
        self.start: Start = _checked(start, stream)
        self.offsets = os.fspath(offsets) if offsets is not None else None
        self.consumer = consumer

    def note(self, credit: int) -> str:
        """Where its position is kept, and how many messages the broker sends ahead."""
        kept = f"position of {self.consumer!r} in {self.offsets}" if self.offsets is not None else "no position kept"
        return f"stream from {self.start}, {kept}, {ahead(credit):,} messages ahead"

    def reader(self, until_empty: bool, credit: int | None) -> Waiting:
        """The half of a connection that receives."""
        return StreamSource(
            self.broker,
            self.declaration,
            start=self.start,
            until_empty=until_empty,
            credit=credit,
            offsets=(self.offsets, self.consumer) if self.offsets is not None else None,
            max_deliveries=self.max_deliveries,
        )


def _checked(start: Start, stream: str) -> Start:
    if isinstance(start, datetime):
        if start.tzinfo is None:
            raise GraphError(
                f"rabbitmq.stream({stream!r}, start={start!r}): say in which time zone, such as "
                f"datetime(2024, 5, 1, tzinfo=timezone.utc)"
            )
    elif start not in ("first", "last", "next") and not (isinstance(start, int) and start >= 0):
        raise GraphError(
            f"rabbitmq.stream({stream!r}, start={start!r}): there are 'first', 'last', 'next', an offset from 0 on and a "
            f"datetime"
        )
    return start
