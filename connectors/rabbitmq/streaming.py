"""An open stream to read from: from where a reader was, or from where it is told to begin; nothing is taken out of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.caution import ALONE, Caution
from warren.connectors.rabbitmq.ends import OFFSET, Backlog, Look, offset_of
from warren.connectors.rabbitmq.health import SourceWatch
from warren.connectors.rabbitmq.messages import Heads, batch
from warren.connectors.rabbitmq.offsets import Offsets
from warren.connectors.rabbitmq.port import Port
from warren.connectors.rabbitmq.progress import Mark, Progress
from warren.connectors.rabbitmq.receiver import PATIENCE, Receiver
from warren.connectors.rabbitmq.topology import FIRST_PAUSE, LONGEST_PAUSE, QueueDeclaration
from warren.core.errors import TopologyError
from warren.core.message import Batch

__all__ = ["Start", "StreamSource", "ahead"]

log = logging.getLogger("warren.rabbitmq")

T = TypeVar("T")

Start: TypeAlias = "Literal['first', 'last', 'next'] | int | datetime"

_LEAST_AHEAD, _MOST_AHEAD = 256, 65_535


def ahead(credit: int | None) -> int:
    """How many messages the broker may send ahead.

    >>> ahead(10), ahead(1000)
    (256, 1000)
    """
    return min(max(credit or 0, _LEAST_AHEAD), _MOST_AHEAD)


class StreamSource(Receiver):
    """A source connection to a stream.

    A message's handle is its offset, which outlives channels: what is handed out stays with the pipeline when the
    connection is lost, and reading goes on behind it. Reading takes nothing away, so there is always some read ahead; the
    broker is told that there is room for more as soon as messages are handed out.
    """

    def __init__(
        self,
        broker: Broker,
        declaration: QueueDeclaration,
        *,
        start: Start,
        until_empty: bool,
        credit: int | None,
        offsets: tuple[str, str] | None,
        max_deliveries: int | None,
    ) -> None:
        super().__init__(broker, declaration)
        self.start: Start = start
        self.until_empty = until_empty
        self.credit = credit
        self._ahead = ahead(credit)
        self._offsets = Offsets(offsets[0], broker.servers[0].vhost, self.queue, offsets[1]) if offsets else None
        self._progress: Progress | None = None
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._handed = self._granted = 0
        self._doubtful = False
        """Whether the stream was empty when consuming began, so that it may be another one than before."""
        watched = offsets is not None and credit is not None and max_deliveries is not None
        self._caution = Caution(max_deliveries or 0) if watched else None
        self._more = False
        self._alone: float | None = None
        """Since when a message is handed out that may be poison, or waits for the others to be settled."""
        self._watch = SourceWatch(self, Backlog(self))

    async def open(self) -> None:
        """Declare the stream, find where to begin, and begin to consume."""
        await self._work(self._open())

    async def _open(self) -> None:
        await self._declare()
        mark: Mark | None = None
        if self._offsets is not None:
            await self._offsets.open()
            mark = self._offsets.mark
        if mark is None or self._offsets is None:
            await self._begin()
        else:
            self._progress = Progress(mark, self._offsets.runs, self._offsets.torn, self.credit or 0)
        await self._resume()

    async def _begin(self) -> None:
        """Begin where the user said, at a place that is still the same after a reconnect."""
        start, mark = self.start, Mark(-1)
        if isinstance(start, int):
            mark = Mark(start - 1)
        elif start in ("last", "next"):
            end = await self._look(Look.last)
            mark = Mark(end if start == "next" else max(end - 1, -1), seen=end)
        self._progress = Progress(mark)
        await self._save(self._progress)

    async def _look(self, see: Callable[[Look], Coroutine[Any, Any, T]]) -> T:
        """See something of the stream on a channel of its own, however long the broker takes to come back."""
        pause = FIRST_PAUSE
        while True:
            await self._declare()
            port = await self.link.port()
            try:
                return await see(Look(port, self.queue))
            except Exception as error:
                await self._interrupted(port, error, pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            finally:
                await port.close()

    async def _resume(self) -> None:
        """Go on behind what was handed out, where it is still the same stream."""
        await self._identify()
        await self._consume(self._ahead)

    async def _identify(self) -> None:
        progress = self._progress
        assert progress is not None
        self._doubtful = False
        if progress.seen < 0:
            return
        found = await self._look(lambda look: look.identify(progress.seen))
        self._doubtful = found == "empty"
        if found != "other":
            return
        what = f"stream {self.queue!r} has no message {progress.seen} any more, which was read: it was deleted and made anew"
        if self.received:
            raise TopologyError(f"{what} meanwhile; start again, and it is read from where start= says")
        log.warning("%s, so reading starts over", what)
        if self._port is not None:
            await self._port.close()
        await self._begin()

    def _arguments(self) -> Mapping[str, Any]:
        assert self._progress is not None
        if self._progress.seen < 0 and isinstance(self.start, datetime):
            return {OFFSET: self.start}
        # In a stream that is made anew, what is behind the offset is not all there is.
        return {OFFSET: 0 if self._doubtful else self._progress.last + 1}

    def _forget(self) -> None:
        super()._forget()
        self._handed = self._granted = 0

    @property
    def reached(self) -> int:
        """The offset up to which everything was handed out, or settled before; -1 where that is nothing yet."""
        return self._progress.last if self._progress is not None else -1

    @property
    def unsettled(self) -> int:
        """How many messages are handed out and not settled."""
        return self._progress.unsettled if self._progress is not None else 0

    async def receive(self, limit: int) -> Batch | None:
        while self._closing is None:
            if self._working is not None:
                await self._settled_down()
                continue
            progress = self._progress
            if progress is None:
                await self.open()
                continue
            if self._port is not None and self._port.lost is not None:
                self._forget()
            if self._port is not None and self._port.cancelled:
                await self._work(self._cancelled())
                continue
            if progress.ready:
                again = self._hand_again(progress, limit)
                self.count(received=len(again))
                return again
            if self._handed > self._granted:
                await self._grant()
                continue
            if self._port is not None and self._port.arrivals.tags:
                if self._doubtful and offset_of(self._port.arrivals.heads[0]) <= progress.seen:
                    await self._work(self._identify())
                    continue
                self._doubtful = False
                most = limit if self._caution is None else self._cautious(self._caution, progress, self._port, limit)
                if not most:
                    await self._change(ALONE)
                    continue
                given = self._hand_out(progress, self._port, most)
                if given is None:
                    continue
                if self._alone is not None:
                    await self._vouch(progress, given)
                self.count(received=len(given))
                return given
            if not self._tags:
                await self._work(self._resume())
                continue
            patience = PATIENCE if self.until_empty and not progress.delayed else None
            if not await self._change(patience) and await self._exhausted(progress):
                return None
        return None

    async def _grant(self) -> None:
        """Tell the broker that there is room again for what was handed out: that is all that acks mean to a stream."""
        tag = self._granted = self._handed
        if self._port is not None and self._port.lost is None:
            await self._port.settle([(tag, True)])

    def _hand_again(self, progress: Progress, limit: int) -> Batch:
        again = progress.again(limit)
        return batch(
            [each.body for each in again],
            [each.offset for each in again],
            Heads([each.head for each in again]),
            [each.known.attempts for each in again],
            [each.known.deliveries + 1 for each in again],
        )

    def _hand_out(self, progress: Progress, port: Port, limit: int) -> Batch | None:
        came = port.arrivals
        bodies, tags, data = came.bodies[:limit], came.tags[:limit], came.heads[:limit]
        del came.bodies[:limit], came.tags[:limit], came.heads[:limit]
        came.size -= sum(map(len, bodies))
        port.taken()
        came.again.clear()
        self._handed = tags[-1]
        first, last = offset_of(data[0]), offset_of(data[-1])
        offsets: Sequence[int] = range(first, last + 1)
        if len(offsets) != len(data):
            offsets = [offset_of(head) for head in data]
        attempts = deliveries = None
        if first <= progress.last or progress.is_known(first):
            fresh = self._fresh(progress, offsets, bodies, data)
            if len(fresh) < len(data):
                offsets = [offsets[i] for i in fresh]
                bodies, data = [bodies[i] for i in fresh], [data[i] for i in fresh]
            attempts = [progress.attempts(offset) for offset in offsets]
            deliveries = [progress.deliveries(offset) + 1 for offset in offsets]
        if offsets:
            progress.take(offsets, bodies, data)
        progress.reach(last)
        return batch(bodies, offsets, Heads(data), attempts, deliveries) if offsets else None

    def _cautious(self, caution: Caution, progress: Progress, port: Port, limit: int) -> int:
        """How many of the messages that have come may be handed out together; 0 where something has to be settled first."""
        now = asyncio.get_running_loop().time()
        if self._alone is not None and progress.out and now - self._alone < ALONE:
            return 0
        heads = port.arrivals.heads
        suspect = None
        if progress.is_known(offset_of(heads[0])):
            suspect = caution.first_suspect(progress.losses(offset_of(head)) for head in heads[:limit])
        if suspect != 0:
            self._alone = None
            return limit if suspect is None else suspect
        waits = self._alone is None and progress.out > 0
        self._alone = now
        return 0 if waits else 1

    async def _vouch(self, progress: Progress, given: Batch) -> None:
        """Write down that this one message is handed out, and no other, before it can do any harm."""
        try:
            await self._save(progress, exact=True)
        except BaseException:
            progress.give_back(given.handles, 0.0, None)
            raise

    def _fresh(
        self, progress: Progress, offsets: Sequence[int], bodies: Sequence[bytes], heads: Sequence[bytes]
    ) -> list[int]:
        """Which of the messages that came are to be handed out now: neither settled before, nor still to wait."""
        fresh: list[int] = []
        now = time.time()
        for i, offset in enumerate(offsets):
            if progress.is_done(offset):
                continue
            kept = progress.kept.get(offset)
            if kept is not None and kept.due > now:
                progress.hold(offset, bodies[i], heads[i])
                self._wait(offset, kept.due - now)
            else:
                fresh.append(i)
        return fresh

    def _wait(self, offset: int, delay: float) -> None:
        self._timers[offset] = asyncio.get_running_loop().call_later(delay, self._due, offset)

    def _due(self, offset: int) -> None:
        del self._timers[offset]
        assert self._progress is not None
        self._progress.due(offset)
        self._wake()

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        progress = self._progress
        settled = progress.settle(handles) if progress is not None else 0
        if progress is not None and settled:
            self.count(settled=settled)
            await self._save(progress)
            self._wake()

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        progress = self._progress
        if progress is None:
            return
        # Nothing can be put back into a stream, so it waits here: in its old place, or for its time.
        given = progress.give_back(handles, time.time() + delay if delay > 0 else 0.0, attempts)
        if delay > 0:
            for offset in given:
                self._wait(offset, delay)
        if given and (delay > 0 or attempts is not None):
            await self._save(progress)
        self._wake()

    async def _save(self, progress: Progress, *, exact: bool = False) -> None:
        begun = progress.seen >= 0 or not isinstance(self.start, datetime)
        if self._offsets is not None and begun:
            await self._offsets.save(progress.mark, exact=exact)

    async def _exhausted(self, progress: Progress) -> bool:
        """Whether the last message that is there was handed out, and none waits for its time."""
        if progress.delayed or progress.ready:
            return False
        await self._work(self._look_behind(progress))
        return not (self._more or progress.delayed or progress.ready or self._port is None or self._port.arrivals.tags)

    async def _look_behind(self, progress: Progress) -> None:
        start = self.start if isinstance(self.start, datetime) else progress.last + 1
        self._more = await self._look(lambda look: look.has_more(progress.seen, progress.last, start))

    async def _close(self) -> None:
        try:
            await self._interrupt()
            for timer in self._timers.values():
                timer.cancel()
            offsets = self._offsets
            if offsets is not None:
                try:
                    if self._progress is not None:
                        await self._save(self._progress, exact=True)
                finally:
                    self._offsets = None
                    await offsets.close()
            if self._port is not None:
                await self._port.close()
        finally:
            await self.link.release()
