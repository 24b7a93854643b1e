"""Routing over random plants: within its bounds, without swings, and near what a clairvoyant does."""

import random
from math import inf, nan

import numpy as np
import pytest

from benchmarks.routing_model.ours import Ours
from benchmarks.routing_model.plant import build, simulate
from benchmarks.routing_model.rivals import RIVALS
from benchmarks.routing_model.trace import synthetic
from tests.analytics.targets import Bench
from warren.analytics.routing import EarliestFinish

TRACE = synthetic(4_000, seed=3).part(0.0, 1.0, 10.0)


def p99(load, policy, seed=7, **plant):
    targets = build(TRACE, load, seed, **plant)
    return float(np.percentile(simulate(targets, [policy(targets, seed)]), 99))


@pytest.mark.parametrize(("load", "most"), [(0.7, 1.6), (0.9, 1.3)])
def test_the_slowest_messages_take_little_longer_than_with_all_known(load, most):
    ours = p99(load, Ours)
    assert ours <= most * p99(load, RIVALS["clairvoyant"])
    assert ours < p99(load, RIVALS["least in flight"])


def test_known_kinds_help_where_targets_have_strengths():
    def with_kinds(plant, seed):
        return Ours(plant, seed, kind=lambda message: message.kind)

    assert p99(0.7, with_kinds, kinds=4) < 0.5 * p99(0.7, Ours, kinds=4)
    assert p99(0.9, with_kinds, kinds=4) < 1.7 * p99(0.9, RIVALS["clairvoyant"], kinds=4)


def test_targets_that_fail_are_left_alone():
    def failed(policy):
        plant = build(TRACE, 0.7, 5, fail=(20.0, 5.0))
        simulate(plant, [policy(plant, 5)])
        return sum(message.tries for message in plant.messages)

    assert failed(Ours) < 0.3 * failed(RIVALS["least in flight"])


@pytest.mark.parametrize("seed", range(20))
def test_any_plant_within_bounds_and_without_swings(seed):
    chance = random.Random(seed)
    labels = [f"t{i}" for i in range(chance.randint(2, 6))]
    bench = Bench({label: chance.uniform(0.5, 3.0) for label in labels}, noise=chance)
    able = sum(1 / each for each in bench.seconds.values())
    every = 1 / (able * chance.uniform(0.4, 0.85))
    seen = []
    policy = EarliestFinish(mode="act", ends=chance.choice(["told", "told", "read"]), record=seen.append, seed=seed)
    read = every * 3 if policy.ends == "read" else None
    bench.run(policy, 300, every, read)
    windows = [bench.run(policy, 100, every, read) for _ in range(6)]
    for label in labels:
        shares = [window[label] for window in windows]
        assert max(shares) - min(shares) <= 0.3, (label, shares)
    assert policy.errors == 0 and {decision.done for decision in seen} <= set(labels)
    assert all(0 < decision.propensity <= 1 for decision in seen)
    assert max(bench.depths.values()) < 60


@pytest.mark.parametrize("seed", range(20))
def test_any_nonsense_leaves_it_within_bounds(seed):
    chance = random.Random(seed)
    odd = [nan, inf, -inf, 0.0, -1.0, 1e-300, 1e300, 5.0, 1.0, 2.0]
    now = 0.0
    policy = EarliestFinish(
        mode="act",
        ends=chance.choice(["told", "read"]),
        size=lambda value: chance.choice(odd),
        kind=lambda value: chance.choice(odd),
        patience=5.0,
        seed=seed,
    )
    policy.open(["a", "b", "c"], lambda: now)
    flying = []
    for i in range(2_000):
        now = chance.choice([now + 0.1, now + 0.1, now + 0.1, now - 1, chance.choice(odd)]) if i % 5 == 0 else now + 0.05
        flying.append(policy.choose(i))
        assert flying[-1].done in ("a", "b", "c")
        if chance.random() < 0.9:
            policy.ended(flying.pop(chance.randrange(len(flying))), chance.choice(odd), chance.random() < 0.8)
        policy.reading(chance.choice(["a", "b", "c", "d"]), chance.choice(odd), chance.choice([*odd, now]))
    assert policy.errors == 0
    fresh = EarliestFinish()
    fresh.restore(policy.state())
    fresh.open(["a", "b", "c"], lambda: 1.0)
