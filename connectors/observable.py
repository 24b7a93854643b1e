"""An Observable of reactivex as a source. The other way, a pipeline as an Observable, is `warren.observe`."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any, Literal, TypeVar, overload

from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler

from warren.connectors.memory.broker import Broker, Queue
from warren.connectors.memory.items import Handing
from warren.core.errors import ConnectorError, GraphError, shorten
from warren.core.graph import Inlet
from warren.core.health import PATIENCE, Health, QueueHealth

__all__ = ["Emissions", "Overflow", "source"]

T = TypeVar("T")

Overflow = Literal["error", "drop"]
"""What becomes of a value that finds the buffer full: the source ends with an error, or the value is dropped and counted."""


@overload
def source(
    observable: Observable[T], type: None = None, *, buffer: int = ..., overflow: Overflow = ..., broker: Broker | None = ...
) -> Emissions[T]: ...
@overload
def source(
    observable: Observable[bytes],
    type: type[T],
    *,
    buffer: int = ...,
    overflow: Overflow = ...,
    broker: Broker | None = ...,
) -> Emissions[T]: ...
@overload
def source(
    observable: Observable[bytes], type: Any, *, buffer: int = ..., overflow: Overflow = ..., broker: Broker | None = ...
) -> Emissions[Any]: ...
def source(
    observable: Observable[Any],
    type: Any = None,
    *,
    buffer: int = 1024,
    overflow: Overflow = "error",
    broker: Broker | None = None,
) -> Emissions[Any]:
    """The values of an Observable as a source: as they are, or, with ``type``, bytes to decode to it.

    Delivery: at most once. An Observable cannot take back what it emitted, so a value that was not settled when the run
    ends, by a stop, an error or a crash, is gone. While the run lasts nothing is lost but what ``overflow`` drops.

    Each run subscribes anew; timers of the Observable run on the pipeline's event loop, and it may emit in any thread. It
    cannot be asked to wait either: while the pipeline has no credit, up to ``buffer`` values wait. The next one ends the
    source with a `ConnectorError`, or with ``overflow="drop"`` is dropped, and counted in ``dropped`` and the pipeline's
    health. Dead letters go to ``broker``.

    The source ends when the Observable completes. With an error, also that of a full buffer, the pipeline ends with that
    error once everything that came before is settled.

    Raises `GraphError` for what is no Observable, a buffer below 1, and an unknown ``overflow``.

    >>> import reactivex
    >>> from warren import Pipeline
    >>> from warren.connectors import memory, observable
    >>> out = []
    >>> Pipeline("numbers", observable.source(reactivex.of(1, 2, 3)) | memory.into(out)).run()
    >>> out
    [1, 2, 3]
    """
    if not isinstance(observable, abc.ObservableBase):
        raise GraphError(
            f"observable.source({shorten(observable)}): give an Observable of reactivex, such as reactivex.of(1)"
        )
    if not isinstance(buffer, int) or isinstance(buffer, bool) or buffer < 1:
        raise GraphError(f"observable.source(buffer={buffer!r}): buffer must be a whole number of at least 1")
    if overflow not in ("error", "drop"):
        raise GraphError(f"observable.source(overflow={overflow!r}): overflow must be 'error' or 'drop'")
    return Emissions(observable, type, buffer, overflow, broker)


class Emissions(Inlet[T]):
    """What an Observable emits, as a source; made by `source`, which says what it guarantees."""

    def __init__(
        self, observable: Observable[Any], type: Any, buffer: int, overflow: Overflow, broker: Broker | None
    ) -> None:
        self.observable = observable
        self.type = type
        self.buffer = buffer
        self.overflow = overflow
        self.broker = broker
        self.dropped = 0
        """How many values found the buffer full and were dropped, in all runs."""

    @property
    def name(self) -> str:
        """What it is."""
        return "observable"

    @property
    def guarantee(self) -> str:
        """What is lost of it."""
        return "at most once: what is not settled when the run ends is gone"

    def note(self, credit: int) -> str:
        """Its buffer."""
        full = "an error" if self.overflow == "error" else "values are dropped"
        return f"up to {self.buffer:,} values wait, then {full}"

    async def open(self, *, until_empty: bool = False) -> _EmissionsConnection:
        """Subscribe."""
        connection = _EmissionsConnection(self, until_empty)
        connection.subscribe()
        if until_empty:
            # What an Observable has at hand, it emits at once, in the next turn of the loop.
            await asyncio.sleep(0)
        return connection

    def dead_letters(self, queue: str) -> Queue[Any]:
        """A queue of that name in memory."""
        return Queue(queue, broker=self.broker)


class _EmissionsConnection(Handing):
    """A subscription, and the values that came and were not yet asked for."""

    def __init__(self, inlet: Emissions[Any], until_empty: bool) -> None:
        super().__init__()
        self.inlet = inlet
        self.until_empty = until_empty
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.waiting: deque[Any] = deque()
        self.over = False
        self.error: Exception | None = None
        self.dropped = 0
        self.subscription = SingleAssignmentDisposable()

    def subscribe(self) -> None:
        self.subscription.disposable = self.inlet.observable.subscribe(
            self.on_next, self.on_error, self.on_completed, scheduler=AsyncIOThreadSafeScheduler(self.loop)
        )

    def on_next(self, value: Any) -> None:
        if self.over or self._closed:
            return
        inlet = self.inlet
        if len(self.waiting) < inlet.buffer:
            self.waiting.append(value)
            self.look()
        elif inlet.overflow == "drop":
            self.dropped += 1
            inlet.dropped += 1
        else:
            self.on_error(
                ConnectorError(
                    f"observable: a value came while {inlet.buffer:,} waited for the pipeline, which is slower: "
                    f"{shorten(value)}; raise buffer=..., drop values with overflow='drop', or thin them out before"
                )
            )
            self.subscription.dispose()

    def on_error(self, error: Any) -> None:
        # Any object may be given as an error, and not all can be raised.
        self.error = error if isinstance(error, Exception) else ConnectorError(f"observable: it ended with {shorten(error)}")
        self.on_completed()

    def on_completed(self) -> None:
        self.over = True
        self.look()

    def look(self) -> None:
        """Have `receive` look again, in the thread of its loop."""
        if threading.get_ident() == self.thread:
            self.notify()
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.notify)

    def fresh(self, limit: int) -> list[Any]:
        return [self.waiting.popleft() for _ in range(min(limit, len(self.waiting)))]

    @property
    def ended(self) -> bool:
        return self.over or self.until_empty

    @property
    def depth(self) -> int | None:
        return len(self.waiting)

    async def health(self, patience: float = PATIENCE) -> Health:
        name = self.inlet.name
        reasons = (f"{self.dropped:,} values were dropped",) if self.dropped else ()
        return Health(name=name, reasons=reasons, queues=(QueueHealth(name=name, depth=len(self.waiting)),))

    async def close(self) -> None:
        self.subscription.dispose()
        await super().close()
        error, self.error = self.error, None
        if error is not None:
            # Not sooner, as the pipeline would stop at once; now everything that came before is settled.
            raise error
