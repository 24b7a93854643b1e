"""How much of what a route would send somewhere goes there, turned down by hand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from warren.core.errors import GraphError

__all__ = ["Weights"]


class Weights:
    """The share of what a route would send to a target that does go there: 1 unless set; 0 ejects it.

    Hand it to a policy that knows it, such as ``EarliestFinish(weights=weights)``, or put it `around` a function that says
    which targets stand in for each other. Where no target is left, all are as before. Nothing in it is random.

    >>> weights = Weights()
    >>> weights["eu"] = 0.5
    >>> [weights.open("eu") for _ in range(4)], weights["us"]
    ([False, True, False, True], 1.0)
    """

    def __init__(self) -> None:
        self._below: dict[Hashable, float] = {}
        self._owed: dict[Hashable, float] = {}

    def __getitem__(self, target: Hashable) -> float:
        """The share of a target."""
        return self._below.get(target, 1.0)

    def __setitem__(self, target: Hashable, weight: float) -> None:
        """Set the share of a target. Raises `GraphError` where it is none from 0 to 1."""
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
            raise GraphError(f"Weights[{target!r}] = {weight!r}: a weight lies from 0, nothing goes there, to 1, as ever")
        if weight < 1:
            self._below[target] = float(weight)
        else:
            self._below.pop(target, None)
            self._owed.pop(target, None)

    def open(self, target: Hashable) -> bool:
        """Whether what comes now may go to a target: in that share of the times that this is asked."""
        weight = self._below.get(target)
        if weight is None:
            return True
        owed = self._owed.get(target, 0.0) + weight
        may = owed >= 1 - 1e-9
        self._owed[target] = owed - may
        return may

    def places(self, targets: Sequence[Hashable]) -> Sequence[int]:
        """The places of the targets that are open to what comes now; all of them where none is."""
        if not self._below:
            return range(len(targets))
        return [place for place, target in enumerate(targets) if self.open(target)] or range(len(targets))

    def around(self, choose: Callable[[Any], Any], instead: Mapping[Any, Any]) -> Callable[[Any], Any]:
        """A function for `route`: what ``choose`` answers, or what is given for that ``instead`` where it is not open.

        >>> weights = Weights()
        >>> region = weights.around(lambda order: order, {"eu": "us", "us": "eu"})
        >>> weights["eu"] = 0.0
        >>> region("eu"), region("us")
        ('us', 'us')
        """

        @functools.wraps(choose)
        def chosen(value: Any) -> Any:
            answer = choose(value)
            if not self._below or self.open(answer):
                return answer
            other = instead.get(answer, answer)
            return other if self[other] else answer

        return chosen
