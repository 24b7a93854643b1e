"""`Tuner`: turns a knob of a step by what is measured there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf, nan
from typing import Any

import numpy as np

from warren.analytics.gains import Gain
from warren.analytics.tuning.knee import KneeSearch
from warren.analytics.tuning.measuring import Controller, Interval, Measurement
from warren.analytics.tuning.replay import replay
from warren.core.clock import Clock, Duration, seconds
from warren.core.errors import DataError, GraphError, shorten
from warren.core.knobs import Calls, Knob
from warren.core.policies import Decision, Guard, Mode, Past, mode_of

__all__ = ["Tuner"]

_VERSION = 1
_LONGEST = 1e9


class Tuner:
    """A setting that tunes itself: hand it to a step in place of a number, such as ``map(call, concurrency=Tuner(knob))``.

    Calls are measured for an interval; then a controller says which value is next. In the mode ``"shadow"`` the knob stays
    at its start and what would be done is recorded, until `promote`; in ``"act"`` it is done. A controller that raises, or
    answers with what is out of bounds, is not followed: the value is the start again, and that is logged once.

    - ``knob``: its bounds and its start, which is the static setting
    - ``controller``: what decides; a `KneeSearch` unless given
    - ``latency``: how long the ``quantile`` of the calls may take at most, for the usual controller
    - ``interval``: how long is measured; four times as long where fewer than ``least`` calls have ended
    - ``record``: called with each decision once its outcome is known: its ``seconds`` is then the mean of a call
    - ``keep``: how many of them, the newest, are kept in ``decisions``

    It changes how many messages are handled at once, never which: the guarantee is that of the step. Nothing in it is random
    and it reads no clock but that of the run. Raises `GraphError` where a setting cannot work.

    >>> tuner = Tuner(Knob("concurrency", 1, 64, start=8), mode="act")
    >>> now = 0.0
    >>> tuner.open(lambda: now)
    >>> for _ in range(20_000):
    ...     now += 0.001 if tuner.value >= 20 else 0.02 / tuner.value
    ...     tuner.ended(max(tuner.value * 0.001, 0.02), in_flight=tuner.value)
    >>> 16 <= tuner.value <= 26
    True
    """

    def __init__(
        self,
        knob: Knob,
        controller: Controller | None = None,
        *,
        mode: str = "shadow",
        latency: Duration | None = None,
        quantile: float = 0.95,
        interval: Duration = "500ms",
        least: int = 100,
        record: Callable[[Decision], None] | None = None,
        keep: int = 10_000,
    ) -> None:
        self.mode: Mode = mode_of(mode, "Tuner")
        if controller is not None and latency is not None:
            raise GraphError("Tuner: latency= is for the usual controller; give it to your own instead")
        if not 0 < quantile < 1:
            raise GraphError(f"Tuner(quantile={quantile}): a quantile lies between 0 and 1")
        if least < 1:
            raise GraphError(f"Tuner(least={least}): measure 1 call or more")
        if keep < 1:
            raise GraphError(f"Tuner(keep={keep}): keep 1 decision or more")
        self.knob = knob
        self.controller: Controller = controller or KneeSearch(knob, latency=latency)
        self.bound = inf if latency is None else seconds(latency)
        self.quantile = quantile
        self.interval = seconds(interval)
        if not self.interval > 0:
            raise GraphError("Tuner: interval must be longer than no time")
        self.least = least
        self.record = record
        self.decisions = Past(keep)
        self._value = knob.start
        self._guard = Guard(f"Tuner({knob.name})", self.mode, self._allowed)
        self._clock: Clock = time.time
        self._number = 0
        self._last: Decision | None = None
        self._mean = 0.0
        self._begin(0.0)

    @property
    def value(self) -> int:
        """What holds now."""
        return self._value

    @property
    def errors(self) -> int:
        """How many times the static setting was taken as the controller failed."""
        return self._guard.errors

    def _allowed(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.knob.low <= value <= self.knob.high

    def open(self, clock: Clock = time.time) -> None:
        """A run begins, with this clock. What was learned stays; what was being measured is forgotten."""
        self._clock = clock
        self._last = None
        self._begin(clock())

    def ended(self, seconds: float, success: bool = True, *, in_flight: float = nan, count: int = 1) -> None:
        """A call has ended. Where the interval is over as well, the value may be another one after this."""
        now = self._clock()
        if not (self._counts(now) and 0 <= seconds <= _LONGEST):
            return
        interval = self._interval
        interval.flying += in_flight
        if success:
            interval.took.append(seconds)
            interval.done += count
        else:
            interval.failed += 1
        if now >= self._due:
            self._look(now)

    def ended_together(self, calls: Calls) -> None:
        """Calls with one message each have ended, the last of them now."""
        took = np.frombuffer(calls.took)
        if self._counts(calls.first) and 0 <= took.min(initial=0) <= took.max(initial=0) <= _LONGEST:
            interval = self._interval
            interval.took += calls.took
            interval.done += len(calls.took)
            interval.failed += len(calls.failed)
            interval.flying += calls.flying
            if calls.last >= self._due:
                self._look(calls.last)

    def _counts(self, now: float) -> bool:
        """Whether what ends now began under the value that holds."""
        early = self._interval.start - now
        if early > 4 * self.interval:
            # The clock was turned back.
            self._begin(now)
        return early <= 0

    def _look(self, now: float) -> None:
        """Decide, now that it is due, if enough calls have ended."""
        if len(self._interval) >= self.least or now >= self._interval.start + 4 * self.interval:
            self._decide(now)

    def _decide(self, now: float) -> None:
        found = self._interval.measured(now, self._value, self.quantile)
        if found.done:
            self._mean = found.mean
        if self._last is not None:
            self._over(self._last, found)
        self._number += 1
        decision = self._last = self._guard(self._number, now, self.knob.start, lambda: self.controller.propose(found))
        changed = decision.done != self._value
        self._value = decision.done
        # What is in flight went out under the old value.
        self._begin(now + min(self._mean, 2 * self.interval) if changed else now)

    def _over(self, decision: Decision, found: Measurement) -> None:
        """What came of a decision is known: what was measured while it held."""
        decision.seconds = found.mean if found.done else None
        decision.success = found.done > 0
        decision.messages = found.done
        decision.inputs = {**decision.inputs, "held": found.value, "span": found.seconds, "tail": found.tail}
        self.decisions.append(decision)
        if self.record is not None:
            try:
                self.record(decision)
            except Exception as error:
                self._guard.failed(error)

    def over(self) -> Sequence[Decision]:
        """The decisions that are over since it was last asked, for whoever records them."""
        return self.decisions.new()

    def gain(self, decisions: Iterable[Decision]) -> Gain:
        """What turning the knob gained in a replay: of decisions made in the shadow, and of others that were acted on."""
        return replay(decisions, self.bound)

    def promote(self, decisions: Iterable[Decision]) -> Gain:
        """Let it act from now on. Raises `DataError` where the decisions do not show that it gains.

        They are those of two replays of one flow, such as ``[*shadow.decisions, *acting.decisions]``.
        """
        gain = self.gain(decisions).proven(f"Tuner({self.knob.name})", "decisions")
        self.mode = self._guard.mode = "act"
        return gain

    def _begin(self, start: float) -> None:
        self._interval = Interval(start)
        self._due = start + min(max(self.interval, 4 * self._mean), 4 * self.interval)

    def state(self) -> dict[str, Any]:
        """What was learned, as plain values: save it, and give it to `restore`."""
        return {"version": _VERSION, "value": self._value, "mean": self._mean, "controller": self.controller.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what was learned. Raises `DataError` where it is damaged; then everything is as it was."""
        if state.get("version") != _VERSION:
            raise DataError(f"the state {shorten(state)} is none of Tuner in version {_VERSION}; start without it")
        try:
            value, mean = self.knob.clip(float(state["value"])), float(state["mean"])
            if not 0 <= mean < float("inf"):
                raise ValueError(f"{mean} is no time")
            self.controller.restore(state["controller"])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the state of Tuner is damaged ({error!r}); start without it") from error
        self._mean = mean
        if self.mode == "act":
            self._value = value
