"""A channel as the connector sees it: what came in, what was confirmed, and whether it still lives.

There are two: `lane.Lane` reads and writes frames on aio-pika's socket itself, `plain.Plain` asks aiormq for everything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel

__all__ = ["Arrivals", "Parcel", "Port", "asking", "goodbye", "is_cancelled"]

_GOODBYE = 1.5
"""Seconds a channel or a connection has to close in good order."""


def is_cancelled(error: BaseException) -> bool:
    """Whether this task is being cancelled; aiormq raises that error too where a connection was lost."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and bool(task.cancelling())


@contextmanager
def asking() -> Iterator[None]:
    """Around a question to the broker: a lost connection is no cancellation of ours."""
    try:
        yield
    except asyncio.CancelledError as error:
        if is_cancelled(error):
            raise
        raise ConnectionError("the connection was lost") from error


async def goodbye(closing: Awaitable[object]) -> bool:
    """Wait a little for a channel or a connection to close in good order; says whether it did, and raises nothing."""
    try:
        async with asyncio.timeout(_GOODBYE):
            await closing
    except (Exception, asyncio.CancelledError) as error:
        if is_cancelled(error):
            raise
        return False
    return True


class Arrivals:
    """Deliveries in their order, as a struct of arrays; ``heads`` are encoded properties, ``again`` redelivered tags."""

    __slots__ = ("again", "bodies", "heads", "size", "tags")

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.tags: list[int] = []
        self.heads: list[bytes] = []
        self.again: set[int] = set()
        self.size = 0

    def clear(self) -> list[int]:
        """Forget all of them; returns their tags."""
        tags = self.tags[:]
        for column in (self.bodies, self.tags, self.heads):
            del column[:]
        self.again.clear()
        self.size = 0
        return tags


class Parcel(NamedTuple):
    """Messages for one exchange, as a struct of arrays; ``keys`` is one routing key for all, or one per message."""

    exchange: str
    keys: str | Sequence[str]
    ids: Sequence[str]
    properties: Sequence[bytes]
    bodies: Sequence[bytes]

    def part(self, positions: Sequence[int]) -> Parcel:
        """Some of its messages."""
        chosen: set[int] = set(positions)
        mask = [i in chosen for i in range(len(self.bodies))]
        columns: Any = (each if isinstance(each, str) else list(compress(each, mask)) for each in self)
        return Parcel(*columns)


class _Write:
    """Messages sent together, and what is known of them; positions count within the parcel."""

    __slots__ = ("done", "first", "last", "parcel", "refused", "rejected")

    def __init__(self, parcel: Parcel, first: int, done: asyncio.Future[None]) -> None:
        self.parcel = parcel
        self.first = first
        self.last = first + len(parcel.bodies) - 1
        self.done = done
        self.rejected: set[int] = set()
        self.refused: dict[int, Exception] = {}


class Port:
    """One open channel. ``lost`` says why it is dead; it then stays dead, and its delivery tags mean nothing any more."""

    def __init__(self, channel: AbstractChannel) -> None:
        self.channel = channel
        self.frame_max = 0
        """The largest frame that the broker takes, in bytes; 0 where it sets no limit."""
        self.arrivals = Arrivals()
        self.lost: Exception | None = None
        self.cancelled: set[str] = set()
        self.on_change: Callable[[], None] = lambda: None
        """Called when deliveries have come, the broker has ended a consumer, or the port is lost."""
        self._writes: deque[_Write] = deque()
        self._next = 1
        self._floor = 0
        self._early: set[int] = set()

    def lose(self, reason: Exception) -> None:
        """Say that the channel is gone: whoever waits for a confirm hears it."""
        if self.lost is None:
            self.lost = reason
            for write in self._writes:
                if not write.done.done():
                    write.done.set_result(None)
            self._writes.clear()
            self.on_change()

    async def consume(self, queue: str, tag: str, prefetch: int, arguments: Mapping[str, Any]) -> None:
        """Register a consumer that may hold ``prefetch`` messages."""
        with asking():
            await self.channel.basic_qos(prefetch_count=prefetch)
            await self._consume(queue, tag, dict(arguments))

    async def _consume(self, queue: str, tag: str, arguments: dict[str, Any]) -> None:
        raise NotImplementedError

    async def cancel(self, tag: str) -> None:
        """End a consumer; what it holds stays unsettled."""
        with asking():
            await self.channel.basic_cancel(tag)

    async def settle(self, acks: Sequence[tuple[int, bool]]) -> None:
        """Acknowledge tags, each alone or together with all before it."""
        raise NotImplementedError

    async def give_back(self, tags: Sequence[int]) -> None:
        """Requeue messages at their old place."""
        raise NotImplementedError

    async def fail(self, tags: Sequence[int]) -> None:
        """Requeue messages that could not be handled, which quorum queues count."""
        raise NotImplementedError

    def taken(self) -> None:
        """Say that arrivals were taken over, so that there may be room for more."""

    async def publish(self, parcel: Parcel) -> tuple[Sequence[int], dict[int, Exception]]:
        """Send messages and wait for their confirms; raises nothing where the port is lost.

        Returns the positions that were not confirmed, because the broker rejected them or the port was lost, and may be
        sent again; and the reasons of those that no queue took.
        """
        raise NotImplementedError

    async def close(self, why: str = "the channel was closed here") -> None:
        """Close the channel; what it holds goes back to its queue. Closing a lost one does nothing."""
        if self.lost is None:
            self.lose(ConnectionError(why))
            await goodbye(self.channel.close())

    def begin(self, parcel: Parcel) -> _Write:
        """Give the messages of a parcel the next sequence numbers."""
        write = _Write(parcel, self._next, asyncio.get_running_loop().create_future())
        self._next += len(parcel.bodies)
        self._writes.append(write)
        return write

    def confirm(self, tag: int, multiple: bool, accepted: bool) -> None:
        """Take a confirm of the broker: of one sequence number, or of all up to it."""
        if not accepted:
            for number in range(self._floor + 1, tag + 1) if multiple else (tag,):
                if number not in self._early:
                    self._reject(number)
        if multiple:
            self._floor = max(self._floor, tag)
            self._early = {number for number in self._early if number > tag} if self._early else self._early
        elif tag == self._floor + 1:
            self._floor = tag
        elif tag > self._floor:
            self._early.add(tag)
        while self._early and self._floor + 1 in self._early:
            self._floor += 1
            self._early.remove(self._floor)

    def _reject(self, number: int) -> None:
        for write in self._writes:
            if write.first <= number <= write.last:
                write.rejected.add(number - write.first)

    def refuse(self, message_id: str, key: str, reason: Exception) -> None:
        """Take back a message that no queue took; its confirm comes after."""
        for write in self._writes:
            keys, ids = write.parcel.keys, write.parcel.ids
            for i, each in enumerate(ids):
                if each == message_id and (keys if isinstance(keys, str) else keys[i]) == key and i not in write.refused:
                    write.refused[i] = reason
                    return

    def settle_writes(self) -> None:
        """Let go of the writes whose every message is confirmed."""
        writes, floor = self._writes, self._floor
        while writes and writes[0].last <= floor:
            write = writes.popleft()
            if not write.done.done():
                write.done.set_result(None)

    def outcome(self, write: _Write) -> tuple[Sequence[int], dict[int, Exception]]:
        """What `publish` returns for a write that is done, or whose port is lost."""
        again = set(write.rejected)
        if write.last > self._floor:
            pending = range(max(write.first, self._floor + 1), write.last + 1)
            again.update(number - write.first for number in pending if number not in self._early)
        return sorted(again - write.refused.keys()), write.refused
