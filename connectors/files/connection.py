"""An open file or folder, to read from and to write to."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Generator, Hashable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, overload

from warren.connectors.files.paths import beside
from warren.connectors.memory.waiting import wait, wake
from warren.core.errors import PartialWriteError
from warren.core.graph import Inlet, Outlet
from warren.core.message import Batch, Outgoing
from warren.core.place import Place

__all__ = ["Connection", "Files", "Slice", "Writer"]

T = TypeVar("T")

_Held: TypeAlias = "tuple[Any, str, int, int, int]"
"""A body, its file and number, how often it was tried, and how often handed out."""


class Slice(NamedTuple):
    """Neighbouring messages of one file, and the number of the line or row of each, from 1."""

    bodies: Sequence[Any]
    file: str
    numbers: Sequence[int]


class Writer(Protocol):
    """Writes to one open file or folder, in a thread."""

    def write(self, messages: Outgoing) -> dict[int, Exception]:
        """Write what can be written, durably; return why the rest cannot, by position."""
        ...

    def close(self) -> None:
        """Close."""


class Files(Inlet[T], Outlet[T]):
    """What the formats have in common; made by `jsonl`, `csv` and `parquet`."""

    bounded = True

    content_type = ""
    keeps_metadata = False

    def __init__(self, path: str, type: Any) -> None:
        self.path = path
        self.type = type

    @property
    def name(self) -> str:
        """The format and the path."""
        return f"{self.__class__.__name__.lower()}:{self.path}"

    def place(self) -> Place:
        """The file or the folder, for documents."""
        return Place(self.path, "file", ("localhost",))

    async def open(self, *, until_empty: bool = False) -> Connection:
        """Open, to read, to write, or both; the files themselves are touched on the first `receive` or `write`."""
        return Connection(self)

    def read(self) -> Generator[Slice]:
        """Everything in the files, in slices of bounded size."""
        raise NotImplementedError

    def writer(self) -> Writer:
        """Open for writing."""
        raise NotImplementedError

    def dead_letters(self, queue: str) -> Outlet[Any]:
        """A JSON Lines file ``QUEUE.jsonl``, one record with the reason and the body for each message.

        It stands beside the input; for a folder or a pattern in the subfolder ``dead-letters``, where no later run reads it.
        """
        from warren.connectors.files.jsonl import Letters

        return Letters(str(beside(self.path) / f"{queue.replace('/', '_')}.jsonl"))


class _Ids(Sequence[str]):
    """The names of messages, such as ``orders.jsonl:12``, put together when asked for."""

    def __init__(self, file: str, numbers: Sequence[int]) -> None:
        self._file = file
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> _Ids: ...
    def __getitem__(self, index: int | slice) -> str | _Ids:
        if isinstance(index, slice):
            return _Ids(self._file, self._numbers[index])
        return f"{self._file}:{self._numbers[index]}"


class Connection:
    """Reads slices ahead in a thread and keeps what it handed out until it is settled; writes in a thread."""

    def __init__(self, files: Files[Any]) -> None:
        self._files = files
        self._slices: Generator[Slice] | None = None
        self._slice: Slice | None = None
        self._at = 0
        self._next = 0
        self._reading: asyncio.Future[Slice | None] | None = None
        self._ended = False
        self._failed: Exception | None = None
        self._held: dict[int, _Held] = {}
        self._back: list[tuple[float, int, _Held]] = []
        self._changed: set[asyncio.Future[None]] = set()
        self._writer: Writer | None = None
        self._writing: asyncio.Future[Any] | None = None
        self._closed = False

    async def receive(self, limit: int) -> Batch | None:
        loop = asyncio.get_running_loop()
        while not self._closed:
            if self._back and self._back[0][0] <= loop.time():
                return self._again(limit, loop.time())
            if self._slice is None and not self._ended:
                await self._read()
                continue
            if self._slice is not None:
                return self._fresh(self._slice, limit)
            if not self._back:
                return None
            await wait(self._changed, self._back[0][0])
        return None

    async def _read(self) -> None:
        if self._failed is not None:
            raise self._failed
        if self._reading is None:
            self._reading = asyncio.ensure_future(asyncio.to_thread(self._read_next))
        # A cancelled caller leaves the reading to go on; the next call takes its result.
        await asyncio.wait((self._reading,))
        reading, self._reading = self._reading, None
        try:
            self._slice, self._at = reading.result(), 0
        except Exception as error:
            # The rest of the files is unknown; to say that they have ended would lose it.
            self._failed = error
            raise
        self._ended = self._slice is None

    def _read_next(self) -> Slice | None:
        if self._slices is None:
            self._slices = self._files.read()
        return next(self._slices, None)

    def _fresh(self, slice: Slice, limit: int) -> Batch:
        start, end = self._at, min(self._at + limit, len(slice.bodies))
        bodies = slice.bodies[start:end]
        handles = range(self._next, self._next + end - start)
        numbers = slice.numbers[start:end]
        self._held.update(
            (handle, (body, slice.file, number, 1, 1)) for handle, body, number in zip(handles, bodies, numbers, strict=True)
        )
        self._next, self._at = handles.stop, end
        if end == len(slice.bodies):
            self._slice = None
        return Batch(bodies, handles, self._files.content_type, _Ids(slice.file, numbers))

    def _again(self, limit: int, now: float) -> Batch:
        ready: list[tuple[int, _Held]] = []
        while self._back and self._back[0][0] <= now and len(ready) < limit:
            ready.append(heapq.heappop(self._back)[1:])
        self._held.update(ready)
        return Batch(
            bodies=[message[0] for _, message in ready],
            handles=[handle for handle, _ in ready],
            content_type=self._files.content_type,
            ids=[f"{file}:{number}" for _, (_, file, number, _, _) in ready],
            attempts=[message[3] for _, message in ready],
            deliveries=[message[4] for _, message in ready],
        )

    async def acknowledge(self, handles: Sequence[Hashable]) -> None:
        held: dict[Any, _Held] = self._held
        for handle in handles:
            held.pop(handle, None)

    async def release(self, handles: Sequence[Hashable], delay: float = 0.0, attempts: int | None = None) -> None:
        due = asyncio.get_running_loop().time() + delay if delay > 0 else 0.0
        for handle in handles:
            if isinstance(handle, int) and handle in self._held:
                body, file, number, tries, deliveries = self._held.pop(handle)
                tries = tries if attempts is None else attempts
                heapq.heappush(self._back, (due, handle, (body, file, number, tries, deliveries + 1)))
        self._wake()

    async def write(self, messages: Outgoing) -> None:
        # What is known of a message belongs to the event loop; it must not be asked for in the thread.
        known = [messages.metadata(i) for i in range(len(messages))] if self._files.keeps_metadata else []
        messages = Outgoing(messages.values, known.__getitem__ if known else None)
        await self._alone()
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._write, messages))
        errors = await asyncio.shield(self._writing)
        if errors:
            raise PartialWriteError(errors)

    async def _alone(self) -> None:
        """Wait for a write whose caller was cancelled: a thread cannot be."""
        if self._writing is not None and not self._writing.done():
            await asyncio.wait((self._writing,))

    def _write(self, messages: Outgoing) -> dict[int, Exception]:
        if self._writer is None:
            self._writer = self._files.writer()
        return self._writer.write(messages) if len(messages) else {}

    async def close(self) -> None:
        self._closed = True
        self._wake()
        await self._alone()
        if self._reading is not None:
            await asyncio.wait((self._reading,))
            # Nobody will ask for what it found, nor for what it raised.
            self._reading.exception()
            self._reading = None
        if self._slices is not None:
            self._slices.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _wake(self) -> None:
        changed, self._changed = self._changed, set()
        for future in changed:
            wake(future)
