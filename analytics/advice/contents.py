"""One piece of advice, as plain values."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

__all__ = ["Advice", "Gain", "part", "times"]

Gain: TypeAlias = Literal["rate", "wait", "time", "attempts", "dead letters", ""]


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What to change in a pipeline, or to look at; nothing is changed by it.

    - ``stage``: the step, the sink, the source, or what else it is about; ``setting``: which of its settings
    - ``now`` and ``proposed``: the setting as code; ``proposed`` is ``None`` where the data is too little for a proposal, or
      where somebody has to decide
    - ``gain``: how many times better it becomes: the ``"rate"`` that passes, the 95th percentile of the ``"wait"`` at the
      stage, the ``"time"`` that a message takes, the ``"attempts"`` for the same messages, the ``"dead letters"``, as ``of``
      says; ``None`` where it is not known
    - ``expected``: the gain in a sentence, with how it is computed; ``evidence``: what was recorded; ``risk``: what may go
      wrong with it
    """

    pipeline: str
    stage: str
    setting: str
    evidence: str
    expected: str = ""
    risk: str = ""
    now: str | None = None
    proposed: str | None = None
    gain: float | None = None
    of: Gain = ""


def times(gain: float) -> str:
    """A gain in words.

    >>> times(1.5), times(1000)
    ('1.5 times', 'more than 100 times')
    """
    return "more than 100 times" if gain > 100 else f"{gain:.3g} times"


def part(share: float) -> str:
    """A share in words.

    >>> part(0.815)
    '82 %'
    """
    return f"{100 * share:.0f} %"
