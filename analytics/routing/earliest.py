"""`EarliestFinish`: send each message where it will be done first."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import cycle
from math import isfinite
from typing import Any

from warren.analytics.gains import Gain
from warren.analytics.retries.pace import Rates
from warren.analytics.routing.crowd import Crowd
from warren.analytics.routing.effects import Effects
from warren.analytics.routing.lines import Flight, Line, QueueLine
from warren.analytics.routing.replay import replay
from warren.analytics.routing.together import Load, Newest, together
from warren.core.breaker import Breaker
from warren.core.chunk import apply_each
from warren.core.clock import Clock, Duration, seconds
from warren.core.errors import DataError, GraphError, shorten
from warren.core.policies import Decision, Guard, Mode, Past, Proposal, mode_of
from warren.core.weights import Weights

__all__ = ["EarliestFinish"]

_WORD = (1 << 64) - 1
_SMALLEST, _LARGEST = 1e-9, 1e15
_LATEST = 1e11
_RISK, _FORGIVE = 0.05, 0.98
_VERSION, _PAST = 1, 10_000
# Where more messages come in a second, those that come together share decisions, and what targets are reckoned to take
# may be so many seconds older than what was learned.
_DECISIONS, _HOLD = 400, 0.025


class EarliestFinish:
    """Chooses among equivalent targets the one where a message is expected to be done first, and learns how fast each is.

    What is expected is the work in flight at the target and that of the message, times the seconds that a unit of work takes
    there: usually, lately, and for messages of this kind. A target that fails several times in a row is left out, at most
    half of them at once, and tried with one message after a while.

    - ``size``: how large a message is, which its work grows with; all are as large unless given
    - ``kind``: what sort of message it is, where targets have different strengths
    - ``static``: what is done in the mode ``"shadow"``, and where the model fails; each target in turn unless given
    - ``mode``: ``"shadow"`` decides, records, and does what ``static`` says until `promote`; ``"act"`` does what it decides
    - ``ends``: ``"told"`` where the end of a message is that of its work, as with a branch that does it; ``"read"`` where it
      is only handed over, as with a queue: then `reading` must be told how deep each queue is
    - ``every``: how often a route tells it that, of the queues that its branches write to
    - ``explore``: the share of messages that go to any target; the probability of each choice is recorded
    - ``hope``: by how many deviations a target is thought faster than it seems, so that one little known is tried
    - ``failures``, ``cooldown``: how many in a row put a target aside, and for how long
    - ``patience``: after which a message nobody heard of again counts as lost
    - ``record``: called with each decision once its outcome is known, or it is lost
    - ``weights``: targets that get less for now, or nothing, turned down by hand
    - ``seed``: decides what is random; the same decisions come of the same seed, values and times

    It sends no message twice and drops none: the guarantee is that of the route it is given to. An error in it is logged
    once, and the static choice is made. Raises `GraphError` where a setting cannot work.

    >>> policy = EarliestFinish(mode="act", explore=0)
    >>> now = 0.0
    >>> policy.open(["eu", "us"], clock=lambda: now)
    >>> for took in [0.1, 0.4] * 5:
    ...     decision = policy.choose("a message")
    ...     now += 0.1 if decision.done == "eu" else 0.4
    ...     policy.ended(decision, 0.1, True)
    >>> policy("a message")
    'eu'
    """

    def __init__(
        self,
        *,
        size: Callable[[Any], float] | None = None,
        kind: Callable[[Any], Hashable] | None = None,
        static: Callable[[Any], Hashable] | None = None,
        mode: str = "shadow",
        ends: str = "told",
        every: Duration = "1s",
        explore: float = 0.01,
        hope: float = 0.3,
        failures: int = 3,
        cooldown: Duration = "2s",
        patience: Duration = "5m",
        record: Callable[[Decision], None] | None = None,
        weights: Weights | None = None,
        seed: int = 0,
    ) -> None:
        self.mode: Mode = mode_of(mode, "EarliestFinish")
        if ends not in ("told", "read"):
            raise GraphError(f"EarliestFinish(ends={ends!r}): ends are 'told', or 'read' from how deep queues are")
        self.every = seconds(every) if ends == "read" else None
        if self.every is not None and not 0.01 <= self.every <= 3600:
            raise GraphError(f"EarliestFinish(every={every!r}): read depths each hour at least, and not each 10 ms")
        if not 0 <= explore <= 0.5:
            raise GraphError(f"EarliestFinish(explore={explore}): explore a share of messages from 0 to 0.5")
        if not 0 <= hope <= 3:
            raise GraphError(f"EarliestFinish(hope={hope}): hope for 0 to 3 deviations")
        if failures < 1:
            raise GraphError(f"EarliestFinish(failures={failures}): a target is put aside after 1 failure or more")
        self.size = size
        self.kind = kind
        self.static = static
        self.ends = ends
        self.explore = explore
        self.hope = hope
        self.failures = failures
        self.cooldown = seconds(cooldown)
        self.patience = seconds(patience)
        self.record = record
        self.weights = weights or Weights()
        self.labels: list[Hashable] = []
        self.decisions = Past(_PAST)
        self._random = (seed * 0x9E3779B97F4A7C15 + 1) & _WORD
        self._state: Mapping[str, Any] | None = None

    @property
    def errors(self) -> int:
        """How many times the static choice was made as the model failed."""
        return self._guard.errors

    def open(self, targets: Sequence[Hashable], clock: Clock = time.time) -> None:
        """A run begins with these targets. What was learned of them stays; what was in flight is forgotten.

        Raises `GraphError` where there is none.
        """
        if not targets:
            raise GraphError("EarliestFinish has nothing to choose from: give the route branches")
        if self.labels:
            self._state = self.state()
        self.labels = list(targets)
        self._names = [str(label) for label in targets]
        self._places = {label: place for place, label in enumerate(self.labels)}
        self._clock, self._last, self._shift = clock, 0.0, 0.0
        self._lines: list[Line] = [Line() for _ in targets]
        self._crowd = Crowd(self._lines)
        self._queues: list[QueueLine] = [QueueLine() for _ in targets]
        self._held: Sequence[Line | QueueLine] = self._lines if self.ends == "told" else self._queues
        self._breakers = [Breaker(self.failures, self.cooldown, self._now) for _ in targets]
        self._aside: dict[int, None] = {}
        self._risk = [0.0] * len(self.labels)
        self._flying: dict[int, Flight] = {}
        self._guard = Guard("EarliestFinish", self.mode, self._places.__contains__)
        self._turns = cycle(self.labels)
        self._number = 0
        self._rates = Rates()
        self._run = 1
        self._newest = Newest()
        self._usual = 1.0
        self._effects = Effects(len(self.labels), self.hope)
        if self._state is not None:
            self._take(self._state, self.labels)

    def __call__(self, value: Any) -> Hashable:
        """The target of a value, for whoever tells nothing of its end."""
        label: Hashable = self.choose(value).done
        return label

    def choose(self, value: Any) -> Decision:
        """Where a value goes, and why. Raises `GraphError` before `open`."""
        if not self.labels:
            raise GraphError("EarliestFinish is asked before open(targets): hand it to route, or open it yourself")
        static = next(self._turns) if self.static is None else self.static(value)
        now = self._now()
        return self._decide(
            static, 1, lambda: (self.kind(value) if self.kind else "", float(self.size(value)) if self.size else 1.0), now
        )

    def deal(self, values: Sequence[Any]) -> tuple[list[tuple[Decision, Sequence[int]]], dict[int, Exception]]:
        """Where values that have come together go, by their places, and what ``static`` raised.

        Where more than 800 come in a second those that are alike share decisions, as if they were one message. Few that come
        within 10 ms join the newest one, and its first values stand for them.
        """
        now = self._now()
        self._rates.fade(now)
        self._rates.tried(len(values))
        self._run = int(self._rates.fresh / _DECISIONS)
        self._effects.hold = _HOLD * (self._run > 1)
        if self._run > 1:
            try:
                loads = together(values, self._run, self.static, self.kind, self.size)
            except Exception:  # one by one it shows which value it is
                pass
            else:
                before = self._number
                return [(self._share(load, before, now), load.places) for load in loads], {}
        decisions, errors = apply_each(self.choose, values)
        places = (place for place in range(len(values)) if place not in errors)
        return [(decision, (place,)) for decision, place in zip(decisions, places, strict=True)], errors

    def _share(self, load: Load, before: int, now: float) -> Decision:
        count, sized = len(load.places), _SMALLEST <= load.size <= _LARGEST
        flight = self._flying.get(self._newest.join(load, before, now)) if sized else None
        if flight is not None:
            self._lines[flight.place].more(flight.decision.number, self._effects.work(flight.kind, load.size), count, now)
            flight.decision.messages += count
            flight.decision.inputs["size"] += load.size
            return flight.decision
        static = load.static if self.static else next(self._turns)
        decision = self._decide(static, count, lambda: (load.kind, load.size), now)
        if sized and decision.inputs and self.ends == "told":
            self._newest.add(load, decision.number, self._run - count, now)
        return decision

    def _decide(self, static: Any, messages: int, load: Callable[[], tuple[Any, float]], now: float) -> Decision:
        self._number += 1
        # One that is hardly chosen for its failures would never show that it is well again.
        self._risk[self._number % len(self._risk)] *= _FORGIVE
        able = self.weights.places(self.labels)
        while len(able) < len(self.labels) and self._places.get(static, able[0]) not in able:
            static = next(self._turns)
        decision = self._guard(self._number, now, static, lambda: self._propose(*load(), messages, now, able))
        decision.messages = messages
        try:
            self._send(decision, now)
        except Exception as error:
            self._guard.failed(error)
        return decision

    def _now(self) -> float:
        """The time of the clock, if that does not go back; where it does, time goes on from where it was."""
        at = self._clock()
        if 0 <= at <= _LATEST:
            if at + self._shift < self._last:
                self._shift = self._last - at
            self._last = at + self._shift
        return self._last

    def _draw(self) -> float:
        self._random = (self._random * 6364136223846793005 + 1442695040888963407) & _WORD
        return (self._random >> 11) / (1 << 53)

    def _propose(self, kind: Any, size: float, messages: int, now: float, able: Sequence[int]) -> Proposal:
        kind = self._effects.kind(kind) if self.kind else ""
        if _SMALLEST <= size <= _LARGEST:
            self._usual += 0.02 * (size / messages - self._usual)
        else:
            size = self._usual * messages
        work = self._effects.work(kind, size)
        costs = []
        for line, (each, own), risk in zip(self._held, self._effects.all_seconds(kind, now), self._risk, strict=True):
            wait, slow = line.wait(each, now)
            # Where others wait, what a target is worse at than usual costs them as well.
            costs.append((wait * own / each + work * own * slow) / (1 - risk))
        inputs = {"size": size, "kind": kind, "costs": dict(zip(self._names, costs, strict=True))}
        for place in self._aside:
            if place in able and self._breakers[place].state == "half-open" and not len(self._held[place]):
                return Proposal(self.labels[place], 1.0, "probe", inputs)
        if self._aside and 2 * len(self._aside) <= len(costs):
            able = [place for place in able if place not in self._aside] or able
        best = costs.index(min(costs)) if type(able) is range else min(able, key=costs.__getitem__)
        if self.explore and self._draw() < self.explore:
            chosen = able[int(self._draw() * len(able))]
        else:
            chosen = best
        propensity = self.explore / len(able) + (1 - self.explore) * (chosen == best)
        return Proposal(self.labels[chosen], propensity, "earliest" if chosen == best else "explore", inputs)

    def _send(self, decision: Decision, now: float) -> None:
        place = self._places.get(decision.done)
        if place is None:
            return
        kind, size = decision.inputs.get("kind", ""), decision.inputs.get("size", self._usual)
        each, _ = self._effects.seconds(place, kind, now)
        self._held[place].send(decision.number, self._effects.work(kind, size), each, now, decision.messages)
        self._flying[decision.number] = Flight(decision, place, kind, size, now)
        oldest = next(iter(self._flying.values()))
        if now - oldest.at > self.patience:
            self._over(oldest, now)

    def _over(self, flight: Flight, now: float) -> float | None:
        del self._flying[flight.decision.number]
        served = self._held[flight.place].end(flight.decision.number, now)
        self._recorded(flight.decision)
        return served

    def _recorded(self, decision: Decision) -> None:
        self.decisions.append(decision)
        if self.record is not None:
            self.record(decision)

    def over(self) -> list[Decision]:
        """The decisions that are over since it was last asked, for whoever records them."""
        return self.decisions.new()

    def gain(self, decisions: Iterable[Decision] | None = None) -> Gain:
        """What it would have gained over the static choices, by decisions in shadow: its own newest, or those given."""
        return replay(self.decisions if decisions is None else decisions)

    def promote(self, decisions: Iterable[Decision] | None = None) -> Gain:
        """Let it act from now on. Raises `DataError` where decisions in shadow do not show that it gains."""
        gain = self.gain(decisions).proven("EarliestFinish", "decisions")
        self.mode = "act"
        if self.labels:
            self._guard.mode = "act"
        return gain

    def ended(self, decision: Decision, seconds: float, success: float) -> None:
        """What became of a value, or of several: ``success`` is the share of them that did well.

        What was not decided here, or has ended already, changes nothing.
        """
        try:
            flight = self._flying.get(decision.number)
            if flight is not None and flight.decision is decision:
                decision.seconds, decision.success = (seconds if isfinite(seconds) else None), success >= 0.5
                self._ended(flight, success, self._now())
        except Exception as error:
            self._guard.failed(error)

    def _ended(self, flight: Flight, share: float, now: float) -> None:
        place, breaker = flight.place, self._breakers[flight.place]
        success = share >= 0.5
        self._risk[place] += _RISK * (0.9 * (1 - share) - self._risk[place])
        if not success:
            breaker.failed()
            if breaker.state != "closed":
                self._aside[place] = None
                self._newest.clear()
        # What was sent before a target was put aside says nothing for it.
        elif breaker.state != "open":
            breaker.succeeded()
            if place in self._aside:
                del self._aside[place]
                self._risk[place] = 0.0
        if self.ends == "told" or not success:
            served = self._over(flight, now)
            if success and served is not None:
                self._effects.learn(place, flight.kind, flight.size, served, now)

    def reading(self, label: Hashable, depth: float | None, at: float) -> None:
        """A target's queue was so deep at a time, in seconds since 1970. What is no number, or of no target, is left out.

        With ``ends="read"`` a route tells it of what its branches write to, where that can say it; somebody else must
        otherwise. Where ends are told it may be: how many messages of all senders wait or are served there.
        """
        place = self._places.get(label)
        if place is None or depth is None or not isfinite(at) or not 0 <= depth < 1e18:
            return
        try:
            now = self._now()
            at = min(at + self._shift, now)
            if self.ends == "told":
                self._crowd.hear(place, depth, at)
                return
            each, _ = self._effects.seconds(place, "", now)
            gone, told = self._queues[place].hear(depth, at, each)
            for number in gone:
                flight = self._flying.pop(number, None)
                if flight is not None:
                    # Until it was seen to have gone; that it was handed over takes no time.
                    flight.decision.seconds, flight.decision.success = now - flight.at, True
                    self._recorded(flight.decision)
            if told is not None:
                self._effects.learn_many(place, told.work, told.messages, told.seconds, now)
        except Exception as error:
            self._guard.failed(error)

    def state(self) -> dict[str, Any]:
        """What was learned, as plain values: save it, and give it to `restore`. What is in flight is not part of it."""
        if not self.labels:
            raise GraphError("EarliestFinish has learned nothing before open(targets): there is no state to save")
        return {
            "version": _VERSION,
            "labels": [str(label) for label in self.labels],
            "random": self._random,
            "usual": self._usual,
            "risk": self._risk.copy(),
            "effects": self._effects.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what was learned; targets that are new know nothing yet.

        Raises `DataError` where it is of another version or damaged; then everything is as it was.
        """
        if state.get("version") != _VERSION:
            raise DataError(f"the state {shorten(state)} is none of EarliestFinish in version {_VERSION}; start without it")
        # Before a run there are no targets to take it over for, and what is damaged is refused all the same.
        self._take(state, self.labels or list(state.get("labels") or ()))
        self._state = state

    def _take(self, state: Mapping[str, Any], labels: Sequence[Hashable]) -> None:
        effects, risk = Effects(len(labels), self.hope), [0.0] * len(labels)
        try:
            saved = {label: place for place, label in enumerate(state["labels"])}
            places = {saved[str(label)]: place for place, label in enumerate(labels) if str(label) in saved}
            effects.restore(state["effects"], places)
            for was, place in places.items():
                risk[place] = min(max(float(state["risk"][was]), 0.0), 0.9)
            usual, random = float(state["usual"]), int(state["random"]) & _WORD
        except (LookupError, TypeError, ValueError) as error:
            raise DataError(f"the state of EarliestFinish is damaged ({error!r}); start without it") from error
        if labels is self.labels:
            self._effects, self._risk, self._usual, self._random = effects, risk, usual, random
