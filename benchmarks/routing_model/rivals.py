"""The policies beside ours, each in its usual form."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from benchmarks.routing_model.plant import Message, Plant

__all__ = ["RIVALS"]


class _Rival:
    """Knows the plant, and looks only at what its kind would know."""

    def __init__(self, plant: Plant, seed: int) -> None:
        self.targets = plant.targets
        self.places = range(len(plant.targets))
        self.random = Random(seed)
        self.depths = [0] * len(plant.targets)

    def pick(self, message: Message, at: float) -> int:
        raise NotImplementedError

    def choose(self, message: Message, at: float) -> tuple[int, Any]:
        return self.pick(message, at), None

    def ended(self, ticket: Any, index: int, seconds: float, well: bool, at: float) -> None:
        pass

    def reading(self, index: int, depth: int, read: float, at: float) -> None:
        self.depths[index] = depth


class RoundRobin(_Rival):
    turn = -1

    def pick(self, message: Message, at: float) -> int:
        self.turn += 1
        return self.turn % len(self.targets)


class Weighted(_Rival):
    """Weighted round robin, evenly spread; its weights are the true usual speeds."""

    def __init__(self, plant: Plant, seed: int) -> None:
        super().__init__(plant, seed)
        self.weights = [target.speed * target.workers for target in plant.targets]
        self.credit = [0.0] * len(plant.targets)

    def pick(self, message: Message, at: float) -> int:
        self.credit = [have + weight for have, weight in zip(self.credit, self.weights, strict=True)]
        index = max(self.places, key=self.credit.__getitem__)
        self.credit[index] -= sum(self.weights)
        return index


class Uniform(_Rival):
    def pick(self, message: Message, at: float) -> int:
        return self.random.randrange(len(self.targets))


class TwoChoices(_Rival):
    """The less deep of two at random, by the last reading."""

    def pick(self, message: Message, at: float) -> int:
        return min(self.random.sample(self.places, 2), key=self.depths.__getitem__)


class Shortest(_Rival):
    """Join the shortest queue, by the last reading; of equals one at random."""

    def pick(self, message: Message, at: float) -> int:
        least = min(self.depths)
        return self.random.choice([index for index in self.places if self.depths[index] == least])


class LeastInFlight(_Rival):
    """The target with the fewest of this router's messages unfinished; of equals one at random."""

    def __init__(self, plant: Plant, seed: int) -> None:
        super().__init__(plant, seed)
        self.flying = [0] * len(plant.targets)

    def pick(self, message: Message, at: float) -> int:
        least = min(self.flying)
        index = self.random.choice([index for index in self.places if self.flying[index] == least])
        self.flying[index] += 1
        return index

    def ended(self, ticket: Any, index: int, seconds: float, well: bool, at: float) -> None:
        self.flying[index] -= 1


class Prequal(_Rival):
    """Probes targets for their requests in flight and latency, and keeps the answers in a pool.

    Of the targets in the pool those with many in flight are hot: among the others the one with the lowest latency is chosen,
    and where all are hot the one with the fewest in flight. Probes are answered at once, which no depth reading is.
    """

    PROBES, POOL, AGE, USES, QUANTILE = 3, 16, 1.0, 2, 0.84

    def __init__(self, plant: Plant, seed: int) -> None:
        super().__init__(plant, seed)
        # Of each probe: target, in flight, latency, when, how often used.
        self.pool: list[list[Any]] = []
        self.seen: deque[int] = deque(maxlen=128)
        # What each target itself knows: in flight at arrival and seconds, of its last messages.
        self.latencies: list[deque[tuple[int, float]]] = [deque(maxlen=32) for _ in self.targets]
        self.worst = False

    def _probe(self, at: float) -> None:
        for index in self.random.sample(self.places, self.PROBES):
            flying = self.targets[index].depth
            near = sorted(self.latencies[index], key=lambda pair: abs(pair[0] - flying))[:8]
            latency = sorted(seconds for _, seconds in near)[len(near) // 2] if near else 0.0
            self.seen.append(flying)
            self.pool.append([index, flying, latency, at, 0])
        self.pool = [probe for probe in self.pool if at - probe[3] <= self.AGE and probe[4] < self.USES][-self.POOL :]

    def _hot(self) -> float:
        return sorted(self.seen)[min(len(self.seen) - 1, int(self.QUANTILE * len(self.seen)))]

    def pick(self, message: Message, at: float) -> int:
        self._probe(at)
        hot = self._hot()
        cold = [probe for probe in self.pool if probe[1] < hot]
        best = min(cold, key=lambda probe: probe[2]) if cold else min(self.pool, key=lambda probe: probe[1])
        for probe in self.pool:
            probe[1] += probe[0] == best[0]
        best[4] += 1
        # One goes with each choice, the oldest and the worst in turn, so that the pool does not fill with what nobody wants.
        if len(self.pool) > self.PROBES:
            warm = [probe for probe in self.pool if probe[1] >= hot]
            if self.worst:
                self.pool.remove(
                    max(warm, key=lambda probe: probe[1]) if warm else max(self.pool, key=lambda probe: probe[2])
                )
            else:
                self.pool.pop(0)
            self.worst = not self.worst
        return int(best[0])

    def choose(self, message: Message, at: float) -> tuple[int, Any]:
        index = self.pick(message, at)
        return index, self.targets[index].depth

    def ended(self, ticket: Any, index: int, seconds: float, well: bool, at: float) -> None:
        if well:
            self.latencies[index].append((ticket, seconds))


class Clairvoyant(_Rival):
    """Knows the true work left in each target and its speed now, and takes the earliest finish of this message."""

    def pick(self, message: Message, at: float) -> int:
        able = [index for index in self.places if not self.targets[index].failing(at)] or self.places
        return min(able, key=lambda index: self.targets[index].finish(message, at))


RIVALS = {
    "round robin": RoundRobin,
    "weighted round robin": Weighted,
    "random": Uniform,
    "two choices, stale depth": TwoChoices,
    "shortest queue, stale depth": Shortest,
    "least in flight": LeastInFlight,
    "Prequal": Prequal,
    "clairvoyant": Clairvoyant,
}
