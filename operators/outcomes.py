"""What became of retries, told to the policies that learn from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Protocol, TypeAlias, runtime_checkable

from warren.core.chunk import Chunk, Failure
from warren.core.clock import Clock
from warren.core.held import Early
from warren.core.journal import Journal
from warren.core.receipt import Ledger
from warren.core.tokens import Token

__all__ = ["Learning", "Outcomes"]

_KEPT = 10_000

_Awaited: TypeAlias = "tuple[Learning, str, float, int]"
"""A policy, and what it will be told: the class of the error, the delay, and which attempt it is."""


@runtime_checkable
class Learning(Protocol):
    """A policy for `retry` that learns; also a plain one, for whoever knows only how many attempts have failed."""

    def __call__(self, failed: int) -> float | None:
        """As any policy."""
        ...

    def kind(self, error: Exception) -> str:
        """The class of an error."""
        ...

    def wait(self, failed: int, error: Exception, kind: str, now: float) -> float | None:
        """Seconds until the next attempt, or ``None`` to give up."""
        ...

    def ended(self, kind: str, delay: float, attempts: int, ok: bool, now: float) -> None:
        """The attempt that `wait` decided on has ended; it was the ``attempts``-th of its message."""

    def succeeded(self, count: int, now: float) -> None:
        """So many messages succeeded at their first attempt."""


class Outcomes:
    """Asks policies, remembers what they said, and tells them what became of it; in one running pipeline.

    A parked message is known again by its id; of one that comes back to another process, or has no id, nothing is told. Nor
    is it of what a step drops on purpose after a retry. Either is forgotten after ten thousand others.
    """

    def __init__(self, policies: Iterable[Learning], clock: Clock, journal: Journal, ledger: Ledger) -> None:
        self.policies: dict[object, Learning] = {policy: policy for policy in policies}
        self._clock = clock
        self._journal = journal
        self._ledger = ledger
        self._open: dict[Token, _Awaited] = {}
        self._parked: dict[tuple[str, str], _Awaited] = {}
        self.early: Early = {}

    def wait(self, policy: Learning, failure: Failure, attempts: int) -> float | None:
        """What a policy says of a failure."""
        kind = policy.kind(failure.error)
        delay = policy.wait(attempts, failure.error, kind, self._clock())
        if delay is not None:
            self._open[failure.token] = policy, kind, delay, attempts + 1
            if len(self._open) > _KEPT:
                self.forget(next(iter(self._open)))
        return delay

    def forget(self, token: Token) -> None:
        """There will be no such attempt."""
        self._open.pop(token, None)
        self.early.pop(token, None)

    def parked(self, token: Token) -> None:
        """The attempt will be one of a message that its source hands out again."""
        found, id = self._open.get(token), self._ledger.metadata(token).id
        self.forget(token)
        if found is not None and id:
            self._parked[self._ledger.scope(token), id] = found
            if len(self._parked) > _KEPT:
                del self._parked[next(iter(self._parked))]

    def failed(self, failures: Iterable[Failure]) -> None:
        """Attempts have failed."""
        now = self._clock()
        if self._open or self._parked:
            for failure in failures:
                self._tell(failure.token, False, now)
            self._back([failure.token for failure in failures], False, now)
        self._journal.tick(now)

    def succeeded(self, chunk: Chunk, resumed: Sequence[Token]) -> None:
        """Attempts have succeeded: these retries, and the others at their first."""
        now, told = self._clock(), 0
        for token in resumed:
            told += self._tell(token, True, now)
        told += self._back(chunk.tokens, True, now)
        if chunk.attempt == 1 and len(chunk.values) > told:
            for policy in self.policies.values():
                policy.succeeded(len(chunk.values) - told, now)
        self._journal.tick(now)

    def _tell(self, token: Token, ok: bool, now: float) -> bool:
        if (found := self._open.pop(token, None)) is None:
            return False
        if self.early:
            self.early.pop(token, None)
        found[0].ended(*found[1:], ok, now)
        return True

    def _back(self, tokens: Sequence[Token], ok: bool, now: float) -> int:
        """Tell of those that were parked; returns how many that are."""
        repeated = self._ledger.repeated(tokens) if self._parked and tokens else None
        told = 0
        for token in compress(tokens, repeated or ()):
            if found := self._parked.pop((self._ledger.scope(token), self._ledger.metadata(token).id), None):
                found[0].ended(*found[1:], ok, now)
                told += 1
        return told
