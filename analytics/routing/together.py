"""Messages that have come together and are alike, so that one decision may be for several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import Any, NamedTuple

__all__ = ["Load", "Newest", "together"]

_OPEN = 0.01  # seconds
_MANY = 1_000


class Load(NamedTuple):
    """Messages of one kind, and with one static choice: their places, and how large they are together."""

    static: Any
    kind: Any
    size: float
    places: Sequence[int]


class Newest:
    """The newest decision of each kind and static choice, which the few that come next and are alike may join for 10 ms."""

    def __init__(self) -> None:
        # The number of the decision, how many messages more may join it, and until when.
        self._open: dict[tuple[Any, Any], tuple[int, int, float]] = {}

    def join(self, load: Load, before: int, now: float) -> int:
        """The number of the decision that a load may join, up to that one, or 0."""
        number, left, until = self._open.get((load.static, load.kind), (0, 0, 0.0))
        left -= len(load.places)
        if left < 0 or number > before or now > until:
            return 0
        self._open[load.static, load.kind] = number, left, until
        return number

    def add(self, load: Load, number: int, left: int, now: float) -> None:
        """A decision was made for a load, and so many messages more may join it."""
        if len(self._open) >= _MANY:
            self._open.clear()
        self._open[load.static, load.kind] = number, left, now + _OPEN

    def clear(self) -> None:
        """No more may join any of them."""
        self._open.clear()


def together(
    values: Sequence[Any],
    most: int,
    static: Callable[[Any], Any] | None,
    kind: Callable[[Any], Any] | None,
    size: Callable[[Any], float] | None,
) -> list[Load]:
    """Values in loads of about so many each. Raises what the functions raise.

    >>> [(load.kind, load.size, list(load.places)) for load in together("abABa", 2, None, str.isupper, None)]
    [(False, 2.0, [0, 1]), (False, 1.0, [4]), (True, 2.0, [2, 3])]
    """
    count = len(values)
    statics = list(map(static, values)) if static else None
    kinds = list(map(kind, values)) if kind else None
    alike: dict[Any, Sequence[int]] = {None: range(count)}
    keys: Iterable[Any] | None = kinds if statics is None else statics if kinds is None else zip(statics, kinds, strict=True)
    if keys is not None:
        listed: defaultdict[Any, list[int]] = defaultdict(list)
        for place, key in enumerate(keys):
            listed[key].append(place)
        alike = dict(listed)
    sizes = list(map(size, values)) if size else None
    loads = []
    for places in alike.values():
        first, each = places[0], ceil(len(places) / max(1, round(len(places) / most)))
        for start in range(0, len(places), each):
            mine = places[start : start + each]
            total = float(len(mine) if sizes is None else sum(map(sizes.__getitem__, mine)))
            loads.append(Load(statics and statics[first], kinds[first] if kinds else "", total, mine))
    return loads
