"""Whatever rules say of whatever figures: within bounds, not too often, on record, and undone."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import nan
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from warren import Pipeline
from warren.analytics.remedies import Action, Figures, Remedies, Remedy, beyond, change, pause, scale, shift
from warren.connectors import memory
from warren.core.health import Health
from warren.core.knobs import Dial, Knob
from warren.core.policies import Decision
from warren.core.weights import Weights
from warren.operators import map

ANSWERS = st.sampled_from([None, False, True, "", "a reason", nan, RuntimeError("no model")])
NUMBERS = st.one_of(st.floats(), st.sampled_from([nan, 0.0, 1e300]), st.integers(-5, 5).map(float))
# Seconds until the next look: late ones, several at once, and a clock that is turned back.
STEPS = st.one_of(st.floats(0, 10), st.floats(10, 4000), st.floats(-5000, 0))


class Plant:
    """What remedies act on: values with bounds, which somebody else may change too, and which may refuse."""

    clock = staticmethod(time.time)

    def __init__(self) -> None:
        self.stopped = self.refuses = False
        self.dial, self.weights = Dial(Knob("calls", 1, 8, start=2)), Weights()
        self.region = "eu"
        self.changes: list[tuple[str, Any]] = []

    def paused(self, source: str | None = None) -> bool:
        return self.stopped

    def pause(self, source: str | None = None, *, on: bool = True) -> None:
        self.note("pause", on)
        self.stopped = on

    async def health(self, patience: float) -> Health:
        return Health(name="plant")

    def move(self, to: str) -> None:
        self.note("region", to)
        self.region = to

    def note(self, what: str, value: Any) -> None:
        if self.refuses:
            raise OSError("read only")
        self.changes.append((what, value))

    def now(self) -> tuple[Any, ...]:
        return self.stopped, self.dial.value, self.weights["eu"], self.region

    def actions(self) -> dict[str, Action]:
        return {
            "pause": pause(),
            "scale": scale(self.dial, 8),
            "shift": shift(self.weights, "eu", 0.25),
            "region": change("region", lambda: self.region, self.move, "us", allowed=["eu", "us"]),
        }


def saying(answers: list[Any]) -> Callable[[Figures], Any]:
    """A rule that says one after the other, and then nothing."""
    left = iter(answers)

    def rule(figures: Figures) -> Any:
        answer = next(left, None)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return rule


@given(
    st.lists(st.tuples(STEPS, NUMBERS, st.integers(0, 9)), max_size=60),
    st.lists(st.lists(ANSWERS, max_size=60), min_size=3, max_size=3),
    st.sampled_from(["shadow", "act"]),
    st.integers(1, 3),
    st.floats(0.5, 100),
)
def test_remedies_stay_within_their_bounds(
    looks: list[tuple[float, float, int]], answers: list[list[Any]], mode: str, most: int, hold: float
) -> None:
    plant, told, before = Plant(), [], Plant().now()
    rules = [*(saying(each) for each in answers), beyond("failed", above=0, below=-1)]
    remedies = Remedies(
        [
            Remedy(rule, action, hold=hold, at_most=f"{most} a minute", name=name)
            for rule, (name, action) in zip(rules, plant.actions().items(), strict=True)
        ],
        mode=mode,
        record=told.append,
    )
    at, latest, marks = 1e9, 1e9, []
    others = False
    for step, number, luck in looks:
        at += step
        plant.refuses = luck == 1
        if luck == 2:
            others = True
            plant.region = "us" if plant.region == "eu" else "eu"
        made = len(remedies.decisions)
        remedies.look(Figures(at=at, seconds=5.0, failed=number), plant)
        # A minute on any clock is no shorter than one that never goes back.
        latest += max(step, 0.0)
        marks += [(each.policy, latest) for each in remedies.decisions[made:]]
        stopped, calls, weight, region = plant.now()
        assert stopped in (True, False) and 1 <= calls <= 8 and weight in (0.25, 1.0) and region in ("eu", "us")
        if mode == "shadow":
            assert not plant.changes and plant.now()[:3] == before[:3]
    for name in plant.actions():
        times = [time for policy, time in marks if policy == name]
        assert all(later - first >= 60 - 1e-3 for first, later in zip(times, times[most:], strict=False))
    plant.refuses = False
    remedies.leave(Figures(at=at, seconds=5.0), plant)
    assert all(on_record(decision) for decision in remedies.decisions)
    assert {id(decision) for decision in told} == {id(decision) for decision in remedies.decisions}
    assert plant.now()[:3] == before[:3] and (others or plant.region == "eu")


def on_record(decision: Decision) -> bool:
    failed = "it failed: OSError" in decision.reason
    ended = failed or (decision.seconds is not None and decision.seconds >= 0 and "after" in decision.inputs)
    bounded = decision.done in (decision.static, decision.choice) and decision.choice != decision.static
    return ended and bounded and bool(decision.reason) and "before" in decision.inputs


@settings(max_examples=30)
@given(st.lists(ANSWERS, max_size=40), st.floats(0.1, 20), st.integers(1, 10), st.sampled_from(["shadow", "act"]))
def test_no_message_is_lost_whatever_a_rule_says(answers: list[Any], hold: float, most: int, mode: str) -> None:
    remedy = Remedy(saying(answers), pause(), hold=hold, at_most=f"{most} an hour")
    remedies = Remedies([remedy], mode=mode, every="1s")
    flow = memory.queue("in") | map(lambda value: value) | memory.queue("out")
    orders = Pipeline("orders", flow, observers=[remedies])
    assert sorted(orders.test(range(100), at=[n / 5 for n in range(100)]).values) == list(range(100))
    assert len(remedies.decisions) <= most
