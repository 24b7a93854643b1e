"""One partition as its reader sees it: a queue that is left and entered again, and that may come to an end."""

from __future__ import annotations

import asyncio

from warren.connectors.rabbitmq import frames
from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.port import goodbye
from warren.connectors.rabbitmq.presence import Presence
from warren.connectors.rabbitmq.source import RabbitSource
from warren.connectors.rabbitmq.topology import QueueDeclaration
from warren.core.message import Batch

__all__ = ["END", "Member"]

END = "warren-partition-end"
"""The header of the message behind which nothing follows in a partition."""
_MARK = END.encode()
_NOTHING = Batch((), ())


class _NothingHere(Exception):
    """It would have to be waited for."""


class Member(RabbitSource):
    """A source of one partition.

    With a single active consumer the broker sends everything to the one that registered first; the others stand by.
    """

    def __init__(
        self, broker: Broker, declaration: QueueDeclaration, partition: int, *, until_empty: bool, credit: int | None
    ) -> None:
        super().__init__(broker, declaration, until_empty=until_empty, credit=credit)
        self.partition = partition
        self.end: int | None = None
        """The handle of the end marker, once it has come."""
        self.leaving_since: float | None = None
        """Since when nothing is handed out, so that another worker can take over."""
        self.active_since: float | None = None
        """When the first message came since it registered; ``None`` where another worker may have this partition."""
        self._looking = self._hurried = False
        self._witness = self._presence or Presence(self.link, self.queue)

    @property
    def ready(self) -> bool:
        """Whether there is something to hand out now."""
        port = self._port
        came = port is not None and port.lost is None and bool(port.arrivals.tags)
        return self.leaving_since is None and (came or bool(self._held.returned))

    @property
    def settled_all(self) -> bool:
        """Whether everything that was handed out is settled; the end marker is not handed out."""
        return self.unsettled == (self.end is not None)

    async def arrival(self, limit: int) -> bool:
        """Wait until there is something to hand out; false where nothing is left, or it is closed."""
        self._looking = True
        try:
            return await self.receive(limit) is not None
        finally:
            self._looking = False

    async def take(self, limit: int) -> Batch | None:
        """What is at hand, without waiting for more."""
        self._hurried = True
        try:
            return await self.receive(limit)
        except _NothingHere:
            return None
        finally:
            self._hurried = False

    async def _change(self, patience: float | None) -> bool:
        if self._hurried:
            raise _NothingHere
        return await super()._change(patience)

    def _hand_out(self, limit: int) -> Batch:
        if self._looking:
            return _NOTHING
        if self._held.returned:
            return super()._hand_out(limit)
        assert self._port is not None
        if self.active_since is None:
            self.active_since = asyncio.get_running_loop().time()
        heads = self._port.arrivals.heads[:limit]
        if _MARK not in b"\0".join(heads):
            return super()._hand_out(limit)
        before = next((i for i, head in enumerate(heads) if is_end(head)), limit)
        if before:
            return super()._hand_out(before)
        given = super()._hand_out(1)
        (self.end,) = given.handles  # type: ignore[assignment]  # they are numbers here
        return given

    async def leave(self) -> None:
        """Go to the end of the line of those who want this partition: what was fetched and not handed out goes back."""
        self.leaving_since = None
        port = self._port
        if port is not None and port.lost is None:
            await self._tell(port, self._hurry())
            await goodbye(self._flush(port))
            await port.close("another worker takes over")
            self._port = None
            self._forget()
        if self.credit is not None:
            await self._consume(self.credit)

    async def drained(self) -> bool:
        """Whether nothing is left, delayed messages included, when all that was handed out is settled."""
        try:
            while (rest := await self._witness.rest(True, self._held.mark, self._parking.back)) == "unsure":
                pass
        except ConnectionError:
            return False
        return rest == "none" and not self.unread and self.end is not None

    def _forget(self) -> None:
        super()._forget()
        self.end = self.active_since = None

    async def _close(self) -> None:
        try:
            await self._witness.close()
        finally:
            await super()._close()


def is_end(head: bytes) -> bool:
    """Whether encoded properties are those of an end marker.

    >>> is_end(frames.properties("", frames.table({END: "1"}), True, b"1", 0))
    True
    """
    if _MARK not in head:
        return False
    try:
        return END in frames.read_table(frames.read_properties(head).headers)
    except ValueError:
        return False
