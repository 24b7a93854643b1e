"""Rules over figures and metrics, in remedies that read both."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from warren import Pipeline
from warren.analytics import Deviation, Metrics
from warren.analytics.remedies import Condition, Figures, Remedies, Remedy, beyond, pause, unusual
from warren.analytics.remedies.readings import Readings
from warren.connectors import memory
from warren.core.errors import GraphError, PluginError
from warren.operators import map


def figures(**values: Any) -> Figures:
    return Figures(at=0.0, seconds=5.0, **values)


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_what_is_missing_or_no_number_fires_nothing(missing: Any) -> None:
    assert beyond("depth", above=1, below=1)(figures(depth=missing)) is None


def test_a_reason_says_which_bound() -> None:
    rule = beyond("rate", above=10, below=1)
    assert [rule(figures(rate=rate)) for rate in (0.5, 5, 11)] == ["rate is 0.5, below 1", None, "rate is 11, above 10"]


def test_of_several_labels_the_worst_one_counts() -> None:
    registry = CollectorRegistry()
    stock = Gauge("shop_stock", "Things.", ["shop"], registry=registry)
    for shop, count in (("eu", 5), ("us", 50), ("asia", math.nan)):
        stock.labels(shop).set(count)
    readings = Readings(registry)
    readings.look(0.0)
    assert beyond("shop_stock", above=20)(figures(metrics=readings)) == "shop_stock of shop=us is 50, above 20"
    assert beyond("shop_stock", below=20)(figures(metrics=readings)) == "shop_stock of shop=eu is 5, below 20"
    assert beyond("shop_stock", above=20, labels={"shop": "eu"})(figures(metrics=readings)) is None


def test_counters_are_what_came_in_a_second_also_after_they_began_anew() -> None:
    registry = CollectorRegistry()
    counter = Counter("things_sold", "Things.", registry=registry)
    readings = Readings(registry)
    counter.inc(100)
    readings.look(0.0)
    # How long it took to come so far nobody knows.
    assert readings.each("things_sold", {}) == {}
    counter.inc(30)
    readings.look(10.0)
    assert readings.each("things_sold_total", {}) == {"": 3.0}
    counter.reset()
    counter.inc(20)
    readings.look(20.0)
    assert readings.each("things_sold", {}) == {"": 2.0}


def test_histograms_are_of_what_came_since_the_last_look() -> None:
    registry = CollectorRegistry()
    took = Histogram("call_seconds", "Time.", buckets=(1, 2, 4), registry=registry)
    readings = Readings(registry)
    took.observe(100)
    readings.look(0.0)
    for _ in range(100):
        took.observe(1.5)
    readings.look(5.0)
    assert readings.each("call_seconds", {}, 0.5) == {"": 1.5} and readings.each("call_seconds", {}) == {"": 1.5}
    readings.look(10.0)
    assert readings.each("call_seconds", {}, 0.5) == readings.each("call_seconds", {}) == {}
    took.observe(100)
    readings.look(15.0)
    assert readings.each("call_seconds", {}, 0.5) == {"": 4.0}


@given(st.lists(st.floats(0.01, 3.99), min_size=1, max_size=50), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], quantile: float) -> None:
    registry, bounds = CollectorRegistry(), (0, 1, 2, 3, 4)
    took = Histogram("call_seconds", "Time.", buckets=bounds[1:], registry=registry)
    readings = Readings(registry)
    readings.look(0.0)
    for value in values:
        took.observe(value)
    readings.look(1.0)
    true = sorted(values)[math.ceil(quantile * len(values) - 1e-9) - 1]
    [found] = readings.each("call_seconds", {}, quantile).values()
    assert math.ceil(true) - 1 <= found <= math.ceil(true)


def run(rule: Any, metrics: Metrics | None, count: int = 300) -> Remedies:
    def check(value: int) -> int:
        if 100 <= value < 200:
            raise ValueError(value)
        return value

    remedies = Remedies([Remedy(rule, pause(), hold="5s")], every="1s", metrics=metrics)
    seen = [remedies] if metrics is None else [remedies, metrics]
    flow = memory.queue("in") | map(check) | memory.queue("out")
    Pipeline("orders", flow, observers=seen).test(range(count), at=[n / 10 for n in range(count)], start=1000.0)
    return remedies


def test_a_rule_reads_the_metrics_of_its_own_pipeline() -> None:
    rule = Condition("warren_dead_letters", above=5, labels={"reason": "ValueError"}).rule()
    first, *_ = run(rule, Metrics()).decisions
    assert first.at == pytest.approx(1011, abs=1) and first.success is False
    assert first.reason == "warren_dead_letters of pipeline=orders, reason=ValueError is 10, above 5"
    assert "metrics" not in first.inputs["before"]


def test_a_model_learns_each_label_by_itself() -> None:
    rule = unusual("warren_stage_failed_messages", Deviation())
    remedies = run(rule, Metrics(), 600)
    assert remedies.errors == 0


def test_a_rule_on_metrics_without_metrics_is_an_error_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    remedies = run(beyond("warren_live", below=1), None)
    assert remedies.decisions == [] and remedies.errors > 1 and "give metrics=Metrics()" in caplog.text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: beyond("speed", above=1), "no such figure"),
        (lambda: beyond("health", above=1), "no such figure"),
        (lambda: beyond("warren_speed", above=1), "no such figure"),
        (lambda: beyond("warren_live", above=1, labels={"queue": "q"}), "no label 'queue'; it has pipeline"),
        (lambda: beyond("rate", above=1, labels={"queue": "q"}), "labels and quantiles are of metrics"),
        (lambda: beyond("rate"), "give a number"),
        (lambda: beyond("rate", above=float("nan")), "give a number"),
        (lambda: beyond("warren_message_age_seconds", above=1, quantile=99), "between 0 and 1"),
        (lambda: Condition("rate", above=1, unusual="novelty").rule(), "not both"),
    ],
)
def test_bad_conditions_are_refused(make: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        make()


def test_a_detector_that_there_is_not_is_refused() -> None:
    with pytest.raises(PluginError, match="no detector 'magic'"):
        Condition("rate", unusual="magic").rule()
