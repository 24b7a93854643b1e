"""Remedies that turn a target of a route down, and the number of calls at once of a step."""

from __future__ import annotations

import asyncio

import pytest

from warren import Pipeline
from warren.analytics import Metrics
from warren.analytics.remedies import Remedies, Remedy, open_circuit, scale, shift
from warren.analytics.routing import EarliestFinish
from warren.connectors import memory
from warren.core.breaker import Switch
from warren.core.errors import GraphError
from warren.core.knobs import Dial, Knob
from warren.core.weights import Weights
from warren.operators import circuit_breaker, map, route


@pytest.mark.parametrize("learned", [True, False], ids=["policy", "function"])
def test_a_target_of_a_route_gets_nothing_for_a_while(learned: bool) -> None:
    weights = Weights()
    after = weights.around(lambda value: ("eu", "us")[value % 2], {"eu": "us", "us": "eu"})
    choose = EarliestFinish(weights=weights, mode="act", explore=0.1) if learned else after
    eu, us = memory.queue("eu"), memory.queue("us")
    slow = Remedy(lambda figures: 1010 < figures.at < 1013, shift(weights, "eu"), hold="20s")
    remedies = Remedies([slow], mode="act", every="1s")
    flow = memory.queue("in") | route(choose, eu=eu, us=us)
    trial = Pipeline("orders", flow, observers=[remedies]).test(range(600), at=[n / 10 for n in range(600)], start=1000.0)
    [decision] = remedies.decisions
    start, end = decision.at - 1000, decision.at - 1000 + (decision.seconds or 0.0)
    sent = [value / 10 for value in trial.outputs["memory:eu"]]
    assert (decision.static, decision.done, weights["eu"], end - start) == (1.0, 0.0, 1.0, pytest.approx(20, abs=1))
    assert not [at for at in sent if start + 0.2 < at < end - 0.2]
    assert len([at for at in sent if at < start]) > 20 and len([at for at in sent if at > end]) > 50
    assert len(trial.values) == 600


def test_a_dry_policy_is_led_around_a_target_too() -> None:
    weights, now = Weights(), 0.0
    weights["eu"] = 0.25
    policy = EarliestFinish(weights=weights, static=lambda value: "eu")
    policy.open(["eu", "us", "asia"], clock=lambda: now)
    done = [policy.choose(value).done for value in range(400)]
    assert done.count("eu") == 100 and done.count("us") == pytest.approx(150, abs=1)
    weights["eu"] = weights["us"] = weights["asia"] = 0.0
    # With no target left it is as if all were.
    assert policy.choose("").done == "eu"


def test_a_step_makes_more_calls_at_once_for_a_while() -> None:
    dial = Dial(Knob("concurrency", 1, 8, start=1))
    ends: list[float] = []

    async def ask(value: int) -> int:
        await asyncio.sleep(0.2)
        ends.append(asyncio.get_running_loop().time())
        return value

    late = Remedy(lambda figures: figures.unsettled > 30, scale(dial, 8), hold="10s", at_most="1 a day")
    remedies = Remedies([late], mode="act", every="1s")
    flow = memory.queue("in") | map(ask, concurrency=dial) | memory.queue("out")
    orders = Pipeline("orders", flow, observers=[remedies])
    trial = orders.test(range(300), at=[number / 10 for number in range(300)], start=1000.0)
    [decision] = remedies.decisions
    assert (decision.static, decision.done, dial.value) == (1, 8, 1) and len(trial.values) == 300
    start = decision.at - 1000
    before, during = (sum(since <= end < since + 5 for end in ends) for since in (start - 5, start + 0.2))
    assert before == pytest.approx(25, abs=1) and during > 60
    with pytest.raises(GraphError, match="no whole number from 1 to 8"):
        scale(dial, 9)
    assert dial.value == 1


def test_metrics_show_a_circuit_that_was_opened_by_hand() -> None:
    switch, metrics = Switch(), Metrics()
    remedies = Remedies([Remedy(lambda figures: figures.at > 1003, open_circuit(switch), hold="1h")], mode="act", every="1s")
    shown: list[float] = []

    def ask(value: int) -> int:
        return value

    def look(value: int) -> int:
        states = next(each for each in metrics.collect() if each.name == "warren_circuit_breaker_state")
        opened = [each for each in states.samples if each.labels["state"] == "open" and "circuit" in each.labels["breaker"]]
        shown.extend(each.value for each in opened)
        return value

    flow = memory.queue("in") | map(look) | circuit_breaker(map(ask), switch=switch) | memory.queue("out")
    orders = Pipeline("orders", flow, observers=[remedies, metrics])
    orders.test(range(10), at=range(10), start=1000.0)
    assert shown == [0.0] * 4 + [1.0] * 6 and not switch.open
