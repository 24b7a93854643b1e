"""Advice on policies in the shadow, from the decisions that were recorded of them."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from tests.analytics.feeding import NOW
from warren import Pipeline, exponential
from warren.analytics import Flows, Recorder
from warren.analytics.advice import Advice, advise
from warren.analytics.remedies import Remedies, Remedy, beyond, pause
from warren.analytics.retries import AdaptiveBackoff
from warren.analytics.routing import EarliestFinish
from warren.connectors import memory
from warren.core.graph import Operator
from warren.core.policies import Decision
from warren.operators import map, retry, route


def worker(seconds: float) -> Operator[Any, Any]:
    async def work(value: Any) -> Any:
        await asyncio.sleep(seconds)
        return value

    return map(work, concurrency=4)


def told(folder: Path, setting: str) -> Advice:
    [advice] = [each for each in advise(Flows(folder)) if each.setting == setting]
    return advice


@pytest.mark.parametrize(("slow", "gains"), [(0.3, True), (0.1, False)])
def test_a_route_in_the_shadow_is_to_act_where_it_surely_gains(tmp_path: Path, slow: float, gains: bool) -> None:
    eu, us = memory.queue("eu"), memory.queue("us")
    flow = memory.queue("in") | route(EarliestFinish(), eu=worker(0.1) | eu, us=worker(slow) | us)
    made = Pipeline("shares", flow, observers=[Recorder(tmp_path)])
    at = [number / 10 for number in range(1500)]
    made.test(range(1500), at=at, start=NOW)
    advice = told(tmp_path, "EarliestFinish")
    assert advice.stage == "1:route(EarliestFinish)" and "decisions in the shadow" in advice.evidence
    if not gains:
        assert advice.proposed is None and "not sure that it gains" in advice.expected
        return
    assert advice.proposed == 'EarliestFinish: mode="act"' and advice.of == "time" and advice.gain is not None
    acting = memory.queue("in") | route(EarliestFinish(mode="act"), eu=worker(0.1) | eu, us=worker(slow) | us)
    Pipeline("shares", acting, observers=[Recorder(tmp_path / "after")]).test(range(1500), at=at, start=NOW)
    before, after = mean(tmp_path), mean(tmp_path / "after")
    assert before / after == pytest.approx(advice.gain, rel=0.2)


def mean(folder: Path) -> float:
    trips = Flows(folder).trips.collect()
    return float((trips["settled"] - trips["received"]).dt.total_microseconds().mean() or 0.0)  # type: ignore[arg-type]  # numbers


def test_a_policy_of_retries_is_told_by_its_decisions(tmp_path: Path) -> None:
    lot = random.Random(1)

    def ask(value: int) -> int:
        if lot.random() < 0.8:
            raise ConnectionError("busy")
        return value

    policy = AdaptiveBackoff("100ms", attempts=20, usual=exponential("100ms", attempts=20, maximum="10s", jitter="full"))
    flow = memory.queue("in") | map(ask) | retry(policy, on=ConnectionError, park="1h") | memory.queue("out")
    Pipeline("asks", flow, observers=[Recorder(tmp_path)]).test(range(400), at=[n / 5 for n in range(400)], start=NOW)
    advice = told(tmp_path, "adaptive(100ms)")
    gain = policy.gain()
    assert gain.matched > 50 and (advice.proposed is not None) == (gain.least > 0)
    if advice.gain is not None:
        assert advice.gain == pytest.approx(1 / (1 - gain.share), rel=0.1)


@pytest.mark.parametrize(("seconds", "acts"), [(40, True), (2, False)])
def test_a_remedy_in_its_dry_run_is_to_act_where_trouble_outlasts_it(tmp_path: Path, seconds: int, acts: bool) -> None:
    def fails(value: int) -> int:
        if value % 500 < seconds * 10:
            raise ValueError(value)
        return value

    recorder = Recorder(tmp_path)
    remedies = Remedies([Remedy(beyond("dead_share", above=0.5), pause(), hold="5s", at_most="100 a day")], every="1s")
    flow = memory.queue("in") | map(fails) | memory.queue("out")

    def record(decision: Decision) -> None:
        if decision.success is not None:
            recorder.decided("remedies", [decision])

    remedies.record = record
    made = Pipeline("orders", flow, observers=[remedies, recorder])
    made.test(range(2000), at=[number / 10 for number in range(2000)], start=NOW)
    advice = told(tmp_path, "pause()")
    assert (advice.proposed == "warren run --remedies FILE --act") == acts
    assert "outlasted the remedy" in advice.evidence


def test_a_policy_that_nobody_knows_is_only_counted(tmp_path: Path) -> None:
    flow = memory.queue("in") | map(lambda value: value) | memory.queue("out")
    made = [
        Decision("mine", n, NOW + n, "b" if n % 4 else "a", "a", "a", 1.0, "shadow", "", {}, 1.0, True) for n in range(8)
    ]

    class Deciding(Recorder):
        def close(self) -> None:
            self.decided("1:map", made)
            super().close()

    Pipeline("orders", flow, observers=[Deciding(tmp_path)]).test(range(200), at=[n / 10 for n in range(200)], start=NOW)
    advice = told(tmp_path, "mine")
    assert advice.proposed is None and advice.evidence == "8 decisions in the shadow, of which 75 % would have been others"
