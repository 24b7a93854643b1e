"""How long a message will be served: what its kind, its target and the last minute each add, learned as they change."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from math import exp, inf, isfinite, log, sqrt
from typing import Any

__all__ = ["Effect", "Effects"]

_CLIP = 3.0
_NOISE = 0.25
_LEAST = 1e-4
_FRESH = 0.1  # seconds
_KINDS = 1_000


class Effect:
    """One addend of a logarithm, and the variance of what is known of it, which grows while nothing is learned.

    With ``lasting`` it also fades: after so many seconds a third of it is left.
    """

    __slots__ = ("at", "drift", "lasting", "spread", "value", "variance")

    def __init__(self, spread: float, drift: float = 0.0, lasting: float = 0.0) -> None:
        self.value = 0.0
        self.variance = self.spread = spread * spread
        self.drift = drift * drift
        self.lasting = lasting
        self.at = 0.0

    def age(self, now: float) -> None:
        """Bring it to a time."""
        passed = now - self.at
        if not passed > 0:
            return
        self.at = now
        if self.lasting:
            left = exp(-passed / self.lasting)
            self.value *= left
            self.variance = self.spread + (self.variance - self.spread) * left * left
        else:
            self.variance = min(self.spread, self.variance + self.drift * passed)

    def plain(self) -> list[float]:
        """What was learned."""
        return [self.value, self.variance, self.at]

    def fill(self, plain: list[float]) -> Effect:
        """Take over what was learned."""
        if not all(map(isfinite, plain)):
            raise ValueError(f"{plain} has what is no number")
        self.value, self.variance, self.at = plain
        return self


class Effects:
    """The logarithm of the seconds for a unit of size, as a sum: all + kind and size + target + target for kind + lately.

    Each addend takes as much of what a message tells as it is uncertain, which draws what is known of a target for a kind
    towards what is known of each by itself. No message moves the sum by more than three deviations.

    - ``hope``: by how many deviations a target is thought better than it seems, so that one little known is tried
    - ``drift``: the deviation by which the lasting addends move in a second
    - ``lately``, ``lasting``: the deviation of what is true only now, and for how many seconds
    """

    def __init__(self, targets: int, hope: float, drift: float = 0.02, lately: float = 0.6, lasting: float = 20.0) -> None:
        self.hope = hope
        self.drift = drift
        self.level = Effect(20.0, drift)
        self.cells: dict[tuple[str, int], Effect] = {}
        # Of each cell what it multiplies work by.
        self._factors: dict[tuple[str, int], float] = {}
        self.kinds: set[str] = set()
        self.targets = [Effect(1.0, drift) for _ in range(targets)]
        self.pairs: list[dict[str, Effect]] = [{} for _ in range(targets)]
        self.lately = [Effect(lately, lasting=lasting) for _ in range(targets)]
        self.noise = _NOISE * _NOISE
        self.hold = 0.0
        """For how many seconds what was reckoned is still good enough when something was learned."""
        self._new = self._pair()
        # Of each target the seconds by kind, and until when these hold: exponents cost the most.
        self._known: list[dict[str, tuple[float, float]]] = [{} for _ in range(targets)]
        self._until = [-inf] * targets
        # The same of all targets together, by kind.
        self._rows: dict[str, list[tuple[float, float]]] = {}
        self._rows_until = inf

    def kind(self, kind: Hashable) -> str:
        """The name of a kind; those that come when there are too many share one."""
        name = str(kind)
        if name not in self.kinds:
            if len(self.kinds) >= _KINDS:
                return ""
            self.kinds.add(name)
        return name

    def work(self, kind: str, size: float) -> float:
        """What a message is beside others, whatever its target: the size, put right for its kind and how large it is."""
        return size * self._factors.get((kind, int(log(size))), 1.0)

    def seconds(self, target: int, kind: str, now: float) -> tuple[float, float]:
        """Seconds for a unit of work at a target: of anything, and of this kind."""
        known = self._known[target].get(kind) if 0 < self._until[target] - now <= _FRESH else None
        return known or self._reckon(target, kind, now)

    def all_seconds(self, kind: str, now: float) -> list[tuple[float, float]]:
        """`seconds` at each target."""
        if now >= self._rows_until:
            self._rows.clear()
            self._rows_until = inf
        row = self._rows.get(kind)
        if row is None:
            row = self._rows[kind] = [self.seconds(target, kind, now) for target in range(len(self.targets))]
            self._rows_until = min(self._rows_until, *self._until)
        return row

    def _reckon(self, target: int, kind: str, now: float) -> tuple[float, float]:
        if not 0 < self._until[target] - now <= _FRESH:
            self._until[target] = now + _FRESH
            self._known[target].clear()
        usual, lately = self.targets[target], self.lately[target]
        lately.age(now)
        mean, doubt = self.level.value + usual.value + lately.value, usual.variance + lately.variance
        each = own = exp(mean - self.hope * sqrt(doubt))
        if len(self.kinds) > 1:
            pair = self.pairs[target].get(kind) or self._new
            own = exp(mean + pair.value - self.hope * sqrt(doubt + pair.variance))
        known = self._known[target][kind] = each, own
        return known

    def _cell(self) -> Effect:
        return Effect(1.0, self.drift / 4)

    def _pair(self) -> Effect:
        return Effect(0.5, self.drift)

    def learn(self, target: int, kind: str, size: float, seconds: float, now: float) -> None:
        """A message was served in so many seconds."""
        if 0 < seconds < inf:
            key = kind, int(log(size))
            cell = self.cells.get(key) or self.cells.setdefault(key, self._cell())
            addends = [self.level, cell, self.targets[target], self.lately[target]]
            if len(self.kinds) > 1:
                pairs = self.pairs[target]
                addends.append(pairs.get(kind) or pairs.setdefault(kind, self._pair()))
            self._learn(target, addends, log(seconds / size), now, 1)
            self._factors[key] = exp(cell.value)

    def learn_many(self, target: int, work: float, count: int, seconds: float, now: float) -> None:
        """So many messages, of work that is known together, took a target so many seconds."""
        if 0 < seconds < inf and work > 0:
            self._learn(target, [self.level, self.targets[target], self.lately[target]], log(seconds / work), now, count)

    def _learn(self, target: int, addends: list[Effect], told: float, now: float, count: int) -> None:
        off, noise = told, self.noise / count
        doubt = noise
        for each in addends:
            each.age(now)
            off -= each.value
            doubt += each.variance
        first = self.level.variance > 1
        if not first:
            most = _CLIP * sqrt(doubt)
            off = max(-most, min(most, off))
        for each in addends:
            gain = each.variance / doubt
            each.value += gain * off
            each.variance *= 1 - gain
        if not first:
            rest = off * noise / doubt
            self.noise += 0.01 * (min(max(rest * rest * count, _LEAST), 1.0) - self.noise)
        self._until[target] = min(self._until[target], now + self.hold)
        self._rows_until = min(self._rows_until, self._until[target])

    def state(self) -> dict[str, Any]:
        """What was learned, as plain values."""
        return {
            "level": self.level.plain(),
            "noise": self.noise,
            "kinds": sorted(self.kinds),
            "cells": [[kind, size, *each.plain()] for (kind, size), each in self.cells.items()],
            "targets": [
                [usual.plain(), lately.plain(), [[kind, *pair.plain()] for kind, pair in pairs.items()]]
                for usual, lately, pairs in zip(self.targets, self.lately, self.pairs, strict=True)
            ],
        }

    def restore(self, state: Mapping[str, Any], places: Mapping[int, int]) -> None:
        """Take over what was learned; ``places`` says which target of the state is which of these."""
        self.level.fill(state["level"])
        self.noise = min(max(float(state["noise"]), _LEAST), 1.0)
        self.kinds = set(state["kinds"])
        self.cells = {(kind, size): self._cell().fill(plain) for kind, size, *plain in state["cells"]}
        self._factors = {key: exp(cell.value) for key, cell in self.cells.items()}
        for was, now in places.items():
            usual, lately, pairs = state["targets"][was]
            self.targets[now].fill(usual)
            self.lately[now].fill(lately)
            self.pairs[now] = {kind: self._pair().fill(plain) for kind, *plain in pairs}
