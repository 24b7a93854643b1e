"""`Remedies`: looks at a running pipeline again and again, and does what its remedies say."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from warren.analytics.remedies.figures import Figures
from warren.analytics.remedies.readings import Collector
from warren.analytics.remedies.rules import Remedy
from warren.analytics.remedies.watching import Watching
from warren.core.clock import Duration
from warren.core.errors import DataError, GraphError
from warren.core.hooks import Controls
from warren.core.policies import Decision, Guard, Mode, Proposal, mode_of

__all__ = ["Remedies"]

_log = logging.getLogger("warren.remedies")

_KEPT = 10_000
_PROVEN = 3


class Remedies(Watching):
    """An observer that looks at its pipeline every so often, and does what remedies say: one `Pipeline` at a time.

    It starts in the shadow, a dry run: what would have been done is in ``decisions``, and nothing is. Each decision has
    the reason, what was set before (``static``), what was chosen and ``done``, and as inputs the figures ``before``, and
    ``after`` when it was undone; ``success`` says whether the rule was quiet by then. In the shadow that is whether the
    trouble went away by itself.

    - ``every``: how long lies between two looks
    - ``mode``: ``"shadow"``, or ``"act"``; see `promote`
    - ``health``: whether rules are given the pipeline's health, which asks the broker each time
    - ``metrics``: what rules may read metrics of: `Metrics` that the pipeline has as well, or a registry
    - ``record``: is called with each decision when it is made, and again when it is undone

    A rule or an action that raises changes nothing; the first time is logged, and ``errors`` counts them. Everything is
    undone when the pipeline ends. It costs the messages two additions for each chunk.

    Raises `GraphError` where a setting cannot work.

    >>> from warren import Pipeline
    >>> from warren.analytics.remedies import Remedy, pause
    >>> from warren.connectors import memory
    >>> remedies = Remedies([Remedy(lambda figures: figures.dead_share > 0.2, pause())])
    >>> Pipeline("orders", memory.items([]) | memory.into([])).observed(remedies).test([1, 2]).values, remedies.decisions
    ([1, 2], [])
    """

    def __init__(
        self,
        remedies: Sequence[Remedy],
        *,
        mode: str = "shadow",
        every: Duration = "5s",
        health: bool = False,
        metrics: Collector | None = None,
        record: Callable[[Decision], None] | None = None,
    ) -> None:
        super().__init__(every, health, metrics)
        self._states = [_State(each, Guard(each.name, "shadow", each.action.allowed)) for each in remedies]
        self.mode = mode
        names = [each.name for each in remedies]
        if len(set(names)) < len(names):
            raise GraphError(
                f"Remedies({', '.join(names)}): give each a name=... of its own, as records tell them apart by it"
            )
        self.record = record
        self._kept: deque[Decision] = deque(maxlen=_KEPT)
        self._number = 0

    @property
    def mode(self) -> Mode:
        """Whether it acts, or is a dry run; what is set holds from the next look on."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._mode: Mode = mode_of(mode, "Remedies")
        for state in self._states:
            state.guard.mode = self._mode

    @property
    def decisions(self) -> list[Decision]:
        """The latest ten thousand decisions."""
        return list(self._kept)

    @property
    def errors(self) -> int:
        """How often a rule or an action raised, or would have gone out of bounds."""
        return sum(state.guard.errors for state in self._states)

    @property
    def refused(self) -> int:
        """How often something was not done because it had been done ``at_most`` so often."""
        return sum(state.refused for state in self._states)

    def promote(self) -> None:
        """Let it act. Raises `DataError` unless the dry run shows that for each remedy there was trouble which outlasted it.

        That is, three times at least, and in half of the cases or more: what goes away by itself needs no remedy.
        """
        for state in self._states:
            ended = [each for each in self._kept if each.policy == state.remedy.name and each.success is not None]
            lasted = sum(not each.success for each in ended)
            if lasted < max(_PROVEN, len(ended) / 2):
                raise DataError(
                    f"{state.remedy.name}: of {len(ended)} time(s) in the dry run, {lasted} lasted longer than hold; let it "
                    f"run until {_PROVEN} have, and they are half of all, or give mode='act' if the proof is elsewhere"
                )
        self.mode = "act"

    def state(self) -> dict[str, Any]:
        """How often each was done lately, as plain values; `restore` takes them over after a restart."""
        return {"done": {state.remedy.name: list(state.done) for state in self._states}, "number": self._number}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self._number = state["number"]
        for each in self._states:
            each.done = deque(state["done"].get(each.remedy.name, ()))

    def look(self, figures: Figures, controls: Controls) -> None:
        """Do what is to be done, and undo what has been done for long enough."""
        for state in self._states:
            try:
                self._look(state, figures, controls)
            except Exception as error:
                state.guard.failed(error)

    def leave(self, figures: Figures, controls: Controls) -> None:
        """Undo what is still done."""
        for state in self._states:
            try:
                self._end(state, figures, controls, None)
            except Exception as error:
                state.guard.failed(error)

    def _look(self, state: _State, figures: Figures, controls: Controls) -> None:
        remedy, action = state.remedy, state.remedy.action
        reason = state.ask(figures)
        state.on(figures.at)
        if state.held is not None:
            if figures.at < state.since + remedy.hold:
                return
            self._end(state, figures, controls, not reason)
        if not reason:
            return
        before = action.now(controls)
        if before == action.to:
            return
        if len(state.done) >= remedy.count:
            state.refused += 1
            return
        self._number += 1
        seen = {"before": figures.plain()}
        decision = state.guard(self._number, figures.at, before, lambda: Proposal(action.to, 1.0, reason, seen))
        if decision.choice == before:
            return
        state.done.append(figures.at)
        if decision.done != before:
            told = {"pipeline": self._pipeline, "remedy": remedy.name, "reason": reason, "figures": seen["before"]}
            try:
                action.set(controls, decision.done, told)
            except Exception as error:
                state.guard.failed(error)
                decision.done, decision.success = before, False
                decision.reason = f"{reason}; it failed: {type(error).__name__}: {error}"
        self._kept.append(decision)
        self._tell(decision)
        if decision.success is None:
            state.held, state.since = decision, figures.at

    def _end(self, state: _State, figures: Figures, controls: Controls, success: bool | None) -> None:
        """Undo what was done, unless somebody has changed it meanwhile; where that fails, it is tried again."""
        decision, action = state.held, state.remedy.action
        if decision is None:
            return
        if decision.done != decision.static and action.now(controls) == decision.done:
            action.set(controls, decision.static, {})
        state.held = None
        decision.seconds, decision.success = max(figures.at - state.since, 0.0), success
        decision.inputs["after"] = figures.plain()
        self._tell(decision)

    def _tell(self, decision: Decision) -> None:
        if self.record is not None:
            try:
                self.record(decision)
            except Exception:
                _log.exception("a decision of %s was not recorded", decision.policy)


class _State:
    """A remedy, when it was done, and the decision that holds now."""

    def __init__(self, remedy: Remedy, guard: Guard) -> None:
        self.remedy, self.guard = remedy, guard
        self.done: deque[float] = deque()
        self.held: Decision | None = None
        self.since = 0.0
        self.refused = 0

    def on(self, at: float) -> None:
        """Time has passed; where the clock was turned back, what was done counts as done now."""
        self.since = min(self.since, at)
        self.done = deque(min(each, at) for each in self.done if each > at - self.remedy.span)

    def ask(self, figures: Figures) -> str:
        """Why something is to be done; empty where nothing is, or where the rule cannot say."""
        try:
            found = self.remedy.when(figures)
        except Exception as error:
            self.guard.failed(error)
            return ""
        return found if isinstance(found, str) else "the rule says so" if found else ""
