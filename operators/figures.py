"""Figures of windows: computed of their values at the end, or kept instead of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from warren.operators.aggregations import Aggregation
from warren.operators.expressions import of_frame

__all__ = ["Accumulator", "Figures", "Summed"]


class Summed(msgspec.Struct, frozen=True):
    """A window whose values were not kept, but the state of each aggregation."""

    key: Any
    start: float
    end: float
    states: list[Any]


class Figures:
    """The fields of a row. All expressions are computed together, as one aggregation that has no name."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.fields = tuple(given)
        named: dict[str | None, Aggregation[Any]] = {f: a for f, a in given.items() if isinstance(a, Aggregation)}
        if len(named) < len(given):
            named[None] = of_frame({field: each for field, each in given.items() if field not in named})
        self.names = tuple(named)
        self.aggregations = tuple(named.values())

    def row(self, states: Iterable[Any]) -> dict[str, Any]:
        """The figures of some states, in the order they were asked for."""
        found: dict[Any, Any] = {
            name: a.result(state) for name, a, state in zip(self.names, self.aggregations, states, strict=True)
        }
        if None in found:
            found |= found.pop(None)
            return {field: found[field] for field in self.fields}
        return found

    def can_be_kept(self, *, joined: bool) -> bool:
        """Whether their states are smaller than the values, and, where windows are joined, can be joined too."""
        return not any(a.grows or (joined and a.merge is None) for a in self.aggregations)


class Accumulator:
    """Adds values to the figures of the windows of one running step. A value is added to all figures or to none.

    The state of a window is a list with that of each aggregation; an empty one is that of no value.
    """

    def __init__(self, figures: Figures) -> None:
        self.aggregations = figures.aggregations
        self.folds = [a.fold for a in figures.aggregations]
        self.initial = [a.initial for a in figures.aggregations]
        self.extracts: list[Callable[[Any], Any]] = [a.extract for a in figures.aggregations if a.extract is not None]
        self.merges = [a.merge for a in figures.aggregations if a.merge is not None]
        self.columns: list[list[Any]] = []
        self.errors: dict[int, Exception] = {}

    def take(self, values: list[Any], extracted: Iterable[list[Any]]) -> None:
        """Say which values come now, and what was extracted of them; their places are given to `add`."""
        rest = iter(extracted)
        self.columns = [values if a.extract is None else next(rest) for a in self.aggregations]
        self.errors = {}

    def add(self, windows: Sequence[list[Any]], places: list[int]) -> tuple[list[list[Any]], list[int]]:
        """The states of some windows after some values, each of them in all; and which of the values could be added.

        Why the others could not is in ``errors`` by place.
        """
        try:
            if len(windows) == 1:
                return [self._folded(windows[0], places)], places
            return [self._folded(states, places) for states in windows], places
        except Exception:
            # One of them cannot be added: find out which, adding the others.
            added, kept = list(windows), []
            for place in places:
                try:
                    added = [self._folded(states, [place]) for states in added]
                except Exception as error:
                    self.errors[place] = error
                else:
                    kept.append(place)
            return added, kept

    def _folded(self, states: list[Any], places: list[int]) -> list[Any]:
        # Most windows have one figure and get one or two values of a chunk, so this is as short as can be.
        states = states or self.initial
        if len(places) == 1:
            place = places[0]
            if len(states) == 1:
                return [self.folds[0](states[0], [self.columns[0][place]])]
            return [fold(state, [column[place]]) for fold, state, column in zip(self.folds, states, self.columns)]  # noqa: B905
        folds = zip(self.folds, states, self.columns)  # noqa: B905
        return [fold(state, [column[place] for place in places]) for fold, state, column in folds]

    def join(self, windows: Sequence[list[Any]], places: list[int]) -> list[Any] | None:
        """The state of windows that values join; ``None`` where it cannot be, and then none of these can be added."""
        try:
            return functools.reduce(self._joined, windows, [])
        except Exception as error:
            self.errors.update(dict.fromkeys(places, error))
            return None

    def _joined(self, before: list[Any], states: list[Any]) -> list[Any]:
        if not before:
            return states
        return [merge(x, y) for merge, x, y in zip(self.merges, before, states, strict=True)]
