"""Messages that have come together and are alike, so that one decision may be for several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, NamedTuple

__all__ = ["Load", "together"]


class Load(NamedTuple):
    """Messages of one kind, and with one static choice: their places, and how large they are together."""

    static: Any
    kind: Any
    size: float
    places: Sequence[int]


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
    alike: dict[tuple[Any, Any], Sequence[int]] = {(None, ""): range(count)}
    if static or kind:
        statics = list(map(static, values)) if static else [None] * count
        kinds = list(map(kind, values)) if kind else [""] * count
        listed: defaultdict[tuple[Any, Any], list[int]] = defaultdict(list)
        for place, key in enumerate(zip(statics, kinds, strict=True)):
            listed[key].append(place)
        alike = dict(listed)
    sizes = list(map(size, values)) if size else None
    loads = []
    for key, places in alike.items():
        each = ceil(len(places) / max(1, round(len(places) / most)))
        for start in range(0, len(places), each):
            mine = places[start : start + each]
            loads.append(Load(*key, float(len(mine) if sizes is None else sum(map(sizes.__getitem__, mine))), mine))
    return loads
