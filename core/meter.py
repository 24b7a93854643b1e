"""How busy the workers of a stage are, told to those observers that ask for it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence, Sized
from typing import TYPE_CHECKING, TypeVar

from warren.core.hooks import Work, WorkObserver

if TYPE_CHECKING:
    from warren.core.stage import Run

__all__ = ["Meter", "metered"]

T = TypeVar("T")
S = TypeVar("S", bound=Sized)

_EVERY = 0.25
"""Seconds after which what happened is told, with the next thing that happens."""


def metered(run: Run, stage: str, workers: int) -> Meter:
    """A meter for the workers of a stage."""
    observers = [observer for observer in run.observers if isinstance(observer, WorkObserver)]
    return _Metered(run, stage, workers, observers) if observers else _NOBODY


class Meter:
    """What a stage says of its workers; this one tells nobody."""

    __slots__ = ()

    told = False
    """Whether anybody wants to know, for what is so short that it is not even to call this."""

    def queue(self, count: int) -> None:
        """Messages wait for a worker."""

    def begin(self, count: int = 1) -> float:
        """A worker begins a call with messages that waited; returns what `end` takes."""
        return 0.0

    def end(self, began: float, count: int = 1, *, timed: bool = True) -> None:
        """The call is over; ``timed`` says that it was at work for all of the time."""

    def calling(self, count: int, call: Awaitable[T]) -> Awaitable[T]:
        """A call with so many messages, from its beginning to its end."""
        return call

    def reading(self, receiving: Awaitable[S | None]) -> Awaitable[S | None]:
        """The wait for messages of a source."""
        return receiving

    def blocking(self, changed: Awaitable[T]) -> Awaitable[T]:
        """The wait of a source for credit."""
        return changed


_NOBODY = Meter()


class _Metered(Meter):
    """Adds up what happens between one telling and the next."""

    __slots__ = (
        *("_active", "_at", "_blocked", "_busy", "_clock", "_here", "_observers", "_served", "_service", "_since", "_stage"),
        *("_stayed", "_waiting", "_workers"),
    )

    told = True

    def __init__(self, run: Run, stage: str, workers: int, observers: Sequence[WorkObserver]) -> None:
        self._clock = run.clock
        self._stage = stage
        self._workers = workers
        self._observers = observers
        self._active = self._waiting = self._here = self._served = 0
        self._busy = self._stayed = 0.0
        self._service: float | None = None
        self._blocked: float | None = None
        self._since = self._at = run.clock()
        run.on_close(self._close)

    def queue(self, count: int) -> None:
        self._tick()
        self._waiting += count
        self._here += count

    def begin(self, count: int = 1) -> float:
        now = self._tick()
        self._active += 1
        self._waiting -= count
        return now

    def end(self, began: float, count: int = 1, *, timed: bool = True) -> None:
        now = self._tick()
        self._active -= 1
        self._here -= count
        self._served += count
        if timed:
            self._service = (now - began) / count

    async def calling(self, count: int, call: Awaitable[T]) -> T:
        began = self.begin(count)
        try:
            return await call
        finally:
            self.end(began, count)

    async def reading(self, receiving: Awaitable[S | None]) -> S | None:
        self._tick()
        self._blocked = self._blocked or 0.0
        self._active += 1
        came: S | None = None
        try:
            came = await receiving
            return came
        finally:
            now = self._tick()
            self._active -= 1
            if came is None:
                # It has ended: what comes from here on is no wait for messages.
                self._tell(now)
            else:
                self._served += len(came)

    async def blocking(self, changed: Awaitable[T]) -> T:
        began = self._tick()
        try:
            return await changed
        finally:
            self._blocked = (self._blocked or 0.0) + self._clock() - began
            self._tick()

    def _tick(self) -> float:
        """Count the time that has passed, and tell what happened where that is due; returns the time."""
        now = self._clock()
        passed = now - self._at
        self._at = now
        if passed > 0:
            # More calls than workers: a pool is given some ahead.
            self._busy += passed * min(self._active, self._workers)
            self._stayed += passed * self._here
        if not 0 <= now - self._since < _EVERY:
            self._tell(now)
        return now

    def _tell(self, now: float) -> None:
        start, self._since = self._since, now
        # Nothing happened, or the clock was turned back.
        if start > now or not (self._served or self._here or self._busy or self._blocked):
            return
        work = Work(self._workers, self._waiting, self._served, self._busy, self._stayed, self._service, self._blocked)
        self._served, self._busy, self._stayed, self._service = 0, 0.0, 0.0, None
        self._blocked = None if self._blocked is None else 0.0
        for observer in self._observers:
            observer.worked(self._stage, work, start, now)

    def _close(self) -> None:
        self._tell(self._tick())
