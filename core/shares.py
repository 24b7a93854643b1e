"""The tokens of a run that go one of several ways."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import compress
from operator import not_
from typing import Any

__all__ = ["Share", "dealt", "halves"]


class Share(Sequence[int]):
    """The tokens of a run that go one way, listed only when someone asks.

    ``mask`` says of each token of the run whether it is one of these. Shares with one and the same ``ways`` are of one
    dealing out: no token is in two of them, and all together are the run.

    >>> mask = [True, False, True, True]
    >>> list(Share(range(4), mask, lambda: mask, 3))
    [0, 2, 3]
    """

    __slots__ = ("_listed", "mask", "run", "size", "ways")

    def __init__(self, run: range, ways: object, mask: Callable[[], Iterable[object]], size: int) -> None:
        self.run = run
        self.ways = ways
        self.mask = mask
        self.size = size
        self._listed: list[int] | None = None

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        return iter(self._list())

    def __getitem__(self, index: Any) -> Any:
        return self._list()[index]

    def _list(self) -> list[int]:
        if self._listed is None:
            self._listed = list(compress(self.run, self.mask()))
        return self._listed

    def beside(self, other: Share) -> bool:
        """Whether the two are different shares of one run, dealt out together."""
        return self is not other and self.ways is other.ways and self.run == other.run


def dealt(tokens: Sequence[Any], ways: Sequence[Any], mine: Container[Any], size: int) -> Sequence[Any]:
    """The tokens whose way is one of ``mine``, which are ``size``.

    >>> list(dealt(range(4), "abca", {"a", "c"}, 3))
    [0, 2, 3]
    """
    if size == len(tokens):
        return tokens
    if type(tokens) is range:
        return Share(tokens, ways, lambda: map(mine.__contains__, ways), size)
    return list(compress(tokens, map(mine.__contains__, ways)))


def halves(tokens: Sequence[Any], mask: Sequence[object], size: int) -> tuple[Sequence[Any], Sequence[Any]]:
    """The tokens for which a mask is true, which are ``size``, and the others.

    >>> [list(half) for half in halves(range(4), [True, False, True, True], 3)]
    [[0, 2, 3], [1]]
    """
    if type(tokens) is range:
        kept = Share(tokens, mask, lambda: mask, size)
        return kept, Share(tokens, mask, lambda: map(not_, mask), len(mask) - size)
    return list(compress(tokens, mask)), list(compress(tokens, map(not_, mask)))
