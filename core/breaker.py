"""A circuit breaker: after failures in a row, attempts stop for a while; then one is let through to find out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Literal

__all__ = ["Breaker", "State", "Switch"]

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Counts failures in a row and says when the next attempt may be made; ``clock`` tells seconds.

    ``on_change`` is told each new state. While it is open, `attempt` marks the one attempt that decides. Failures longer ago
    than ``window`` count no more.

    >>> now = 0.0
    >>> breaker = Breaker(failures=2, cooldown=10, clock=lambda: now)
    >>> breaker.failed(); breaker.state, breaker.wait
    ('closed', 0.0)
    >>> breaker.failed(); breaker.state, breaker.wait
    ('open', 10.0)
    >>> now = 10.0; breaker.attempt(); breaker.state, breaker.wait
    ('half-open', 0.0)
    >>> breaker.succeeded(); breaker.state
    'closed'
    """

    def __init__(
        self,
        failures: int,
        cooldown: float,
        clock: Callable[[], float],
        on_change: Callable[[State], None] = lambda state: None,
        window: float = inf,
    ) -> None:
        self.failures = failures
        self.cooldown = cooldown
        self.clock = clock
        self.on_change = on_change
        self.window = window
        self._failed: deque[float] = deque(maxlen=failures)
        self._opened: float | None = None

    @property
    def state(self) -> State:
        """``closed`` while attempts go through, ``open`` while none may be made, ``half-open`` when the next one decides."""
        if self._opened is None:
            return "closed"
        return "open" if self.wait else "half-open"

    @property
    def wait(self) -> float:
        """Seconds until an attempt may be made."""
        return 0.0 if self._opened is None else max(0.0, self._opened + self.cooldown - self.clock())

    def attempt(self) -> None:
        """An attempt begins."""
        if self._opened is not None:
            self.on_change("half-open")

    def succeeded(self) -> None:
        """An attempt went well: close."""
        was_open, self._opened = self._opened is not None, None
        self._failed.clear()
        if was_open:
            self.on_change("closed")

    def failed(self) -> None:
        """An attempt failed: open after too many in a row, or at once where it was the one that decides."""
        now = self.clock()
        self._failed.append(now)
        too_many = len(self._failed) == self.failures and now - self._failed[0] <= self.window
        if too_many or self._opened is not None:
            self._opened = now
            self.on_change("open")


class Switch:
    """Opens circuits by hand: while it is open no call is made, whatever calls did before.

    Turn it on the pipeline's thread, as its observers are told.

    >>> switch = Switch()
    >>> switch.open = True
    """

    def __init__(self) -> None:
        self._open = False
        self._watching: list[Callable[[], None]] = []

    @property
    def open(self) -> bool:
        """Whether circuits are open."""
        return self._open

    @open.setter  # noqa: A003 - it is the property itself that is meant
    def open(self, on: bool) -> None:
        changed, self._open = on != self._open, on
        if changed:
            for changes in list(self._watching):
                changes()

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call this whenever it is turned; what comes back ends that."""
        self._watching.append(changed)
        return lambda: self._watching.remove(changed)
