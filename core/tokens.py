"""What a message ends as, and the tokens of values that descend from messages."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from warren.core.chunk import Failure

__all__ = [
    "DELIVERED",
    "FILTERED",
    "RELEASED",
    "Kind",
    "Merge",
    "Outcome",
    "Part",
    "Parts",
    "Piece",
    "Split",
    "Token",
    "origins",
]

T = TypeVar("T")


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


class Parts(Sequence[Token]):
    """The tokens of the values that messages became, in order: ``counts`` says how many each, at least one.

    They are made when someone asks for one of them. Until then they are settled all at once, with their ``parents``.

    >>> parts = Parts(range(2), [1, 3])
    >>> len(parts), parts.whole, parts.spread("ab")
    (4, True, ['a', 'b', 'b', 'b'])
    >>> parts[0], parts[3].index, parts.whole
    (0, 2, False)
    """

    __slots__ = ("_listed", "_size", "counts", "parents")

    def __init__(self, parents: Sequence[Token], counts: Sequence[int]) -> None:
        self.parents = parents
        self.counts = counts
        self._size = sum(counts)
        self._listed: list[Token] | None = None

    @property
    def whole(self) -> bool:
        """Whether none was asked for yet, so that none can have been settled alone."""
        return self._listed is None

    def spread(self, column: Iterable[T]) -> list[T]:
        """What is known of each parent, for each of its parts."""
        return list(chain.from_iterable(map(repeat, column, self.counts)))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Token]:
        return iter(self._list())

    def __getitem__(self, index: Any) -> Any:
        if type(index) is slice and index.indices(self._size) == (0, self._size, 1):
            return self
        return self._list()[index]

    def _list(self) -> list[Token]:
        if self._listed is None:
            self._listed = []
            for parent, count in zip(self.parents, self.counts, strict=True):
                if count == 1:
                    self._listed.append(parent)
                else:
                    split = Split(parent, count, None)
                    self._listed += [Part(split, index) for index in range(count)]
        return self._listed


def origins(token: Token) -> Iterator[int]:
    """The source tokens a token descends from."""
    if isinstance(token, int):
        yield token
    elif isinstance(token, Part):
        yield from origins(token.split.parent)
    else:
        for segment in token.segments:
            for each in segment:
                yield from origins(each)
