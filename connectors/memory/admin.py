"""The queues of a broker in memory, looked at and put in order by the process that has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from warren.connectors.memory.store import Message, Store, batch
from warren.core.admin import ERROR, SOURCE, Chosen, Pace, Replayed, restored
from warren.core.checkup import Finding
from warren.core.errors import TopologyError
from warren.core.health import QueueHealth
from warren.core.message import Batch
from warren.core.words import plural

if TYPE_CHECKING:
    from warren.connectors.memory.broker import Broker, Queue

__all__ = ["MemoryAdmin"]

_OURS = "memory:"
_AT_ONCE = 1000


class MemoryAdmin:
    """The queues of one broker; delayed messages count as waiting ones."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def queues(self) -> Sequence[QueueHealth]:
        """Every queue, by name."""
        return [await self.queue(name) for name in self.broker.queues]

    async def queue(self, name: str) -> QueueHealth:
        """One queue."""
        store = self._store(name)
        return QueueHealth(name=name, depth=store.depth, unacked=store.held)

    async def create(self, name: str) -> bool:
        """Make a queue; ``False`` where it was there already."""
        new = name not in self.broker.stores
        self.broker.store(name)
        return new

    async def delete(self, name: str) -> None:
        """Remove a queue with all that is in it; whoever has it open keeps what is left of it."""
        self._store(name)
        del self.broker.stores[name]

    async def purge(self, name: str) -> int:
        """Remove the messages that wait."""
        return await self.drop(name, lambda _: True)

    async def caution(self, name: str) -> str:
        """Nothing: a look leaves everything as it is."""
        self._store(name)
        return ""

    async def peek(self, name: str, ahead: int = _AT_ONCE) -> AsyncGenerator[Batch, None]:
        """The messages that wait, in their order."""
        for part in _parts(self._store(name).waiting(), ahead):
            yield batch(part)

    async def drop(self, name: str, chosen: Chosen) -> int:
        """Remove those of the waiting messages that are meant."""
        store = self._store(name)
        waiting = store.waiting()
        known = batch(waiting)
        return len(store.remove([message for i, message in enumerate(waiting) if chosen(known.metadata(i))]))

    async def replay(
        self,
        name: str,
        chosen: Chosen,
        *,
        limit: int | None = None,
        rate: float | None = None,
        progress: Callable[[Replayed], None] | None = None,
    ) -> Replayed:
        """Send letters back to their queues of this broker: each is in one of the two at any time."""
        store, left, pace, moved = self._store(name), Counter[str](), Pace(rate), 0
        for part in _parts(store.waiting(), pace.at_once(_AT_ONCE)):
            known, wanted = batch(part), dict[int, Store]()
            for i in range(len(part)):
                letter = known.metadata(i)
                came_from = letter.headers.get(SOURCE, "")
                target = self.broker.stores.get(came_from.removeprefix(_OURS))
                if not chosen(letter):
                    left["not chosen"] += 1
                elif ERROR not in letter.headers or not came_from:
                    left["it is no dead letter of a pipeline"] += 1
                elif not came_from.startswith(_OURS) or target is None:
                    left[f"it came from {came_from}, which is no queue of this process"] += 1
                elif limit is None or moved + len(wanted) < limit:
                    wanted[part[i].position] = target
            gone = store.remove([message for message in part if message.position in wanted])
            for message in gone:
                wanted[message.position].add([message.body], [restored(message.metadata)])
            moved += len(gone)
            if progress is not None:
                progress(Replayed(moved, left))
            if moved == limit:
                break
            if gone:
                await pace.keep(len(gone))
        return Replayed(moved, left)

    async def checkup(self, name: str = "") -> AsyncGenerator[Finding, None]:
        """Nothing can be wrong with it but that a queue is not there."""
        yield Finding(
            "memory", "ok", f"{plural(len(self.broker.queues), 'queue, which goes', 'queues, which go')} with this process"
        )
        if name and name not in self.broker.stores:
            yield Finding("queue", "problem", f"there is no queue {name!r} in this process", "check its name")

    def outlet(self, name: str) -> Queue[bytes]:
        """What writes to a queue."""
        from warren.connectors.memory.broker import Queue

        return Queue(name, broker=self.broker)

    def _store(self, name: str) -> Store:
        store = self.broker.stores.get(name)
        if store is None:
            names = ", ".join(map(repr, self.broker.queues)) or "none"
            raise TopologyError(f"there is no queue {name!r} in this process; there is {names}")
        return store


def _parts(messages: Sequence[Message], most: int) -> Iterable[Sequence[Message]]:
    return (messages[first : first + most] for first in range(0, len(messages), most))
