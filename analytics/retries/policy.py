"""`AdaptiveBackoff`: a policy for `retry` that learns when a failure is worth another attempt, and when not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from copy import copy
from math import inf, isfinite
from typing import Any

from warren.analytics.gains import Gain
from warren.analytics.masking import template
from warren.analytics.retries.curve import Curve
from warren.analytics.retries.pace import Pace, Pulse, Rates
from warren.analytics.retries.replay import replay
from warren.core.clock import Duration, seconds
from warren.core.errors import DataError, GraphError, shorten
from warren.core.policies import Decision, Mode, Past, mode_of
from warren.operators.backoff import Backoff, exponential

__all__ = ["AdaptiveBackoff"]

_log = logging.getLogger("warren.analytics")
_VERSION = 2
_CLASSES = 64
_OTHER = "(other)"
_KEPT, _PAST = 1000, 10_000
_PROBE = 0.02
_HOPELESS = 0.05
_SHARE, _FLOOR, _PROBES, _GROWTH = 0.2, 0.05, 0.01, 3.0
_SLOWEST = 0.1
_SET_BACK, _LONG = 10.0, 1e6
_TOGETHER, _MOMENT = 16, 0.005
_WORD = (1 << 64) - 1


class AdaptiveBackoff:
    """Chooses from what became of earlier attempts how long to wait before the next, and whether there should be one.

    For each class of errors (``kind``) it keeps how often attempts succeeded after which delay, and takes the delay that
    costs the least, a call counting as much as ``initial``; waits are spread over all delays that cost about the same. One
    wait in twenty is a little shorter or longer, to find out. A class of which hardly any attempt succeeds (less than 5 %,
    with 97.5 % confidence) is given up at once, but for one failure in fifty. What fails while all else fails too says
    little about its class: an outage is no verdict.

    Retries of a class go one after the other, about as fast as they succeed, and all together no faster than a fifth of
    what succeeds (or three times the retries that do, or one every ``initial``, if that is more): clients that contend take
    turns. While nothing succeeds at all, one call in a hundred is tried again. What would wait longer than ``maximum`` is
    given up.

    - ``initial``, ``maximum``, ``attempts``: as with `exponential`; no delay and no number of attempts goes beyond these
    - ``usual``: the policy that counts while ``mode`` is ``"shadow"`` and after an error in here; by default exponential
      with full jitter
    - ``mode``: ``"shadow"`` decides, records it in `decisions` and changes nothing; ``"act"`` has it count at once, without
      the proof that `promote` asks for
    - ``classify``: the class of an error; by default its type and text without numbers, names and ids
    - ``seed``: equal seeds and equal outcomes give equal decisions

    After an error in here, which is logged, the usual policy counts; `broken` says what it was. `state` and `restore` carry
    what was learned over a restart. Raises `GraphError` where a setting cannot work.

    >>> policy = AdaptiveBackoff("100ms", attempts=4, mode="act")
    >>> busy = ConnectionError("busy")
    >>> 0 <= policy.wait(1, busy, "busy", 0.0) <= 0.3, policy.wait(4, busy, "busy", 1.0)
    (True, None)
    """

    def __init__(
        self,
        initial: Duration = "200ms",
        *,
        attempts: int = 5,
        maximum: Duration = "5m",
        usual: Backoff | None = None,
        mode: Mode = "shadow",
        classify: Callable[[Exception], str] | None = None,
        seed: int = 0,
    ) -> None:
        self.initial, self.maximum = seconds(initial), seconds(maximum)
        if not 0 < self.initial <= self.maximum < inf:
            raise GraphError(
                f"AdaptiveBackoff({initial!r}, maximum={maximum!r}): the initial delay is above 0 and no longer than maximum"
            )
        self.usual = usual or exponential(initial, attempts=attempts, maximum=maximum, jitter="full")
        if not callable(self.usual):
            raise GraphError(f"AdaptiveBackoff(usual={usual!r}): give a policy such as exponential('200ms')")
        if attempts < 1:
            raise GraphError(f"AdaptiveBackoff(attempts={attempts}): it must be at least 1; the first try counts")
        self.attempts = attempts
        self.mode: Mode = mode_of(mode, "AdaptiveBackoff")
        self.broken = ""
        self.__name__ = f"adaptive({initial})"
        self._classify = classify or template
        self._draws = seed & _WORD
        self._clock: float | None = None
        self._now = 0.0
        self._curves: dict[str, Curve] = {}
        self._paces: dict[str, Pace] = {}
        self._whole = Pace(1 / self.initial)
        self._rates = Rates()
        self._pulse = Pulse()
        self._probes = Pace(1 / self.maximum)
        # Outcomes are taken in, and bounds drawn, for several retries at once.
        self._told: list[tuple[str, float, int, bool, float]] = []
        self._until, self._left = -inf, 0
        self._stopped, self._least, self._most = False, 0.0, 0.0
        self._number = 0
        self._past = Past(_PAST)
        # Those with one delay of one class cannot be told apart, nor need they be.
        self._open: dict[tuple[str, int, float], list[Decision]] = {}
        self._pending = 0

    def __call__(self, failed: int) -> float | None:
        """What the usual policy says, for whoever knows no more than how many attempts have failed."""
        return self.usual(failed)

    @property
    def decisions(self) -> Past:
        """The newest decisions that are over."""
        self._learn()
        return self._past

    def kind(self, error: Exception) -> str:
        """The class of an error: its type and its text, without what differs from one to the next."""
        try:
            return self._classify(error)
        except Exception as problem:
            self._break(problem)
            return ""

    def wait(self, failed: int, error: Exception, kind: str, now: float) -> float | None:
        """Seconds to wait after so many attempts have failed, or ``None`` to give up; ``now`` in seconds since 1970."""
        failed = max(1, failed)
        usual = self.usual(failed)
        if self.broken:
            return usual
        try:
            decision = self._decide(failed, usual, self._known(kind or self.kind(error)), self._time(now))
        except Exception as problem:
            self._break(problem)
            return usual
        delay: float | None = decision.done
        if delay is not None:
            if self._pending >= _KEPT:
                self._past.append(self._close(next(iter(self._open))))  # type: ignore[arg-type]  # there is one
            key = decision.inputs["kind"], failed + 1, delay
            if (same := self._open.get(key)) is None:
                self._open[key] = [decision]
            else:
                same.append(decision)
            self._pending += 1
        else:
            self._past.append(decision)
        return delay

    def ended(self, kind: str, delay: float, attempts: int, ok: bool, now: float) -> None:
        """An attempt, the ``attempts``-th of its message, has ended ``delay`` seconds after it was decided on and a call."""
        if self.broken or not isfinite(delay) or delay < 0 or attempts < 2:
            return
        now = self._time(now)
        self._told.append((kind, delay, attempts, ok, now))
        if now >= self._until or len(self._told) >= _TOGETHER:
            self._learn()
            self._until, self._left = now + _MOMENT, 0

    def _learn(self) -> None:
        """Take in the outcomes that were told."""
        told, self._told = self._told, []
        try:
            for kind, delay, attempts, ok, now in told:
                self._take_in(self._known(kind), delay, attempts, ok, now)
        except Exception as problem:
            self._break(problem)

    def _take_in(self, kind: str, delay: float, attempts: int, ok: bool, now: float) -> None:
        rates, trust = self._rates, 1.0
        rates.fade(now)
        if ok:
            rates.succeeded(1, again=True)
            self._pulse.good(now)
        else:
            trust = min(1.0, rates.good / rates.fresh) if rates.fresh else 0.0
        curve, decision = self._curves[kind], self._close((kind, attempts, delay))
        queued = False
        if decision is not None:
            if decision.mode == "act":
                queued = decision.inputs["queued"]
                self._paces[kind].ended(ok, decision.inputs["gap"], queued)
            decision.seconds, decision.success = now - decision.at, ok
            self._past.append(decision)
        # How long a retry waited for its turn says nothing of how long it should wait.
        if not queued:
            curve.learn(attempts - 1, delay, ok, now)
        curve.judge(ok, trust)

    def succeeded(self, count: int, now: float) -> None:
        """So many messages succeeded at the first attempt."""
        if self.broken or count <= 0:
            return
        now = self._time(now)
        self._rates.fade(now)
        self._rates.tried(count)
        self._rates.succeeded(count)
        self._pulse.good(now)

    def _decide(self, failed: int, usual: float | None, kind: str, now: float) -> Decision:
        if failed == 1:
            self._rates.tried(1)
        self._pulse.bad(now)
        if not self._left or now >= self._until:
            self._look(now)
        self._left -= 1
        if failed >= self.attempts:
            return self._made(now, kind, failed, usual, None, 1.0, "the last attempt")
        curve, probe = self._curves[kind], 1.0
        if curve.hope < _HOPELESS:
            if self._draw() >= _PROBE:
                return self._made(now, kind, failed, usual, None, 1 - _PROBE, "hardly any attempt ever succeeded")
            probe = _PROBE
        chance, most = self._draw(), self._most
        if self._stopped:
            # Moments that are given away now lie far ahead; those of better times do not queue behind them.
            pace = whole = self._probes
        else:
            pace, whole = self._paces[kind], self._whole
        queued = max(pace.free, whole.free) - now
        delay, propensity, paced = 0.0, 1.0, pace.crowded
        reason = "what succeeded after which delay"
        if not paced:  # otherwise there is no need to look which delay would be best
            delay, propensity = curve.choose(failed, chance)
            paced = queued > delay
        if paced:
            if queued > self.maximum:
                return self._made(now, kind, failed, usual, None, 1.0, "too many retries wait already")
            delay, reason = min(max(0.0, queued) + chance / pace.rate / 2, self.maximum), "the next free moment"
        pace.take(now, self._least, most)
        if whole is not pace:
            whole.take(now, most, most)
        return self._made(now, kind, failed, usual, delay, propensity * probe, reason, paced, 1 / pace.rate)

    def _look(self, now: float) -> None:
        """Take in what was told, and draw the bounds of the next few retries."""
        self._learn()
        rates = self._rates
        rates.fade(now)
        good = rates.good
        self._most = most = max(1 / self.initial, _SHARE * good, _GROWTH * rates.again)
        self._least = least = min(max(_SLOWEST / self.maximum, _PROBES * rates.fresh), most)
        self._stopped = self._pulse.stopped(now)
        if self._stopped:
            self._most = least
        else:
            self._least = min(max(least, _FLOOR * good), most)
        self._until, self._left = now + _MOMENT, _TOGETHER

    def _made(
        self,
        now: float,
        kind: str,
        failed: int,
        usual: float | None,
        choice: float | None,
        propensity: float,
        reason: str,
        queued: bool = False,
        gap: float = 0.0,
    ) -> Decision:
        self._number += 1
        inputs = {"kind": kind, "failed": failed, "hope": self._curves[kind].hope, "queued": queued, "gap": gap}
        done = choice if self.mode == "act" else usual
        return Decision(self.__name__, self._number, now, choice, usual, done, propensity, self.mode, reason, inputs)

    def _close(self, key: tuple[str, int, float]) -> Decision | None:
        """The oldest open decision of a class, attempt and delay."""
        if (some := self._open.get(key)) is None:
            return None
        self._pending -= 1
        decision = some.pop(0)
        if not some:
            del self._open[key]
        return decision

    def _known(self, kind: str) -> str:
        if kind not in self._curves:
            if len(self._curves) >= _CLASSES:
                kind = _OTHER
            self._curves.setdefault(kind, Curve(self.initial, self.maximum))
            self._paces.setdefault(kind, Pace(1 / self.initial))
        return kind

    def _time(self, now: float) -> float:
        """The time as it has passed: a clock that tells nothing stands still, one that is set back goes on from there."""
        past = now - self._clock if self._clock is not None else 0.0
        if 0 < past <= _LONG:
            self._clock = now
            self._now += past
        elif self._clock is None and isfinite(now):
            self._clock = self._now = now
        elif isfinite(now) and (past > 0 or past < -_SET_BACK):
            self._clock = now
            self._now += min(max(0.0, past), _LONG)
        return self._now

    def _draw(self) -> float:
        """A number from 0 to 1 by SplitMix64, whose state is one number and so is easily kept."""
        self._draws = x = (self._draws + 0x9E3779B97F4A7C15) & _WORD
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _WORD
        x = (x ^ x >> 27) * 0x94D049BB133111EB & _WORD
        return ((x ^ x >> 31) >> 11) / (1 << 53)

    def _break(self, problem: Exception) -> None:
        if self.broken:
            return
        self.broken = f"{type(problem).__name__}: {problem}"
        _log.error(
            "%s: the usual policy counts from now on, after an error in what was learned", self.__name__, exc_info=problem
        )

    def over(self) -> list[Decision]:
        """The decisions that are over since it was last asked."""
        return self.decisions.new()

    def gain(self) -> Gain:
        """What the learned policy would have gained, by the decisions in `decisions` that were made in shadow."""
        return replay(self.decisions, self.initial, self.maximum)

    def promote(self) -> Gain:
        """Let it act from now on. Raises `DataError` where its decisions in shadow do not show that it gains."""
        gain = self.gain().proven(self.__name__, "retries")
        self.mode = "act"
        return gain

    def state(self) -> dict[str, Any]:
        """What was learned, as numbers, texts, lists and dicts."""
        self._learn()
        self._until = -inf
        return {
            "version": _VERSION,
            "delays": [self.initial, self.maximum],
            "draws": self._draws,
            "clock": self._clock,
            "now": self._now,
            "curves": {kind: curve.state() for kind, curve in self._curves.items()},
            "paces": {kind: pace.state() for kind, pace in self._paces.items()},
            "whole": self._whole.state(),
            "rates": self._rates.state(),
            "pulse": self._pulse.state(),
            "probes": self._probes.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave, of a policy with the same delays.

        Raises `DataError` where it is damaged, or of another version or other delays; then everything is as it was.
        """
        delays = [self.initial, self.maximum]
        if state.get("version") != _VERSION or state.get("delays") != delays:
            raise DataError(
                f"the state {shorten(state)} is none of {self.__name__} in version {_VERSION} with delays from "
                f"{delays[0]:g} to {delays[1]:g} s; start without it"
            )
        self._learn()
        mine = copy(self)
        mine._until = -inf
        try:
            mine._take(state)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the state of {self.__name__} is damaged ({error!r}); start without it") from error
        self.__dict__.update(mine.__dict__)

    def _take(self, state: Mapping[str, Any]) -> None:
        _check_numbers(state)
        self._draws, self._now = int(state["draws"]) & _WORD, float(state["now"])
        self._clock = None if state["clock"] is None else float(state["clock"])
        self._curves, self._paces = {}, {}
        for kind, known in state["curves"].items():
            if kind != self._known(kind):
                raise ValueError(f"more than {_CLASSES} classes")
            self._curves[kind].restore(known)
            self._paces[kind].restore(state["paces"][kind])
        self._whole, self._probes = Pace(1 / self.initial), Pace(1 / self.maximum)
        self._pulse, self._rates = Pulse(), Rates()
        self._whole.restore(state["whole"])
        self._pulse.restore(state["pulse"])
        self._probes.restore(state["probes"])
        self._rates.restore(state["rates"])


def _check_numbers(state: Any) -> None:
    """Raise `ValueError` for a number that nothing can be counted with."""
    if isinstance(state, Mapping):
        state = list(state.values())
    if isinstance(state, list):
        for each in state:
            _check_numbers(each)
    elif isinstance(state, float) and not state < inf:
        raise ValueError(f"{state} is no measurement")
