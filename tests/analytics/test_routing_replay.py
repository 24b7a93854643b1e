"""Decisions in shadow against a plant whose truth is known: what acting would gain, and when it may."""

import json
import random

import pytest

from tests.analytics.targets import Bench
from warren import Pipeline
from warren.analytics import Flows, Recorder
from warren.analytics.gains import recorded
from warren.analytics.routing import EarliestFinish
from warren.connectors import memory
from warren.core.errors import DataError
from warren.operators import route


def watched(seconds, *, seed=1, mode="shadow", messages=1500, every=1.0, failing=(), **settings):
    bench = Bench(seconds, random.Random(seed))
    bench.failing = set(failing)
    policy = EarliestFinish(seed=seed, mode=mode, **settings)
    bench.run(policy, messages, every=every)
    return policy


def mean(policy):
    took = [decision.seconds for decision in policy.decisions]
    return sum(took) / len(took)


@pytest.mark.parametrize("seconds", [{"a": 0.2, "b": 0.8}, {"a": 0.5, "b": 0.6}, {"a": 0.1, "b": 0.2, "c": 0.6}])
@pytest.mark.parametrize("seed", range(3))
def test_what_it_says_is_gained_is_gained(seconds, seed):
    policy = watched(seconds, seed=seed)
    truth = 1 - mean(watched(seconds, seed=seed, mode="act")) / mean(policy)
    gain = policy.promote()
    assert policy.mode == "act" and policy.choose(1).mode == "act"
    assert gain.share == pytest.approx(truth, abs=0.06) and 0 < gain.least < gain.share


def test_queues_that_grow_are_a_gain_to_be_had():
    assert watched({"a": 0.5, "b": 2.2}, every=1.0).gain().least > 0.3


def test_where_there_is_nothing_to_gain_it_stays_in_shadow():
    refused = 0
    for seed in range(20):
        policy = watched({"a": 0.3, "b": 0.3, "c": 0.3}, seed=seed)
        assert abs(policy.gain().share) < 0.05
        if policy.gain().least <= 0:
            refused += 1
            with pytest.raises(DataError, match="stays in shadow: over 1450 decisions"):
                policy.promote()
            assert policy.mode == "shadow"
    assert refused >= 19


def test_what_is_best_already_is_no_gain():
    policy = watched({"a": 0.2, "b": 0.8}, static=lambda value: "a")
    with pytest.raises(DataError, match="not surely more than nothing"):
        policy.promote()


def test_with_too_little_seen_it_stays_in_shadow():
    with pytest.raises(DataError, match="over 0 decisions"):
        EarliestFinish().promote()
    for messages in (1, 60, 130):
        policy = watched({"a": 0.2, "b": 0.8}, messages=messages)
        with pytest.raises(DataError, match="let it watch for longer"):
            policy.promote()


def test_decisions_of_the_mode_act_prove_nothing():
    assert watched({"a": 0.2, "b": 0.8}, mode="act").gain().usual == 0


def test_failing_at_once_is_not_fast():
    gain = watched({"a": 0.4, "b": 0.4}, failing={"b"}).promote()
    assert gain.share > 0.5


def test_a_choice_that_was_never_seen_counts_as_no_better():
    # What it knows of the others it has from a run before.
    policy = watched({"a": 0.2, "b": 0.8})
    again = EarliestFinish(static=lambda value: "b")
    again.restore(policy.state())
    bench = Bench({"a": 0.2, "b": 0.8}, random.Random(1))
    bench.run(again, 500, every=1.0)
    assert again.gain().share == pytest.approx(0.0, abs=0.01)


def test_recorded_decisions_prove_it_as_well(tmp_path):
    policy = watched({"a": 0.2, "b": 0.8})
    recorder = Recorder(tmp_path)
    recorder.open("p")
    recorder.decided("1:route", policy.over())
    recorder.close()
    rows = Flows(tmp_path).decisions.collect()
    assert rows.height == 1500 and json.loads(rows["inputs"][0])["costs"].keys() == {"a", "b"}
    again = EarliestFinish()
    assert again.promote(recorded(rows)).share == pytest.approx(policy.gain().share)
    assert again.mode == "act"


def test_a_route_records_its_decisions(tmp_path):
    a, b = memory.queue("a"), memory.queue("b")
    policy = EarliestFinish(size=float)
    source = memory.items(range(1, 101)) | route(policy, a=a, b=b)
    Pipeline("dealt", source).observed(Recorder(tmp_path)).run()
    rows = Flows(tmp_path).decisions.collect()
    assert rows["messages"].sum() == 100 and set(rows["stage"].cast(str)) == {"1:route(EarliestFinish)"}
    assert set(rows["done"].cast(str)) == {"a", "b"} and rows["success"].all() and (rows["seconds"] >= 0).all()
    assert [decision.number for decision in recorded(rows)] == sorted(rows["number"])
