"""`budget`: a limit on how many of all messages `retry` tries again."""

from __future__ import annotations

from collections import deque
from math import inf

from warren.core.clock import Clock, Duration
from warren.core.errors import GraphError
from warren.operators.holding import period

__all__ = ["Account", "Budget", "budget"]

_SLICES = 10


class Budget:
    """Made by `budget`."""

    def __init__(self, ratio: float, minimum: float, window: float) -> None:
        self.ratio = ratio
        self.minimum = minimum
        self.window = window

    def __repr__(self) -> str:
        return f"budget({self.ratio:g}, minimum={self.minimum:g})"


def budget(ratio: float = 0.1, *, minimum: float = 10, window: Duration = "10s") -> Budget:
    """Let `retry` try again no more than the share ``ratio`` of all messages, and ``minimum`` a second on top of that.

    Where a service is down, every message fails, and trying all of them again multiplies the load that it cannot bear. A
    budget leaves the few retries that help against single failures, and stops the storm ("Handling Overload" in
    "Site Reliability Engineering", Google, 2016; ``RetryBudget`` in Finagle). What came and what was tried again is counted
    over the last ``window``, in each running pipeline by itself; a message that comes back from where it was parked counts
    as another one.

    Keeps the delivery guarantee: what is not tried again goes on as a failure with `RetryBudgetError`, which says what it
    failed with, to the next `retry` or the dead letters.

    Raises `GraphError` where ``ratio`` or ``minimum`` is no number from 0, or ``window`` not above zero.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import constant, map, retry
    >>> def broken(value: int) -> None:
    ...     raise ConnectionError("down")
    >>> once = retry(constant("1s"), budget=budget(0.5, minimum=0))
    >>> result = Pipeline("asked", memory.items([]) | map(broken) | once | memory.into([])).test(range(10))
    >>> sorted(letter.metadata.headers["warren-attempts"] for letter in result.dead_letters["asked.dead"])
    ['1', '1', '1', '1', '1', '2', '2', '2', '2', '2']
    """
    for value, name, usual in ((ratio, "ratio", 0.1), (minimum, "minimum", 10)):
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < inf:
            raise GraphError(f"budget({name}={value!r}): {name} must be a number from 0, such as {usual}")
    return Budget(ratio, minimum, period(window, "budget(window=...)"))


class Account:
    """What of a budget is spent, in one running pipeline; the window is cut into slices that are forgotten one by one."""

    def __init__(self, budget: Budget, clock: Clock) -> None:
        self.budget = budget
        self.clock = clock
        self.messages = 0
        self.retries = 0
        self._slices: deque[list[int]] = deque([[0, 0, 0]])

    def _slice(self) -> list[int]:
        slices = self._slices
        # The system's clock may be set back; what was counted is forgotten no sooner for that.
        now = max(slices[-1][0], int(self.clock() / self.budget.window * _SLICES))
        if now > slices[-1][0]:
            slices.append([now, 0, 0])
            while slices[0][0] <= now - _SLICES:
                _, messages, retries = slices.popleft()
                self.messages -= messages
                self.retries -= retries
        return slices[-1]

    def came(self, count: int) -> None:
        """Say that messages came for the first time."""
        self._slice()[1] += count
        self.messages += count

    def spend(self) -> bool:
        """Whether one more may be tried again; if so, it counts."""
        current, budget = self._slice(), self.budget
        if self.retries + 1 > budget.ratio * self.messages + budget.minimum * budget.window:
            return False
        current[2] += 1
        self.retries += 1
        return True
