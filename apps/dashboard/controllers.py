"""What models and remedies decide, for each controller: how much of what, how it went, and the newest in full."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from warren.apps.dashboard.snapshot import Decided
from warren.core.policies import Decision

__all__ = ["Controllers", "Decisions"]

_NEWEST, _SHOWN = 5, 20
_CHOICES, _CONTROLLERS = 20, 100
_INPUTS, _LONGEST = 20, 100
_OTHER = "other"


class Decisions:
    """The decisions of one pipeline since the last report.

    >>> decisions = Decisions()
    >>> made = [Decision("fast", n, 0.0, "a", "b", "a", 1.0, "act", "", {}, success=True) for n in range(9)]
    >>> decisions.take("3:route", made)
    >>> (told,) = decisions.told()
    >>> told.count, told.well, told.choices, len(told.newest), decisions.told()
    (9, 9, {'a': 9}, 5, [])
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Decided] = {}

    def take(self, stage: str, decisions: Sequence[Decision]) -> None:
        """More of them, in their order."""
        for each in decisions:
            key = each.policy, stage
            if key not in self._found:
                if len(self._found) >= _CONTROLLERS:
                    continue
                self._found[key] = Decided(*key)
            found = self._found[key]
            found.mode = each.mode
            found.count += 1
            if each.success is not None:
                found.known += 1
                found.well += each.success
            _counted(found.choices, str(each.done)[:_LONGEST], 1)
        newest: dict[str, int] = {}
        for each in reversed(decisions):
            newest[each.policy] = newest.get(each.policy, 0) + 1
            if newest[each.policy] <= _NEWEST and (each.policy, stage) in self._found:
                self._found[each.policy, stage].newest.append(_shown(each))

    def told(self) -> list[Decided]:
        """What there is to tell; it is told once."""
        found, self._found = self._found, {}
        for each in found.values():
            each.newest = sorted(each.newest, key=lambda decision: decision["at"])[-_NEWEST:]
        return list(found.values())


class Controllers:
    """What all workers have told of the controllers of one pipeline."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Decided] = {}
        self._newest: dict[tuple[str, str], deque[dict[str, Any]]] = {}

    def take(self, told: Iterable[Decided]) -> None:
        """A report has come."""
        for each in told:
            key = each.policy, each.stage
            if key not in self._found:
                if len(self._found) >= _CONTROLLERS:
                    continue
                self._found[key] = Decided(*key)
                self._newest[key] = deque(maxlen=_SHOWN)
            found = self._found[key]
            found.mode = each.mode
            found.count += each.count
            found.known += each.known
            found.well += each.well
            for choice, count in each.choices.items():
                _counted(found.choices, choice, count)
            self._newest[key].extend(each.newest)

    def shown(self) -> list[dict[str, Any]]:
        """Each controller, with its newest decisions first."""
        return [
            {**msgspec.structs.asdict(found), "newest": list(self._newest[key])[::-1], "choices": _most(found.choices)}
            for key, found in self._found.items()
        ]


def _counted(choices: dict[str, int], choice: str, count: int) -> None:
    name = choice if choice in choices or len(choices) < _CHOICES else _OTHER
    choices[name] = choices.get(name, 0) + count


def _most(choices: dict[str, int]) -> list[tuple[str, int]]:
    return Counter(choices).most_common()


def _shown(decision: Decision) -> dict[str, Any]:
    """A decision as it is shown; what was chosen may be of any type."""
    told = msgspec.structs.asdict(decision)
    inputs = {str(name): str(value)[:_LONGEST] for name, value in list(told.pop("inputs").items())[:_INPUTS]}
    texts = {name: str(told[name])[:_LONGEST] for name in ("choice", "static", "done", "reason")}
    return {**told, **texts, "inputs": inputs}
