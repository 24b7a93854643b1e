"""Faults of the ends of a pipeline: what comes late, twice or in another order, and connections that fail."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec

from warren.core.errors import PartialWriteError
from warren.core.graph import SinkConnection, SourceConnection
from warren.core.message import Batch, Outgoing
from warren.pipelines.given import Arrival
from warren.pipelines.trial import Ends
from warren.testing.which import Which

__all__ = ["Delayed", "Dropped", "Duplicated", "Failed", "Refused", "Reordered"]


class _Fault(Ends):
    """One fault; the seed and the name of the end decide what befalls it, the same in every trial."""

    def __init__(self, seed: str) -> None:
        self.seed = seed

    def chooser(self, which: Which, name: str) -> Callable[[], bool]:
        return which.chooser(f"{self.seed}:{name}")


class Delayed(_Fault):
    """Some messages come later."""

    def __init__(self, seed: str, by: float, which: Which) -> None:
        super().__init__(seed)
        self.by = by
        self.which = which

    def arrivals(self, source: str, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        chosen = self.chooser(self.which, source)
        return [msgspec.structs.replace(each, at=each.at + self.by) if chosen() else each for each in arrivals]


class Duplicated(_Fault):
    """Some messages come twice, under one id."""

    def __init__(self, seed: str, after: float, which: Which) -> None:
        super().__init__(seed)
        self.after = after
        self.which = which

    def arrivals(self, source: str, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        chosen = self.chooser(self.which, source)
        found: list[Arrival] = []
        for each in _named(arrivals):
            found.append(each)
            if chosen():
                found.append(msgspec.structs.replace(each, at=each.at + self.after))
        return found


class Reordered(_Fault):
    """Messages change places with others near them; the times at which one comes stay."""

    def __init__(self, seed: str, within: int) -> None:
        super().__init__(seed)
        self.within = within

    def arrivals(self, source: str, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        lot = random.Random(f"{self.seed}:{source}")
        coming = sorted(_named(arrivals), key=lambda each: each.at)
        # A message moves by less than ``within`` places, as each is sorted by its place and a lot.
        order = sorted(range(len(coming)), key=lambda place: place + lot.random() * self.within)
        return [msgspec.structs.replace(coming[i], at=slot.at) for i, slot in zip(order, coming, strict=True)]


def _named(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Messages that keep the id they have, or would have had by their place."""
    return [each if each.id else msgspec.structs.replace(each, id=str(i)) for i, each in enumerate(arrivals)]


class Dropped(_Fault):
    """The connection to the source is lost right after it has handed over some message."""

    def __init__(self, seed: str, which: Which) -> None:
        super().__init__(seed)
        self.which = which

    def source(self, name: str, connection: SourceConnection) -> SourceConnection:
        return _Dropping(connection, self.chooser(self.which, name))


class _Dropping:
    """Its handles carry how often the connection was lost, so that what is told of an older one means nothing."""

    def __init__(self, connection: SourceConnection, chosen: Callable[[], bool]) -> None:
        self.connection = connection
        self.chosen = chosen
        self.epoch = 0
        self.unsettled: dict[Hashable, None] = {}

    async def receive(self, limit: int) -> Batch | None:
        batch = await self.connection.receive(limit)
        if batch is None:
            return None
        handed = msgspec.structs.replace(batch, handles=[(self.epoch, handle) for handle in batch.handles])
        self.unsettled.update(dict.fromkeys(batch.handles))
        # Each message is asked about, so that the count is right.
        if sum(self.chosen() for _ in batch.handles):
            self.epoch += 1
            left, self.unsettled = list(self.unsettled), {}
            await self.connection.release(left)
        return handed

    def _current(self, handles: Sequence[Hashable]) -> list[Hashable]:
        pairs: Any = handles
        current = [handle for epoch, handle in pairs if epoch == self.epoch]
        for handle in current:
            self.unsettled.pop(handle, None)
        return current

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        await self.connection.acknowledge(self._current(handles))

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        await self.connection.release(self._current(handles), delay, attempts)

    async def close(self) -> None:
        await self.connection.close()


class _OfSink(_Fault):
    """A fault of the sink of that name, or of every sink; of dead letters only by name."""

    def __init__(self, seed: str, which: Which, sink: str | None, error: Callable[[], Exception]) -> None:
        super().__init__(seed)
        self.which = which
        self.name = sink
        self.error = error

    def sink(self, name: str, connection: SinkConnection, *, dead: bool) -> SinkConnection:
        here = not dead if self.name is None else name == self.name
        return self.around(connection, self.chooser(self.which, name)) if here else connection

    def around(self, connection: SinkConnection, chosen: Callable[[], bool]) -> SinkConnection:
        raise NotImplementedError


class Refused(_OfSink):
    """A sink refuses some messages, and writes the others."""

    def around(self, connection: SinkConnection, chosen: Callable[[], bool]) -> SinkConnection:
        return _Refusing(connection, chosen, self.error)


class _Refusing:
    def __init__(self, connection: SinkConnection, chosen: Callable[[], bool], error: Callable[[], Exception]) -> None:
        self.connection = connection
        self.chosen = chosen
        self.error = error

    async def write(self, messages: Outgoing) -> None:
        errors = {i: self.error() for i in range(len(messages)) if self.chosen()}
        left = [i for i in range(len(messages)) if i not in errors]
        if left:
            values: list[Any] = [messages.values[i] for i in left]
            try:
                await self.connection.write(Outgoing(values, lambda i: messages.metadata(left[i])))
            except PartialWriteError as partly:
                errors.update({left[i]: error for i, error in partly.errors.items()})
        if errors:
            raise PartialWriteError(errors)

    async def close(self) -> None:
        await self.connection.close()


class Failed(_OfSink):
    """Some writes fail, so that nothing is known to be written."""

    def __init__(self, seed: str, which: Which, sink: str | None, error: Callable[[], Exception], written: bool) -> None:
        super().__init__(seed, which, sink, error)
        self.written = written

    def around(self, connection: SinkConnection, chosen: Callable[[], bool]) -> SinkConnection:
        return _Failing(connection, chosen, self.error, self.written)


class _Failing:
    def __init__(
        self, connection: SinkConnection, chosen: Callable[[], bool], error: Callable[[], Exception], written: bool
    ) -> None:
        self.connection = connection
        self.chosen = chosen
        self.error = error
        self.written = written

    async def write(self, messages: Outgoing) -> None:
        fails = self.chosen()
        if not fails or self.written:
            await self.connection.write(messages)
        if fails:
            raise self.error()

    async def close(self) -> None:
        await self.connection.close()
