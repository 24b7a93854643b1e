"""Our policies in the simulation."""

from __future__ import annotations

from typing import Any

from benchmarks.routing_model.plant import Message, Plant
from warren.analytics.routing import EarliestFinish

__all__ = ["Ours"]


class Ours:
    """`EarliestFinish` with the simulation's clock."""

    def __init__(self, plant: Plant, seed: int, **settings: Any) -> None:
        self.now = 0.0
        settings = {"size": lambda message: message.size, "mode": "act", "seed": seed, **settings}
        self.policy = EarliestFinish(**settings)
        self.policy.open(range(len(plant.targets)), lambda: self.now)

    def choose(self, message: Message, at: float) -> tuple[int, Any]:
        self.now = at
        decision = self.policy.choose(message)
        return decision.done, decision

    def ended(self, ticket: Any, index: int, seconds: float, well: bool, at: float) -> None:
        self.now = at
        self.policy.ended(ticket, seconds, well)

    def reading(self, index: int, depth: int, read: float, at: float) -> None:
        self.now = at
        self.policy.reading(index, depth, read)
