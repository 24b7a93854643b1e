"""`KneeSearch`: the least value of a knob with nearly the highest throughput, found while the knob is in use."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from math import exp, inf, isfinite, log
from typing import Any, NamedTuple

from warren.analytics.tuning.measuring import Measurement
from warren.core.clock import Duration, seconds
from warren.core.errors import DataError, GraphError, shorten
from warren.core.knobs import Knob
from warren.core.policies import Proposal

__all__ = ["KneeSearch"]

_VERSION = 1
_POINTS = 128
# Where calls are few, a measurement counts half after as many of them, if that is later.
_ENOUGH = 400
# Of the logarithm of throughput by that of the knob: slope and curvature before anything is known, and their deviations.
_UP, _DOWN = 0.2, -0.3
_THROUGHPUT = (0.6, -0.06, 0.3)
_LATENCY = (0.6, 0.1, 0.3)
_LATER = 0.8
_MODEL, _BENT = 0.015, 0.4
_TAIL = 3.0
# How much one may be wrong about a throughput for each unit of distance from what was tried, before it is called a change.
_FAR = 0.35
_LEAST, _SLOWLY = 0.25, 0.45
_SURE, _LIKELY = 4.5, 2.7
_COSTLY, _WIDEST = 0.04, 0.4
# Of what chance does not explain: how much of the newest is taken over, and the most, as a variance.
_LEARN, _NOISIEST = 0.1, 0.03
_SAFE, _NEAR, _HELPS = 0.03, 0.05, 0.25
_FULL, _DRAINED = 0.85, 1.3
_SHORTEST = 1e-9


class _Point(NamedTuple):
    place: float
    rate: float
    tail: float
    variance: float
    at: float


class KneeSearch:
    """Fits throughput by the value of the knob near where it is, and goes to the least value that is nearly the best.

    The fit is a parabola of logarithms, by least squares; old and distant measurements count less, and what is usual stands
    in for what is not known yet. A measurement that does not fit is a change: what was known before is dropped. Once it has
    found its place, it tries a little more and a little less now and then.

    - ``latency``: the longest that the quantile of the tuner may be; without one, only throughput counts
    - ``tolerance``: the share of throughput given up for a lower value
    - ``step``: by how much it may change at once, as a factor
    - ``probe``: by how much it tries, as a share; more where noise hides what comes of it
    - ``half_life``: after which a measurement counts half; later where calls are few, so that 400 of them count more

    Raises `GraphError` where a setting cannot work.

    >>> search = KneeSearch(Knob("concurrency", 1, 100, start=10))
    >>> value = 10
    >>> for at in range(40):
    ...     done = round(100 * min(value, 30))
    ...     value = search.propose(Measurement(at, 1.0, value, done, calls=done, mean=0.01, deviation=0.01)).choice
    >>> 25 <= search.centre <= 36
    True
    """

    def __init__(
        self,
        knob: Knob,
        *,
        latency: Duration | None = None,
        tolerance: float = 0.0125,
        step: float = 2.0,
        probe: float = 0.15,
        half_life: Duration = "20s",
    ) -> None:
        if not 0 < tolerance <= 0.2:
            raise GraphError(f"KneeSearch(tolerance={tolerance}): give up a share of throughput above 0, at most 0.2")
        if not 1.2 <= step <= 4:
            raise GraphError(f"KneeSearch(step={step}): change by a factor from 1.2 to 4 at once")
        if not 0.02 <= probe <= 0.5:
            raise GraphError(f"KneeSearch(probe={probe}): try a share from 0.02 to 0.5 more or less")
        self.knob = knob
        self.bound = inf if latency is None else seconds(latency)
        self.half_life = seconds(half_life)
        if not (self.bound > 0 and self.half_life > 0):
            raise GraphError("KneeSearch: latency and half_life must be longer than no time")
        self.tolerance = tolerance
        self.step = step
        self.probe = probe
        self.centre = float(knob.start)
        self.changes = 0
        self._points: deque[_Point] = deque(maxlen=_POINTS)
        self._odd = 0.0
        self._noise = 0.0
        self._memory = self.half_life
        self._slope = _UP
        self._turn = 0
        self._still = 0
        self._trust = log(step)
        self._ahead = 0.0

    def propose(self, measurement: Measurement) -> Proposal:
        """The next value. What is missing or was not limited by the knob teaches nothing, and the value stays."""
        m = measurement
        inputs = {"value": m.value, "throughput": m.throughput, "tail": m.tail, "in_flight": m.in_flight}
        usual = isfinite(m.at) and _SHORTEST <= m.seconds <= 1 / _SHORTEST and m.in_flight != inf
        if not (usual and m.value >= 1 and m.calls + m.failed > 0):
            return Proposal(self.knob.clip(self.centre), 1.0, "nothing measured", inputs)
        # A tail that breaks the bound says so, however many there are in flight.
        late = self._late(m)
        if m.in_flight < _FULL * m.value and not late:
            return Proposal(self.knob.clip(m.value), 1.0, "not the limit", inputs)
        changed = self._learn(m)
        if m.in_flight > _DRAINED * m.value and not late:
            # What began under an earlier value has not ended yet.
            return Proposal(self.knob.clip(m.value), 1.0, "draining", inputs)
        fit = self._fit(m.at)
        best = self._best(m, fit, late)
        moved = log(best / self.centre)
        small = abs(best - self.centre) <= max(self.probe * self.centre, 1.0)
        # What noise moves to and fro is followed slowly.
        follow = 1.0 if changed or late else _SLOWLY if small else max(_SLOWLY, self._trust / log(self.step))
        self.centre *= exp(follow * moved)
        self._trust_in(moved)
        self._still = self._still + 1 if small and not changed else 0
        reason = "changed" if changed else "late" if late else "settled" if small else "searching"
        value = self.knob.clip(self.centre)
        if small and not late:
            value = self._tried(value, m, fit)
            reason = reason if value == self.knob.clip(self.centre) else "probe"
        return Proposal(value, 1.0, reason, {**inputs, "centre": self.centre})

    def _trust_in(self, moved: float) -> None:
        """Go on in one direction with larger steps, and to and fro with smaller ones."""
        if moved * self._ahead < 0:
            self._trust *= 0.7
        elif abs(moved) > 0.8 * self._trust:
            self._trust *= 1.3
        self._trust = min(max(self._trust, _LEAST), log(self.step))
        self._ahead = moved

    def _late(self, m: Measurement) -> bool:
        """Whether the tail is over the bound by more than chance."""
        return m.tail > self.bound * exp(1.5 * (_TAIL * _variance(m)) ** 0.5)

    def _learn(self, m: Measurement) -> bool:
        """Keep a measurement; tells whether it shows that everything is different now."""
        rate = log(max(m.done, 0.5) / m.seconds)
        tail = log(m.tail) if m.tail > 0 and isfinite(m.tail) else -inf
        place = log(max(m.value, m.in_flight))
        self._memory = max(self.half_life, _ENOUGH * m.seconds / max(m.calls, 1))
        point = _Point(place, rate, tail, _variance(m), m.at)
        changed = False
        if self._points:
            if m.at < self._points[-1].at:
                self._points.clear()
                self.centre = float(self.knob.clip(m.value))
            else:
                changed = self._surprised(point)
        self._points.append(point)
        return changed

    def _surprised(self, point: _Point) -> bool:
        fit = _Fit(self._points, point.place, point.at, self._memory, (self._slope, *_THROUGHPUT), self._noise)
        far = min(abs(each.place - point.place) for each in self._points)
        expected = fit.variance + point.variance + _MODEL**2 + (_FAR * far) ** 2
        off = point.rate - fit.level
        odd = off / (expected + self._noise) ** 0.5
        twice = abs(odd) > _LIKELY and odd * self._odd > 0
        self._odd = odd if abs(odd) > _LIKELY else 0.0
        if abs(odd) <= _SURE and not twice:
            # What chance does not explain at all is what else the machine does.
            more = min(off * off, _LIKELY**2 * (expected + self._noise)) - 2 * expected
            self._noise = min(max(self._noise + _LEARN * (more - self._noise), 0.0), _NOISIEST)
            return False
        # The one before was the first of the new ones.
        last = self._points[-1] if twice else None
        self._points.clear()
        if last is not None:
            self._points.append(last)
        self._odd = self._ahead = 0.0
        self._trust = log(self.step)
        self._turn = 0
        # Too little is soon put right, as calls are quick then; too much is not.
        self._slope = _UP if odd > 0 else _DOWN
        self.changes += 1
        return True

    def _fit(self, at: float, *, tail: bool = False) -> _Fit:
        prior = (_LATER, *_LATENCY) if tail else (self._slope, *_THROUGHPUT)
        return _Fit(self._points, log(self.centre), at, self._memory, prior, self._noise, tail=tail)

    def _best(self, m: Measurement, fit: _Fit, late: bool) -> int:
        centre, step = self.knob.clip(self.centre), exp(self._trust)
        low, high = self.knob.clip(min(centre / step, centre - 1)), self.knob.clip(max(centre * step, centre + 1))
        steps = 32
        values = sorted({self.knob.clip(low * (high / low) ** (i / steps)) for i in range(steps + 1)} | {centre})
        if isfinite(self.bound) and any(isfinite(point.tail) for point in self._points):
            slow = self._fit(m.at, tail=True)
            # Where no value keeps the bound, those count that come as near to it as any.
            most = max(log(self.bound) - _SAFE, min(slow(log(value)) for value in values) + _NEAR)
            values = [value for value in values if slow(log(value)) <= most]
            if late and slow.slope > _HELPS:
                # What has just been too much is too much, whatever the fit says.
                less = self.knob.clip(m.value * max(self.bound / m.tail, 1 / self.step))
                values = [value for value in values if value <= less] or [max(less, self.knob.low)]
        rates = [fit(log(value)) for value in values]
        enough = max(rates) + log(1 - self.tolerance)
        return next(value for value, rate in zip(values, rates, strict=True) if rate >= enough)

    def _tried(self, value: int, m: Measurement, fit: _Fit) -> int:
        """The value, or now and then a little more or less, unless that is known to cost much."""
        # Soon after a change each second one, later each third.
        pause = 2 if self._still < 12 else 3
        self._turn += 1
        if self._turn % pause:
            return value
        up = self._turn // pause % 2 == 1
        share = max(self.probe, min(fit.doubt, _WIDEST))
        other = max(value * (1 + share), value + 1) if up else min(value / (1 + share), value - 1)
        if fit(log(value)) - fit(log(max(other, 1.0))) > _COSTLY and self._turn % (4 * pause) > pause:
            return value
        if up and isfinite(self.bound) and self._fit(m.at, tail=True)(log(other)) > log(self.bound) + _NEAR:
            return value
        return self.knob.clip(other)

    def state(self) -> dict[str, Any]:
        """What was learned, as plain values: save it, and give it to `restore`."""
        return {
            "version": _VERSION,
            "centre": self.centre,
            "turn": self._turn,
            "still": self._still,
            "odd": self._odd,
            "noise": self._noise,
            "slope": self._slope,
            "trust": self._trust,
            "ahead": self._ahead,
            "changes": self.changes,
            "points": [list(point) for point in self._points],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what was learned. Raises `DataError` where it is of another version or damaged."""
        if state.get("version") != _VERSION:
            raise DataError(f"the state {shorten(state)} is none of KneeSearch in version {_VERSION}; start without it")
        try:
            points = [_Point(*map(float, point)) for point in state["points"]]
            centre, odd, slope = float(state["centre"]), float(state["odd"]), float(state["slope"])
            trust, ahead = float(state["trust"]), float(state["ahead"])
            noise = float(state["noise"])
            turn, still, changes = int(state["turn"]), int(state["still"]), int(state["changes"])
            if not all(isfinite(number) for point in points for number in (noise, *point[:2], *point[3:])):
                raise ValueError("a measurement is no number")
        except (LookupError, TypeError, ValueError) as error:
            raise DataError(f"the state of KneeSearch is damaged ({error!r}); start without it") from error
        self._points = deque(points, maxlen=_POINTS)
        # The bounds may be others now.
        self.centre = (
            min(max(centre, float(self.knob.low)), float(self.knob.high)) if isfinite(centre) else float(self.knob.start)
        )
        self._noise = min(max(noise, 0.0), _NOISIEST)
        self._trust, self._ahead = min(max(trust, _LEAST), log(self.step)), ahead
        self._turn, self._still, self._odd, self._slope, self.changes = turn, still, odd, slope, changes


