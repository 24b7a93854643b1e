"""The tokens on one side of a filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from operator import not_
from typing import Any

__all__ = ["Half"]


class Half(Sequence[int]):
    """One half of a run of tokens that a mask parts, listed only when someone asks.

    >>> list(Half(range(4), [True, False, True, True], True, 3)), list(Half(range(4), [True, False, True, True], False, 1))
    ([0, 2, 3], [1])
    """

    __slots__ = ("_listed", "chosen", "mask", "run", "size")

    def __init__(self, run: range, mask: Sequence[object], chosen: bool, size: int) -> None:
        self.run = run
        self.mask = mask
        self.chosen = chosen
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
            self._listed = list(compress(self.run, self.mask if self.chosen else map(not_, self.mask)))
        return self._listed

    def completes(self, other: Half) -> bool:
        """Whether the two are both halves of one run."""
        return self.mask is other.mask and self.chosen is not other.chosen and self.run == other.run
