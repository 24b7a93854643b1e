"""What a message ends as, and the tokens of values that descend from messages."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from warren.core.chunk import Failure

__all__ = ["DELIVERED", "FILTERED", "RELEASED", "Kind", "Merge", "Outcome", "Part", "Piece", "Split", "Token"]


class Kind(enum.IntEnum):
    """How a message ended. Where its descendants ended differently, the highest counts."""

    FILTERED = 0
    DELIVERED = 1
    DEAD_LETTERED = 2
    PARKED = 3
    RELEASED = 4


class Outcome(NamedTuple):
    """How a message ended, and where: ``route`` names the sink, ``delay`` (seconds) how long a parked one waits."""

    kind: Kind
    route: str = ""
    failure: Failure | None = None
    delay: float = 0.0


DELIVERED = Outcome(Kind.DELIVERED)
FILTERED = Outcome(Kind.FILTERED)
RELEASED = Outcome(Kind.RELEASED)


Piece: TypeAlias = Callable[[Any, Sequence[int]], "tuple[Any, str] | None"]
"""What some parts, given by their places, were of a message's decoded value, and what to call them; ``None`` if unclear."""


class Split:
    """One message that became several values, and how many of these are unsettled."""

    __slots__ = ("count", "outcome", "parent", "pending", "piece")

    def __init__(self, parent: Token, count: int, piece: Piece | None) -> None:
        self.parent = parent
        self.count = self.pending = count
        self.piece = piece
        self.outcome = FILTERED


class Part:
    """The token of one of several values that descend from one message."""

    __slots__ = ("index", "settled", "split")

    def __init__(self, split: Split, index: int) -> None:
        self.split = split
        self.index = index
        self.settled = False


class Merge:
    """The token of one value made of several; ``segments`` are their tokens, ``rows`` the value if it has a row for each."""

    __slots__ = ("rows", "segments", "settled")

    def __init__(self, segments: Sequence[Sequence[Token]], rows: object = None) -> None:
        self.segments = segments
        self.rows = rows
        self.settled = False


Token: TypeAlias = "int | Part | Merge"
