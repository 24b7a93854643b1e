"""What goes wrong in one run, and how the network and the broker feel: all of it from one seed."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.brokers.model.faults import FAULTS

if TYPE_CHECKING:
    from tests.brokers.model.broker import ModelBroker

__all__ = ["Fault", "Schedule"]

# What a fault may wait for, so that it strikes when there is something to break: the next time that the broker has stored a
# message, delivered one, confirmed one, or read an acknowledgement. Not for longer than so many seconds.
MOMENTS = ("stored", "delivered", "confirmed", "settled")
PATIENCE = 1.0
# Cutting every few bytes is dear, so that a run has only so many of such cuts.
CUTS = 60


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong at a moment of virtual time, or at the first event after it that ``moment`` names.

    ``chance`` chooses whom it hits.
    """

    at: float
    kind: str
    lasts: float
    chance: float
    moment: str = ""

    def __str__(self) -> str:
        when = f", when next {self.moment}" if self.moment else ""
        return f"{self.at:9.4f} s  {self.kind} for {self.lasts:.3f} s at {self.chance:.3f}{when}"


class Schedule:
    """The choices of one run. Faults strike within ``span`` virtual seconds, and are over by ``calm_at``.

    ``kinds`` limits what goes wrong to some of `FAULTS`, and there are at ``most`` so many. Print a schedule to see what it
    holds. It counts what it has given out, so that a second run needs a new one.
    """

    def __init__(self, seed: int, *, span: float = 3.0, kinds: Collection[str] = tuple(FAULTS), most: int = 5) -> None:
        self.seed = seed
        self.span = span
        chance = self.random = random.Random(seed)
        self.base = chance.choice((0.0, 0.0002, 0.002, 0.02))
        self.spikes = chance.choice((0.0, 0.02, 0.1)) if self.base else 0.0
        self.cuts = chance.choice((0.0, 0.05, 0.3, 1.0))
        self.confirm_delay = chance.choice((0.0, 0.0, 0.001, 0.02, 0.3))
        self.together = chance.choice((0.0, 0.001, 0.02)) if self.confirm_delay else 0.0
        """How much earlier than due a confirm goes out, to go with another."""
        self.joined = chance.random() < 0.8
        """Whether confirms of a row are sent as one."""
        self.memory = chance.choice((0.0, 0.0, 0.05))
        """For how many seconds before a crash acknowledgements may be forgotten."""
        self.faults = (
            [self._fault(chance, kind) for kind in chance.choices(sorted(kinds), k=chance.randint(1, most))] if kinds else []
        )
        self.struck: list[Fault] = []
        """The faults that have found somebody to hit."""
        self.faults.sort(key=lambda fault: fault.at)
        self.calm_at = max((fault.at + fault.lasts + PATIENCE * bool(fault.moment) for fault in self.faults), default=0.0)
        self.poised: dict[str, list[Fault]] = {}
        """The faults that wait for a moment of a kind."""
        self.small_cuts = CUTS if self.cuts == 1.0 else 0
        self.refusing = 0.0
        """How likely a publish is refused, now."""
        self.slowness = 0.0
        """How many seconds confirms take longer, now."""

    @classmethod
    def calm(cls) -> Schedule:
        """Nothing goes wrong and nothing takes time."""
        schedule = cls(0, kinds=())
        schedule.base = schedule.spikes = schedule.cuts = schedule.confirm_delay = schedule.together = schedule.memory = 0.0
        schedule.joined = True
        schedule.small_cuts = 0
        return schedule

    def __str__(self) -> str:
        feel = f"latency {self.base} s, spikes {self.spikes}, cuts {self.cuts}, confirms after {self.confirm_delay} s"
        feel += f" joined within {self.together} s" if self.joined else " one by one"
        return "\n".join([f"schedule {self.seed}: {feel}, forgets {self.memory} s", *map(str, self.faults)])

    def _fault(self, chance: random.Random, kind: str) -> Fault:
        at = self.span * chance.random() ** chance.choice((1, 3))
        shortest, longest = FAULTS[kind].lasts
        lasts = shortest + (longest - shortest) * chance.random() ** 2
        return Fault(at, kind, lasts, chance.random(), chance.choice(("", "", *MOMENTS)))

    def start(self, broker: ModelBroker) -> None:
        """Let the faults strike a broker."""
        for fault in self.faults:
            broker.loop.call_at(fault.at, self._poise if fault.moment else self._strike, broker, fault)

    def _poise(self, broker: ModelBroker, fault: Fault) -> None:
        self.poised.setdefault(fault.moment, []).append(fault)
        broker.loop.call_later(PATIENCE, self._no_longer, broker, fault)

    def _no_longer(self, broker: ModelBroker, fault: Fault) -> None:
        if fault in self.poised.get(fault.moment, ()):
            self.poised[fault.moment].remove(fault)
            self._strike(broker, fault)

    def now(self, broker: ModelBroker, moment: str) -> None:
        """A moment of that kind has come."""
        for fault in self.poised.pop(moment, ()):
            self._strike(broker, fault)

    def _strike(self, broker: ModelBroker, fault: Fault) -> None:
        if FAULTS[fault.kind].strike(broker, fault):
            self.struck.append(fault)

    # What the network and the broker ask

    def latency(self) -> float:
        """How long the bytes written now are under way."""
        if not self.base:
            return 0.0
        value = self.random.random()
        return self.base * (value if value >= self.spikes else 20 * value / self.spikes)

    def cut(self, size: int) -> int:
        """After how many of the bytes that arrive together the rest is to come later; 0 if they are not cut."""
        if not self.cuts or size < 2:
            return 0
        if self.small_cuts:
            self.small_cuts -= 1
            return self.random.randint(1, min(size - 1, 9))
        return self.random.randrange(1, size) if self.random.random() < min(self.cuts, 0.3) else 0

    def confirmation(self, now: float) -> tuple[bool, float, bool]:
        """Of a publish: whether it is refused, when that is said, and whether it is stored all the same."""
        delay = self.confirm_delay and self.confirm_delay * self.random.random()
        if self.slowness:
            delay += self.slowness * self.random.random()
        refused = bool(self.refusing) and self.random.random() < self.refusing
        return refused, delay, not refused or self.random.random() < 0.5

    def survives(self) -> bool:
        """Whether one message, of which the broker promised nothing, outlives a crash."""
        return self.random.random() < 0.5
