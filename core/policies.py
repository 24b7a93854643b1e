"""How models act in a pipeline: the protocol of what chooses, the record of each decision, and the way back.

A model is handed in by the user and asked at one place. It starts in the shadow: it decides, the decision is recorded, and
what happens is what the static setting says. Only in the mode ``"act"`` does what it chose happen.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from warren.core.clock import Clock
from warren.core.errors import GraphError

__all__ = ["Chooser", "Deciding", "Decision", "Guard", "Mode", "Past", "Proposal", "Reading", "Restorable", "mode_of"]

Mode = Literal["shadow", "act"]
"""Whether what a model decides is only recorded, or also done."""

_log = logging.getLogger("warren.policies")


class Decision(msgspec.Struct, eq=False):
    """One decision of a model, as it is recorded: enough to compare policies with it later.

    - ``choice``: what the model chose, with the probability ``propensity``; ``static``: what the static setting would do
    - ``done``: which of them happened: the choice in the mode ``"act"``, otherwise the static one
    - ``reason``: why it was chosen, in a word or a sentence; ``inputs``: what the model looked at
    - ``seconds`` and ``success``: what came of what was done; ``None`` while nobody knows
    - ``at``: seconds since 1970; ``number``: which decision of its run it is
    - ``messages``: how many it is for; ``seconds`` are then their mean, and ``success`` is that of most
    """

    policy: str
    number: int
    at: float
    choice: Any
    static: Any
    done: Any
    propensity: float
    mode: Mode
    reason: str
    inputs: dict[str, Any]
    seconds: float | None = None
    success: bool | None = None
    messages: int = 1


class Past(deque[Decision]):
    """The newest decisions that are over, and which of them nobody has asked for yet.

    >>> past = Past(most=2)
    >>> for number in range(3):
    ...     past.append(Decision("p", number, 0.0, "a", "a", "a", 1.0, "shadow", "", {}))
    >>> [decision.number for decision in past.new()], past.new(), len(past)
    ([1, 2], [], 2)
    """

    def __init__(self, most: int) -> None:
        super().__init__(maxlen=most)
        self._new = 0

    def append(self, decision: Decision, /) -> None:
        """One more is over."""
        super().append(decision)
        self._new += 1

    def new(self) -> list[Decision]:
        """Those that were added since this was last called, as far as they are still here."""
        count, self._new = min(self._new, len(self)), 0
        return list(islice(self, len(self) - count, None))


@runtime_checkable
class Deciding(Protocol):
    """A model whose decisions are to be recorded."""

    def over(self) -> Sequence[Decision]:
        """The decisions that are over since it was last asked: what came of them is known, or nobody will ever know."""
        ...


@runtime_checkable
class Restorable(Protocol):
    """A model that can go on with what it learned in an earlier run.

    A pipeline with ``state=`` keeps it for those that its steps were given: a start for the next run, which may be some
    seconds old after a crash.
    """

    def state(self) -> Mapping[str, Any]:
        """What it has learned, as numbers, texts, lists and dicts, with the ``version`` that these have."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with it. Raises `DataError` where it is damaged or of another version, and then nothing has changed."""
        ...


class Proposal(msgspec.Struct):
    """What a model would do: the choice, with which probability it makes it, why, and from what."""

    choice: Any
    propensity: float
    reason: str
    inputs: dict[str, Any]


@runtime_checkable
class Chooser(Protocol):
    """What a route may ask in place of a function: it is told what became of the values it sent somewhere."""

    def open(self, targets: Sequence[Hashable], clock: Clock) -> None:
        """A run begins, with these branches and this clock; what is in flight from an earlier run is forgotten."""
        ...

    def deal(self, values: Sequence[Any]) -> tuple[Sequence[tuple[Decision, Sequence[int]]], dict[int, Exception]]:
        """Where values that have come together go, by their places: those of a decision to the branch that is ``done``.

        With it the places for which there is none, and why. The places of a decision are listed, or a range without steps.
        A decision that is for more ``messages`` than it has places here was dealt before: what becomes of these is not told.
        """
        ...

    def ended(self, decision: Decision, seconds: float, success: float) -> None:
        """All its values have reached their ends, in the mean so many seconds after they were sent.

        ``success`` is the share of them that did so well. Told once for each decision, unless the run ends before.
        """
        ...


@runtime_checkable
class Reading(Protocol):
    """What a chooser also has, where it wants to know how deep the queues are that it may send to."""

    every: float | None
    """Seconds between two looks; ``None`` where it does not want to know after all."""

    def reading(self, label: Hashable, depth: float | None, at: float) -> None:
        """So many messages waited behind a branch at a time. Where nobody knows, nothing is told."""
        ...


def mode_of(mode: str, title: str) -> Mode:
    """The mode, or `GraphError`."""
    if mode == "shadow":
        return "shadow"
    if mode == "act":
        return "act"
    raise GraphError(f"{title}: the mode {mode!r} is neither 'shadow' nor 'act'; begin with 'shadow'")


class Guard:
    """Asks a model within bounds: where it raises, or proposes what is not allowed, the static choice is made.

    The first such error is logged with its reason; each is in its decision and counted in ``errors``.

    >>> safe = Guard("prefetch", "act", allowed=lambda credit: 1 <= credit <= 500)
    >>> safe(1, 0.0, 100, lambda: Proposal(9_000, 1.0, "more is faster", {})).reason
    'ValueError: 9000 is out of bounds'
    >>> safe(1, 0.0, 100, lambda: Proposal(200, 1.0, "the knee", {})).done
    200
    """

    def __init__(self, policy: str, mode: Mode, allowed: Callable[[Any], bool]) -> None:
        self.policy = policy
        self.mode: Mode = mode
        self.allowed = allowed
        self.errors = 0

    def __call__(self, number: int, at: float, static: Any, propose: Callable[[], Proposal]) -> Decision:
        """The decision at a time: what ``propose`` gives, or ``static``."""
        try:
            found = propose()
            if not self.allowed(found.choice):
                raise ValueError(f"{found.choice!r} is out of bounds")
        except Exception as error:
            self.failed(error)
            reason = f"{type(error).__name__}: {error}"
            return Decision(self.policy, number, at, static, static, static, 1.0, self.mode, reason, {})
        done = found.choice if self.mode == "act" else static
        return Decision(
            self.policy, number, at, found.choice, static, done, found.propensity, self.mode, found.reason, found.inputs
        )

    def failed(self, error: Exception) -> None:
        """Count an error of the model; the first is logged."""
        self.errors += 1
        if self.errors == 1:
            _log.error("%s: the static setting is used, as the model failed: %r", self.policy, error, exc_info=error)
