import logging
import random
from collections import Counter
from math import inf, nan

import msgspec
import pytest

from tests.analytics.targets import Bench
from warren import Pipeline
from warren.analytics.routing import EarliestFinish
from warren.connectors import memory
from warren.core.errors import DataError, GraphError
from warren.core.policies import Chooser
from warren.operators import route


def test_it_is_a_chooser():
    assert isinstance(EarliestFinish(), Chooser)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"mode": "on"}, "neither 'shadow' nor 'act'"),
        ({"ends": "guessed"}, "ends are 'told', or 'read'"),
        ({"explore": 0.6}, "from 0 to 0.5"),
        ({"explore": nan}, "from 0 to 0.5"),
        ({"hope": -1}, "0 to 3 deviations"),
        ({"failures": 0}, "1 failure or more"),
        ({"cooldown": "soon"}, "not a duration"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, sentence):
    with pytest.raises(GraphError, match=sentence):
        EarliestFinish(**settings)


def test_without_targets_there_is_nothing_to_choose():
    with pytest.raises(GraphError, match="give the route branches"):
        EarliestFinish().open([])
    with pytest.raises(GraphError, match="before open"):
        EarliestFinish().choose(1)


def test_the_faster_target_gets_more():
    bench = Bench({"fast": 1.0, "slow": 4.0})
    shares = bench.run(EarliestFinish(mode="act"), 400, every=1.0)
    assert shares["fast"] > 0.75


def test_a_route_takes_it_for_a_function():
    a, b = memory.queue("a"), memory.queue("b")
    policy = EarliestFinish(static=lambda n: "a" if n < 10 else "b")
    policy.open(["a", "b"])
    outputs = Pipeline("sizes", memory.items([]) | route(policy, a=a, b=b)).test([1, 20]).outputs
    assert outputs == {"memory:a": [1], "memory:b": [20]}


def test_in_the_shadow_it_takes_turns_and_still_learns():
    bench, seen = Bench({"fast": 0.2, "slow": 0.8}), []
    policy = EarliestFinish(record=seen.append)
    assert bench.run(policy, 200, every=1.0) == {"fast": 0.5, "slow": 0.5}
    assert {decision.mode for decision in seen} == {"shadow"}
    assert all(decision.done == decision.static for decision in seen)
    # By what it has learned every message would have gone to the fast one, but for a few.
    assert Counter(decision.choice for decision in seen[100:])["fast"] > 90


def test_the_record_has_what_is_needed_to_compare_policies():
    seen = []
    Bench({"a": 0.2, "b": 0.2}).run(EarliestFinish(mode="act", explore=0.2, record=seen.append, size=float), 100, every=1.0)
    assert len(seen) == 100
    for decision in seen:
        assert decision.done == decision.choice and decision.success is True and decision.seconds == pytest.approx(0.2)
        assert decision.propensity == pytest.approx(0.9 if decision.reason == "earliest" else 0.1)
        assert set(decision.inputs) == {"size", "kind", "costs"} and len(decision.inputs["costs"]) == 2
    assert 0.02 < sum(decision.reason == "explore" for decision in seen) / 100 < 0.25
    assert msgspec.json.decode(msgspec.json.encode(seen[0]))["reason"] in ("earliest", "explore")


def test_an_old_regime_is_forgotten():
    bench = Bench({"a": 0.5, "b": 2.0})
    policy = EarliestFinish(mode="act")
    assert bench.run(policy, 300, every=0.7)["a"] > 0.7
    bench.seconds = {"a": 2.0, "b": 0.5}
    bench.run(policy, 60, every=0.7)
    assert bench.run(policy, 300, every=0.7)["b"] > 0.7


def test_a_target_that_fails_is_put_aside_and_tried_again():
    bench = Bench({"a": 0.2, "b": 0.2, "c": 0.2})
    policy = EarliestFinish(mode="act", explore=0.0)
    bench.failing = {"b"}
    assert bench.run(policy, 200, every=0.3)["b"] < 0.2
    bench.failing = set()
    bench.run(policy, 20, every=0.3)
    assert bench.run(policy, 200, every=0.1)["b"] > 0.2


def test_where_most_fail_all_are_used():
    bench = Bench({"a": 0.2, "b": 0.2, "c": 0.2})
    bench.failing = {"a", "b", "c"}
    shares = bench.run(EarliestFinish(mode="act", explore=0.1), 300, every=0.3)
    assert min(shares.values()) > 0


def test_kinds_go_where_they_are_served_best():
    bench = Bench({"cpu": 1.0, "gpu": 1.0})
    bench.factor = lambda label, value: 0.3 if (label == "gpu") == (value % 2 == 0) else 1.5
    seen = []
    bench.run(EarliestFinish(mode="act", kind=lambda value: value % 2, record=seen.append), 400, every=0.6)
    even = Counter(decision.done for decision in seen[200:] if decision.inputs["kind"] == "0")
    assert even["gpu"] > 5 * even["cpu"]


def test_queues_of_which_only_the_depth_is_read():
    bench = Bench({"fast": 0.5, "slow": 2.0})
    shares = bench.run(EarliestFinish(mode="act", ends="read"), 600, every=0.45, read=1.0)
    assert 0.7 < shares["fast"] < 0.95
    assert max(bench.depths.values()) < 12