def _variance(m: Measurement) -> float:
    """Of the logarithm of the throughput that was measured."""
    spread = m.deviation / m.mean if m.mean > 0 and isfinite(m.deviation) else 1.0
    return min(max(spread * spread, 0.1), 9.0) / max(m.calls, 1) + 1e-5


class _Fit:
    """A parabola around a place: least squares with weights, and a prior for slope and curvature."""

    def __init__(
        self,
        points: Sequence[_Point] | deque[_Point],
        place: float,
        now: float,
        half_life: float,
        prior: tuple[float, float, float, float],
        noise: float,
        *,
        tail: bool = False,
    ) -> None:
        slope, slope_off, bend, bend_off = prior
        self.place = place
        a = [[1e-6, 0.0, 0.0], [0.0, slope_off**-2, 0.0], [0.0, 0.0, bend_off**-2]]
        b = [0.0, slope * slope_off**-2, bend * bend_off**-2]
        for point in points:
            y = point.tail if tail else point.rate
            if not isfinite(y):
                continue
            x = point.place - place
            # The tail of few is known worse than their rate; what is far off is no parabola.
            variance = point.variance * (_TAIL if tail else 1.0) + noise + _MODEL**2 + (_BENT * x * x) ** 2
            weight = 0.5 ** ((now - point.at) / half_life) / variance
            row = (1.0, x, x * x)
            for i in range(3):
                b[i] += weight * row[i] * y
                for j in range(3):
                    a[i][j] += weight * row[i] * row[j]
        self.level, self.slope, self.bend = _solve(a, b)
        self.variance = _solve(a, [1.0, 0.0, 0.0])[0]
        self.doubt = _solve(a, [0.0, 1.0, 0.0])[1] ** 0.5  # the deviation of the slope

    def __call__(self, place: float) -> float:
        x = place - self.place
        return self.level + self.slope * x + self.bend * x * x


def _solve(a: list[list[float]], b: list[float]) -> list[float]:
    """The solution of three equations whose matrix is symmetric and positive."""
    rows = [[*row, right] for row, right in zip(a, b, strict=True)]
    for i in range(3):
        for j in range(i + 1, 3):
            factor = rows[j][i] / rows[i][i]
            for k in range(i, 4):
                rows[j][k] -= factor * rows[i][k]
    found = [0.0, 0.0, 0.0]
    for i in (2, 1, 0):
        found[i] = (rows[i][3] - sum(rows[i][j] * found[j] for j in range(i + 1, 3))) / rows[i][i]
    return found
