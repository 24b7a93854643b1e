"""Backoff policies for `retry`: how long to wait before each attempt, and when to give up."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal, TypeAlias

from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError

__all__ = ["Backoff", "constant", "decorrelated", "exponential", "linear"]

Backoff: TypeAlias = Callable[[int], "float | None"]
"""Given how many attempts have failed (from 1), the seconds to wait before the next, or ``None`` to give up.

Any function of this form is a policy.
"""

Jitter: TypeAlias = Literal["none", "full", "equal"]


class _Policy:
    def __init__(self, text: str, wait: Callable[[int], float], attempts: int, maximum: float, jitter: Jitter) -> None:
        if attempts < 1:
            raise GraphError(f"{text}: attempts={attempts} must be at least 1; the first try counts")
        if jitter not in ("none", "full", "equal"):
            raise GraphError(f"{text}: jitter={jitter!r} must be 'none', 'full' or 'equal'")
        self.__name__ = text
        self._wait = wait
        self._attempts = attempts
        self._maximum = maximum
        self._jitter = jitter

    def __call__(self, failed: int) -> float | None:
        if failed >= self._attempts:
            return None
        wait = min(self._wait(failed), self._maximum)
        if self._jitter == "full":
            return wait * random.random()
        if self._jitter == "equal":
            return wait / 2 + wait / 2 * random.random()
        return wait


def constant(delay: Duration, *, attempts: int = 5, jitter: Jitter = "none") -> Backoff:
    """Wait the same time before each attempt; ``attempts`` counts the first try.

    >>> policy = constant("1s", attempts=2)
    >>> policy(1), policy(2)
    (1.0, None)
    """
    wait = seconds(delay)
    return _Policy(f"constant({delay})", lambda failed: wait, attempts, float("inf"), jitter)


def linear(step: Duration, *, attempts: int = 5, maximum: Duration = "5m", jitter: Jitter = "none") -> Backoff:
    """Wait one step longer before each attempt, up to ``maximum``; ``attempts`` counts the first try.

    >>> policy = linear("1s", attempts=4)
    >>> [policy(n) for n in (1, 2, 3, 4)]
    [1.0, 2.0, 3.0, None]
    """
    wait = seconds(step)
    return _Policy(f"linear({step})", lambda failed: wait * failed, attempts, seconds(maximum), jitter)


def exponential(
    initial: Duration,
    *,
    factor: float = 2.0,
    attempts: int = 5,
    maximum: Duration = "5m",
    jitter: Jitter = "equal",
) -> Backoff:
    """Wait ``factor`` times longer before each attempt, up to ``maximum``; ``attempts`` counts the first try.

    Jitter spreads clients that failed together: ``full`` draws from 0 to the wait, ``equal`` from its upper half
    (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

    >>> policy = exponential("100ms", attempts=4, jitter="none")
    >>> [policy(n) for n in (1, 2, 3, 4)]
    [0.1, 0.2, 0.4, None]
    """
    first = seconds(initial)
    if factor < 1:
        raise GraphError(f"exponential({initial}): factor={factor} must be at least 1")
    limit = seconds(maximum)

    def wait(failed: int) -> float:
        try:
            return first * factor ** (failed - 1)
        except OverflowError:
            return limit

    return _Policy(f"exponential({initial})", wait, attempts, limit, jitter)


def decorrelated(base: Duration, *, maximum: Duration = "5m", attempts: int = 5) -> Backoff:
    """Wait by chance from ``base`` to three times the wait before, up to ``maximum``; ``attempts`` counts the first try.

    "Decorrelated jitter" (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). A policy knows how many
    attempts have failed, and not how long a message waited before each; so the waits before are drawn anew each time. Each
    wait is spread as in the original, only it does not depend on those that the message itself had.

    >>> policy = decorrelated("100ms", attempts=3)
    >>> 0.1 <= policy(1) <= 0.3, 0.1 <= policy(2) <= 0.9, policy(3)
    (True, True, None)
    """
    first, limit = seconds(base), seconds(maximum)

    def wait(failed: int) -> float:
        delay = first
        # By then the waits have long reached the limit, or what is the longest by chance.
        for _ in range(min(failed, 100)):
            delay = min(limit, random.uniform(first, 3 * delay))
        return delay

    return _Policy(f"decorrelated({base})", wait, attempts, limit, "none")