@pytest.mark.parametrize("ends", ["told", "read"])
@pytest.mark.parametrize("depth", [nan, inf, -1.0, None])
def test_readings_that_are_none_change_nothing(ends, depth):
    policy = EarliestFinish(mode="act", ends=ends)
    policy.open(["a", "b"], lambda: 5.0)
    before = msgspec.json.encode(policy.state())
    policy.reading("a", depth, 4.0)
    policy.reading("a", 3.0, nan)
    policy.reading("nowhere", 3.0, 4.0)
    assert msgspec.json.encode(policy.state()) == before and policy.errors == 0


@pytest.mark.parametrize("size", [nan, inf, 0.0, -3.0])
def test_sizes_that_are_none_count_as_usual(size):
    policy = EarliestFinish(mode="act", size=lambda value: value)
    policy.open(["a", "b"], lambda: 5.0)
    policy.choose(10.0)
    assert policy.choose(size).inputs["size"] == pytest.approx(1.18) and policy.errors == 0


def test_an_error_makes_the_static_choice_and_is_said_once(caplog):
    policy = EarliestFinish(mode="act", size=lambda value: value["size"], static=lambda value: "b")
    policy.open(["a", "b"], lambda: 5.0)
    with caplog.at_level(logging.ERROR):
        decisions = [policy.choose({}) for _ in range(5)]
    assert [decision.done for decision in decisions] == ["b"] * 5
    assert decisions[0].reason == "KeyError: 'size'" and policy.errors == 5 and len(caplog.records) == 1
    for decision in decisions:
        policy.ended(decision, 0.1, True)
    assert policy.choose({"size": 3.0}).done in ("a", "b") and policy.errors == 5


def test_an_error_within_the_model_makes_the_static_choice(monkeypatch, caplog):
    policy = EarliestFinish(mode="act", static=lambda value: "b")
    policy.open(["a", "b"], lambda: 5.0)
    monkeypatch.setattr("warren.analytics.routing.effects.Effects.work", lambda *_: 1 / 0)
    with caplog.at_level(logging.ERROR):
        decision = policy.choose(1)
        policy.ended(decision, 0.1, True)
    assert decision.done == "b" and policy.errors and len(caplog.records) == 1


def test_clocks_that_jump_or_say_nothing_do_no_harm():
    times = iter([5.0, nan, 4e9, 3.0, 3.1, inf, 3.2, 3.3, 3.4, 3.5] + [4.0 + i / 10 for i in range(300)])
    policy = EarliestFinish(mode="act")
    policy.open(["a", "b"], lambda: next(times))
    for _ in range(100):
        policy.ended(policy.choose(1), nan, True)
    assert policy.errors == 0
    assert all(0 < cost < 100 for cost in policy.choose(1).inputs["costs"].values())


def test_ends_that_come_twice_or_from_elsewhere_change_nothing():
    policy, other = EarliestFinish(mode="act"), EarliestFinish(mode="act")
    now = 0.0
    for each in (policy, other):
        each.open(["a", "b"], lambda: now)
    decision = policy.choose(1)
    now = 1.0
    policy.ended(decision, 1.0, True)
    before = msgspec.json.encode(policy.state())
    policy.ended(decision, 1.0, True)
    policy.ended(other.choose(1), 1.0, False)
    assert msgspec.json.encode(policy.state()) == before


def test_what_nobody_hears_of_again_is_recorded_and_forgotten():
    now, seen = 0.0, []
    policy = EarliestFinish(mode="act", patience="10s", record=seen.append)
    policy.open(["a", "b"], lambda: now)
    policy.choose(1)
    now = 11.0
    policy.choose(2)
    assert [(decision.at, decision.success) for decision in seen] == [(0.0, None)]


def test_the_same_seed_decides_the_same():
    def decided(seed):
        seen = []
        bench = Bench({"a": 0.5, "b": 0.9, "c": 1.4}, noise=random.Random(1))
        bench.run(EarliestFinish(mode="act", explore=0.2, seed=seed, record=seen.append), 200, every=0.4)
        return [(decision.done, decision.propensity, decision.reason) for decision in seen]

    assert decided(1) == decided(1) != decided(2)


def test_saved_and_restored_it_goes_on():
    bench = Bench({"a": 0.5, "b": 2.0})
    policy = EarliestFinish(mode="act", kind=lambda value: value % 3, size=lambda value: 1.0 + value % 5)
    bench.run(policy, 200, every=1.0)
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(policy.state()))
    again = EarliestFinish(mode="act", kind=lambda value: value % 3, size=lambda value: 1.0 + value % 5)
    again.restore(state)
    again.open(["b", "new", "a"], lambda: bench.now)
    policy.open(["b", "new", "a"], lambda: bench.now)
    assert again.state() == policy.state()
    for value in range(20):
        assert again.choose(value).inputs == policy.choose(value).inputs
    again.restore(state)
    assert [again.choose(0).inputs["costs"][label] for label in ("b", "a")] == pytest.approx(
        [policy.choose(0).inputs["costs"][label] for label in ("b", "a")], rel=1.0
    )


@pytest.mark.parametrize(
    "break_it", [lambda s: s.update(version=9), lambda s: s.pop("effects"), lambda s: s.update(risk=[])]
)
def test_a_damaged_state_is_refused_and_changes_nothing(break_it):
    policy = EarliestFinish()
    policy.open(["a", "b"], lambda: 1.0)
    before = policy.state()
    state = policy.state()
    break_it(state)
    for each in (policy, EarliestFinish()):
        with pytest.raises(DataError, match="start without it"):
            each.restore(state)
    assert policy.state() == before


def test_before_a_run_there_is_no_state():
    with pytest.raises(GraphError, match="no state to save"):
        EarliestFinish().state()
