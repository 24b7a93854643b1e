"""An open queue to receive from: read-ahead within the credit, acknowledgement in runs, and a new start after each loss."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable, Sequence

from warren.connectors.rabbitmq.acks import LINGER, Acks
from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.caution import ALONE, Caution
from warren.connectors.rabbitmq.delays import DelayedRetry
from warren.connectors.rabbitmq.held import Held
from warren.connectors.rabbitmq.messages import COUNTED, Heads, batch
from warren.connectors.rabbitmq.parking import Parking
from warren.connectors.rabbitmq.port import Port, asking, goodbye
from warren.connectors.rabbitmq.presence import Presence
from warren.connectors.rabbitmq.queues import looked
from warren.connectors.rabbitmq.receiver import PATIENCE, Receiver
from warren.connectors.rabbitmq.topology import QueueDeclaration
from warren.core.message import Batch

__all__ = ["SILENCE", "RabbitSource"]

log = logging.getLogger("warren.rabbitmq")

SILENCE = 10.0
"""Seconds without a message after which it is looked whether there are any."""
_SURELY_TAKEN = 30
"""Acknowledgements that a broker takes at once."""


class RabbitSource(Receiver):
    """A source connection over one channel at a time.

    With ``credit``, the broker may send that many messages ahead. Without, a consumer is registered only while `receive`
    waits, with the limit it was asked for, so that nothing is fetched that nobody asked for.
    """

    def __init__(
        self,
        broker: Broker,
        declaration: QueueDeclaration,
        *,
        until_empty: bool,
        credit: int | None,
        max_deliveries: int | None = None,
        delayed_retry: DelayedRetry | None = None,
        delayed_exchange: str | None = None,
    ) -> None:
        super().__init__(broker, declaration)
        self.until_empty = until_empty
        self.credit = credit
        self._presence = Presence(self.link, self.queue) if until_empty or credit is None else None
        self._delayed_retry = delayed_retry
        self._parking = Parking(broker, self.queue, delayed_exchange)
        self._unflushed = 0
        self._held = Held()
        self._acks = Acks()
        self._lingering: asyncio.Task[None] | None = None
        self._outliving: set[asyncio.Task[None]] = set()
        self._waits_its_turn = bool(declaration.arguments.get("x-single-active-consumer"))
        self._neglected = False
        self.on_settled: Callable[[], None] = lambda: None
        """Called when messages are settled later than they were released."""
        watched = credit is not None and max_deliveries is not None and declaration.counts
        self._caution = Caution(max_deliveries or 0) if watched else None

    async def open(self) -> None:
        """Declare the queue; with a credit, begin to consume."""
        await self._declare()
        if self.credit is not None:
            await self._work(self._consume(self.credit))

    async def receive(self, limit: int) -> Batch | None:
        while self._closing is None:
            if self._working is not None:
                await self._settled_down()
                continue
            if self._port is not None and self._port.lost is not None:
                self._forget()
            if self._port is not None and self._port.cancelled:
                await self._work(self._cancelled())
                continue
            if self._held.returned or (self._port is not None and self._port.arrivals.tags):
                if self.credit is None and self._tags:
                    await self._work(self._pause())
                    continue
                most = limit if self._caution is None else await self._cautious(self._caution, limit)
                if not most:
                    continue
                given = self._hand_out(most)
                self.count(received=len(given))
                return given
            if not self._tags:
                await self._work(self._consume(self.credit or limit))
                continue
            if self._caution is not None and self._caution.left and self.unsettled:
                if not await self._change(ALONE) and self.unsettled:
                    await self._work(self._consume(1))
                continue
            if self.until_empty:
                if not await self._change(PATIENCE) and await self._exhausted():
                    return None
            elif await self._change(SILENCE if self.credit is not None and not self._waits_its_turn else None):
                self._neglected = False
            elif not self.unsettled:
                await self._work(self._look_after())
        return None

    async def _look_after(self) -> None:
        """Begin anew where messages are ready, and the broker has twice been seen to deliver none of them.

        After a queue was deleted and declared again at once, RabbitMQ 3.10 keeps the consumer and drops what it sends to it.
        """
        port = self._port
        if port is None or port.lost is not None:
            return
        try:
            with asking():
                found = await looked(port.channel, self.queue)
        except Exception as error:
            port.lose(ConnectionError(str(error)))
            return
        waits = found is not None and found.ready > 0 and not port.arrivals.tags
        if waits and self._neglected:
            log.warning("queue %r has messages, and the broker delivers none; consuming starts again", self.queue)
            await port.close("the broker delivered nothing")
        self._neglected = waits and not self._neglected

    def _hand_out(self, limit: int) -> Batch:
        if self._held.returned:
            return self._held.take_again(limit)
        assert self._port is not None
        came = self._port.arrivals
        bodies, tags, data = came.bodies[:limit], came.tags[:limit], came.heads[:limit]
        del came.bodies[:limit], came.tags[:limit], came.heads[:limit]
        if came.size:
            came.size -= sum(map(len, bodies))
            self._port.taken()
        heads = Heads(data)
        again = came.again
        attempts = deliveries = None
        if again or (not heads.plain and any(COUNTED in head for head in data)):
            deliveries = [
                heads.deliveries(i, tag in again) if tag in again or COUNTED in data[i] else 1 for i, tag in enumerate(tags)
            ]
            attempts = [heads.attempts(i) if COUNTED in data[i] else 1 for i in range(len(tags))]
            if self._delayed_retry is not None:
                attempts = [tried + heads.failures(i) for i, tried in enumerate(attempts)]
            again.difference_update(tags)
        return batch(bodies, self._held.take(tags, bodies, heads), heads, attempts, deliveries)

    async def _cautious(self, caution: Caution, limit: int) -> int:
        """How many of the messages that have come may be handed out together; 0 where they had to be given back."""
        port = self._port
        if self._held.returned or port is None:
            return limit
        came = port.arrivals
        suspect = None
        if came.again:
            heads, tags = Heads(came.heads[:limit]), came.tags[:limit]
            suspect = caution.first_suspect(heads.losses(i) if tag in came.again else 1 for i, tag in enumerate(tags))
        if caution.left:
            if suspect != 0:
                caution.passed()
                if not caution.left:
                    await self._work(self._widen())
            return 1
        if suspect == 0:
            await self._work(self._narrow(caution))
        return limit if suspect is None else suspect

    def _width(self, wanted: int) -> int:
        return 1 if self._caution is not None and self._caution.left else wanted

    async def _widen(self) -> None:
        """Read ahead, with one consumer instead of those for one message each."""
        old = set(self._tags)
        await self._consume(self.credit or 1)
        new = [tag for tag in self._tags if tag not in old]
        self._tags = [tag for tag in self._tags if tag in old]
        await self._pause()
        self._tags = new

    async def _narrow(self, caution: Caution) -> None:
        """Give back what has come and was not handed out; it will come one by one."""
        await self._pause()
        port = self._port
        if port is None or port.lost is not None:
            return
        tags = port.arrivals.clear()
        port.taken()
        caution.start(len(tags))
        self._held.skip(tags)
        await port.give_back(tags)

    def _settle(self, handles: Sequence[Hashable]) -> list[int]:
        tags = self._held.settle(handles)
        self.count(settled=len(tags))
        return tags

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        await self._before_settling()
        port = self._port
        if port is None or port.lost is not None:
            return
        tags = self._settle(handles)
        await self._acknowledge(port, tags)
        await self._after_settling()

    async def _acknowledge(self, port: Port, tags: Sequence[int]) -> None:
        held = self._held
        acks = self._acks.due(tags, held.floor, held.last - held.floor, (self.credit or 0) * 3 // 4)
        if acks:
            await self._tell(port, acks)
        if self._acks and self._lingering is None:
            self._lingering = asyncio.get_running_loop().create_task(self._linger(port))

    async def _linger(self, port: Port) -> None:
        """Acknowledge after a while what waits for its neighbours."""
        while self._acks:
            await asyncio.sleep(LINGER)
            if port.lost is None and (acks := self._acks.ripe()):
                await self._tell(port, acks)
        self._lingering = None

    async def _tell(self, port: Port, acks: Sequence[tuple[int, bool]]) -> None:
        self._unflushed += len(acks)
        await port.settle(acks)

    def _hurry(self) -> list[tuple[int, bool]]:
        """End the wait; returns what waited."""
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        return self._acks.rest()

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        await self._before_settling()
        port = self._port
        if port is None or port.lost is not None:
            return
        held = self._held
        if held.copied:
            handles = [handle for handle in handles if handle not in held.copied]
        if self._delayed_retry is not None and attempts is not None:
            await port.fail(self._settle(handles))
            self._parking.expect(self._delayed_retry.after(attempts - 1))
            await self._after_settling()
            return
        if delay <= 0:
            await self._give_back(port, handles, attempts)
            await self._after_settling()
            return
        longer = await self._parking.park([held.entry(tag, attempts) for tag in held.open(handles)], delay)
        if longer:
            held.copied.update(handles)
            task = asyncio.get_running_loop().create_task(self._outlive(longer, port, handles))
            self._outliving.add(task)
            task.add_done_callback(self._outliving.discard)
        else:
            await self._gone(port, handles)

    async def _outlive(self, seconds: float, port: Port, handles: Sequence[Hashable]) -> None:
        await asyncio.sleep(seconds)
        await self._gone(port, handles)
        self.on_settled()

    async def _gone(self, port: Port, handles: Sequence[Hashable]) -> None:
        # A copy waits safely elsewhere, so the original may go; if the channel was lost meanwhile, it comes twice.
        self._held.copied.difference_update(handles)
        if self._port is port and port.lost is None:
            await self._acknowledge(port, self._settle(handles))
            await self._after_settling()

    async def _give_back(self, port: Port, handles: Sequence[Hashable], attempts: int | None) -> None:
        if attempts is None and not self._held.returned:
            await port.give_back(self._settle(handles))
        else:
            self._held.take_back(handles, attempts)
            self._wake()

    @property
    def unsettled(self) -> int:
        """How many messages are handed out and not settled."""
        return self._held.unsettled

    async def _close(self) -> None:
        try:
            await self._interrupt()
            for task in self._outliving:
                task.cancel()
            port = self._port
            if port is not None and port.lost is None:
                await self._gone(port, tuple(self._held.copied))
                await self._tell(port, self._hurry())
                await self._keep_counts(port)
                await goodbye(self._flush(port))
                await port.close()
        finally:
            if self._presence is not None:
                await self._presence.close()
            await self._parking.close()
            await self.link.release()

    async def flush(self) -> None:
        """Have the broker take all that was acknowledged so far; nothing waits for its neighbours any more."""
        port = self._port
        if port is not None and port.lost is None:
            try:
                await self._tell(port, self._hurry())
                await self._pass_by(port)
            except Exception as error:
                port.lose(ConnectionError(str(error)))

    async def _pass_by(self, port: Port) -> None:
        # The end of the one that is served would let another go ahead of what it still holds.
        await port.consume(self.queue, "flush", 1, self._arguments())
        await port.cancel("flush")

    async def _flush(self, port: Port) -> None:
        """Have the broker take every acknowledgement.

        It forgets those of a quorum queue that it has not come to when their channel is closed, all but about thirty. The
        end of a consumer is handled behind them.
        """
        if self._unflushed > _SURELY_TAKEN:
            if self._tags and self.declaration.counts:
                await self._pause()
            else:
                await self._pass_by(port)
            self._unflushed = 0

    async def _keep_counts(self, port: Port) -> None:
        """Write messages whose attempts are known here alone to the queue anew, and those behind them, in their order."""
        held = self._held.changed
        if held:
            await self._parking.park([self._held.entry(tag, None) for tag in held], 0.0)
            await self._tell(port, [(tag, False) for tag in held])

    async def _before_consuming(self) -> None:
        if self._presence is not None:
            await self._presence.enter()

    def _forget(self) -> None:
        """The channel is gone, and its tags with it: everything unsettled will come again."""
        super()._forget()
        self._unflushed = 0
        self._held.forget()
        self._hurry()
        if self._caution is not None:
            self._caution.start()

    async def _before_settling(self) -> None:
        """Without a credit, settling must not make the broker send more: its consumer goes first."""
        if self.credit is None and self._tags:
            if self._working is not None:
                await self._settled_down()
            await self._work(self._pause())

    async def _after_settling(self) -> None:
        if self._presence is not None and not self._tags and not self.unsettled:
            with contextlib.suppress(ConnectionError):
                await self._presence.leave()

    async def _rest(self) -> None:
        """End the consumers, unless something is ready for them or on its way to them, which would go back out of order."""
        port = self._port
        if self._tags and port is not None and port.lost is None:
            # What was sent to the channel before the first answer has come before the second one.
            for _ in range(2):
                try:
                    with asking():
                        found = await looked(port.channel, self.queue)
                except Exception as error:
                    port.lose(ConnectionError(str(error)))
                    return
                if found is None or found.ready or port.arrivals.tags:
                    return
        await self._pause()

    async def _exhausted(self) -> bool:
        """Whether nothing waits, is delayed, or is held by others. While it looks, it consumes nothing."""
        assert self._presence is not None
        try:
            empty = await self._presence.empty()
            await self._work(self._rest())
            while empty and not self._tags and self._closing is None:
                if self._port is None or self._port.lost is not None or self._port.arrivals.tags or self._held.returned:
                    break
                rest = await self._presence.rest(bool(self.unsettled), self._held.mark, self._parking.back)
                if rest != "elsewhere":
                    return rest == "none" and not self._port.arrivals.tags
                await self._change(PATIENCE)
        except ConnectionError:
            pass
        return False
