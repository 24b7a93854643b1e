"""What a source is told of settled messages: their handles, many at a time."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warren.core.receipt import Delivery

__all__ = ["Handles"]


class Handles(Sequence[Hashable]):
    """The handles of settled messages, looked up when the source asks; some sources need none.

    >>> from warren.core.message import Batch
    >>> from warren.core.receipt import Delivery
    >>> Handles({Delivery(None, Batch(bodies="abc", handles=range(7, 10)), 0, 0.0): [[0, 1], [2]]}).runs()
    [range(7, 10)]
    """

    def __init__(self, settled: Mapping[Delivery, Sequence[Sequence[int]]]) -> None:
        self._settled = settled
        self._length = sum(len(tokens) for segments in settled.values() for tokens in segments)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Hashable]:
        return chain.from_iterable(self.runs())

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def runs(self) -> list[Sequence[Hashable]]:
        """The same in pieces: of a delivery that is settled whole, its handles as the source gave them."""
        found: list[Sequence[Hashable]] = []
        for delivery, segments in self._settled.items():
            handles, base = delivery.batch.handles, delivery.base
            whole = sum(map(len, segments)) == len(handles)
            found.append(handles if whole else [handles[token - base] for tokens in segments for token in tokens])
        return found
