"""A durable queue, as a source and a sink."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

from warren.connectors.records import part, records
from warren.connectors.sqlite.store import Seat, Store, Synchronous, Wait
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, PartialWriteError
from warren.core.graph import Inlet, Outlet
from warren.core.message import Batch, Outgoing
from warren.core.place import Place

__all__ = ["Queue"]

T = TypeVar("T")


class Queue(Inlet[T], Outlet[T]):
    """A durable queue in a SQLite file: a source on the left of ``|``, a sink on its right.

    Delivery: at least once, through crashes and restarts. A write returns when the messages are on the disk. What a
    worker received and did not acknowledge comes back, in its old place before newer messages: at once when the worker
    closes, or is killed on this machine; after ``lease`` when it hangs. Messages delivered more often than
    ``max_deliveries`` are dead-lettered by the pipeline.

    Raises `StorageError` for a file, folder or disk that cannot be read or written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        queue: str,
        type: Any = None,
        *,
        key: Callable[[T], str | None] | None = None,
        headers: Callable[[T], Mapping[str, str]] | None = None,
        synchronous: Synchronous = "full",
        lease: Duration = "30s",
        max_deliveries: int | None = 20,
    ) -> None:
        if synchronous not in ("full", "normal"):
            raise GraphError(f"sqlite.queue: synchronous={synchronous!r} is neither 'full' nor 'normal'; choose one")
        if seconds(lease) < 1:
            raise GraphError(f"sqlite.queue: lease={lease!r} is under a second, so a busy worker would lose its messages")
        self.path = os.fspath(path)
        self.queue = queue
        self.type = type
        self.key = key
        self.headers = headers
        self.synchronous: Synchronous = synchronous
        self.lease = lease
        self.max_deliveries = max_deliveries

    @property
    def name(self) -> str:
        """Where it is kept, in short."""
        return f"sqlite:{self.queue}"

    def place(self) -> Place:
        """The queue and its file, for documents."""
        return Place(self.queue, "sqlite", (self.path,))

    async def open(self, *, until_empty: bool = False) -> _Connection:
        """Connect, to receive, to write, or both; the file and the queue are made where there are none."""
        store = Store.acquire(self.path, self.synchronous, seconds(self.lease))
        try:
            number = await store.call(lambda tables: tables.queue(self.queue))
        except BaseException:
            await store.release()
            raise
        return _Connection(self, store, number, until_empty)

    def dead_letters(self, queue: str) -> Queue[Any]:
        """A queue of that name in the same file."""
        return Queue(self.path, queue, synchronous=self.synchronous, lease=self.lease)


class _Connection:
    def __init__(self, queue: Queue[Any], store: Store, number: int, until_empty: bool) -> None:
        self._queue = queue
        self._store = store
        self._number = number
        self._until_empty = until_empty
        self._seat = Seat(number)
        self._wait: Wait | None = None
        self._left: Batch | None = None
        self._closing: asyncio.Future[None] | None = None

    async def receive(self, limit: int) -> Batch | None:
        while self._closing is None:
            if self._left is not None:
                batch, self._left = self._left, None
                if len(batch) > limit:
                    self._left = part(batch, slice(limit, None))
                    batch = part(batch, slice(limit))
                return batch
            resumed = self._wait is not None
            wait = self._wait = self._wait or self._store.wait(self._seat, limit, self._until_empty)
            try:
                # A cancelled receive must not lose what the thread is just handing over.
                claim = await asyncio.shield(wait.future)
            except asyncio.CancelledError:
                self._store.revoke(wait)
                raise
            except Exception:
                self._wait = None
                raise
            self._wait = None
            self._left = claim.batch
            if claim.empty and not resumed:
                return None
        return None

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        positions, owner = _positions(handles), self._seat.owner
        if positions and owner is not None:
            await self._store.call(lambda tables: tables.settle(self._number, owner, positions))

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        positions, owner = _positions(handles), self._seat.owner
        if positions and owner is not None:
            visible = time.time() + delay if delay > 0 else 0.0
            await self._store.call(lambda tables: tables.give_back(self._number, owner, positions, visible, attempts))

    async def write(self, messages: Outgoing) -> None:
        rows, errors = records(messages, self._queue.key, self._queue.headers)
        if rows.bodies:
            await self._store.publish(self._number, rows)
        if errors:
            raise PartialWriteError(errors)

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            if self._wait is not None:
                self._store.revoke(self._wait)
                with contextlib.suppress(Exception):
                    await asyncio.shield(self._wait.future)
            if self._seat.owner is not None:
                await self._store.leave(self._seat)
        finally:
            await self._store.release()


def _positions(handles: Sequence[Hashable]) -> Sequence[int]:
    if isinstance(handles, range):
        return handles
    return [handle for handle in handles if isinstance(handle, int)]
