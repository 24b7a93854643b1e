"""Sources, queues, sinks and state in memory: for tests, data at hand, and pipelines that need not outlive the process.

Time is the running event loop's, so delays take no real time under a virtual one. Nothing here starts a thread; a broker
belongs to one event loop at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

from warren.connectors.memory.broker import Broker, Queue
from warren.connectors.memory.items import Items
from warren.connectors.memory.state import State
from warren.core.graph import Outlet
from warren.core.message import Outgoing

__all__ = ["Broker", "Items", "Queue", "State", "into", "items", "queue", "state"]

T = TypeVar("T")


@overload
def queue(
    name: str,
    type: None = None,
    *,
    broker: Broker | None = None,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
) -> Queue[Any]: ...
@overload
def queue(
    name: str,
    type: type[T],
    *,
    broker: Broker | None = None,
    key: Callable[[T], str | None] | None = None,
    headers: Callable[[T], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
) -> Queue[T]: ...
@overload
def queue(
    name: str,
    type: Any,
    *,
    broker: Broker | None = None,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
) -> Queue[Any]: ...
def queue(
    name: str,
    type: Any = None,
    *,
    broker: Broker | None = None,
    key: Callable[[Any], str | None] | None = None,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    max_deliveries: int | None = 20,
) -> Queue[Any]:
    """A queue in memory; a source and a sink in one. See `Queue` for what it guarantees.

    ``type`` is what bodies are decoded to when it is read; without one they stay bytes. ``key`` and ``headers`` compute
    from a value what is written beside it, where its metadata does not say. Queues of one name in one ``broker`` (the
    process's own unless given) are one queue.

    >>> queue("orders", dict)
    memory:orders
    """
    return Queue(name, type, broker=broker, key=key, headers=headers, max_deliveries=max_deliveries)


@overload
def items(values: Iterable[T], type: None = None, *, broker: Broker | None = None) -> Items[T]: ...
@overload
def items(values: Iterable[bytes], type: type[T], *, broker: Broker | None = None) -> Items[T]: ...
@overload
def items(values: Iterable[bytes], type: Any, *, broker: Broker | None = None) -> Items[Any]: ...
def items(values: Iterable[Any], type: Any = None, *, broker: Broker | None = None) -> Items[Any]:
    """The values of an iterable as a source: as they are, or, with ``type``, bytes to decode to it.

    They are read as the pipeline asks for them, so an endless generator is fine. Each opening starts at the first value
    again, except of an iterator, which can be read once. Dead letters go to ``broker``.

    >>> import asyncio
    >>> async def first():
    ...     connection = await items("abc").open()
    ...     return await connection.receive(2)
    >>> asyncio.run(first()).bodies
    ['a', 'b']
    """
    return Items(values, type, broker=broker)


class _Into(Outlet[T]):
    def __init__(self, values: list[T]) -> None:
        self.values = values

    @property
    def name(self) -> str:
        return "memory.into"

    async def open(self) -> _Into[T]:
        return self

    async def write(self, messages: Outgoing) -> None:
        self.values.extend(messages.values)

    async def close(self) -> None:
        pass


def into(values: list[T]) -> Outlet[T]:
    """A sink that appends the values themselves to a list.

    >>> import asyncio
    >>> seen: list[int] = []
    >>> async def write():
    ...     await (await into(seen).open()).write(Outgoing([1, 2]))
    >>> asyncio.run(write()); seen
    [1, 2]
    """
    return _Into(values)


def state() -> State:
    """State in memory: ``Pipeline(state=...)`` keeps in it what its steps remember, from one run to the next.

    >>> from warren import Pipeline
    >>> from warren.operators import scan
    >>> kept, totals = state(), []
    >>> for amount in (5, 2):
    ...     Pipeline("p", items([amount]) | scan(lambda a, b: a + b, 0) | into(totals), state=kept).run()
    >>> totals
    [5, 7]
    """
    return State()
