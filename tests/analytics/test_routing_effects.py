from math import inf, nan

import msgspec
import pytest

from warren.analytics.routing.effects import Effects


def taught(effects, rounds=60, start=0.0, speeds=(1.0, 4.0), kinds=("",), strength=None):
    kinds, at = [effects.kind(kind) for kind in kinds], start
    for i in range(rounds):
        at += 0.5
        for target, slow in enumerate(speeds):
            for kind in kinds:
                size = 100.0 * (1 + i % 3)
                effects.learn(target, kind, size, size * slow * 0.01 * (strength or {}).get((target, kind), 1.0), at)
    return at


def ratio(effects, now, kind=""):
    return effects.seconds(1, kind, now)[1] / effects.seconds(0, kind, now)[1]


def test_learns_how_fast_each_target_is():
    effects = Effects(2, hope=0.0)
    now = taught(effects)
    assert ratio(effects, now) == pytest.approx(4, rel=0.05)
    assert effects.work("", 100.0) * effects.seconds(0, "", now)[0] == pytest.approx(1.0, rel=0.1)


def test_forgets_an_old_regime():
    effects = Effects(2, hope=0.0)
    now = taught(effects, 500)
    now = taught(effects, 60, now, speeds=(4.0, 1.0))
    assert ratio(effects, now) == pytest.approx(1 / 4, rel=0.1)


def test_what_is_slow_only_lately_is_forgotten_with_time():
    effects = Effects(2, hope=0.0)
    now = taught(effects, 500)
    now = taught(effects, 6, now, speeds=(1.0, 16.0))
    assert ratio(effects, now) > 8
    assert ratio(effects, now + 120) < 7


def test_one_outlier_moves_little():
    effects = Effects(2, hope=0.0)
    now = taught(effects, 200)
    effects.learn(1, "", 100.0, 4e9, now)
    assert ratio(effects, now) < 4 * 1.6


def test_a_target_little_known_is_hoped_to_be_better():
    effects = Effects(2, hope=1.0)
    for i in range(100):
        effects.learn(0, "", 1.0, 1.0, i * 0.1)
    assert effects.seconds(1, "", 10.0)[0] < 0.7 * effects.seconds(0, "", 10.0)[0]


def test_strengths_for_kinds_are_learned_and_shrunk():
    effects = Effects(2, hope=0.0)
    strength = {(1, "image"): 0.1}
    now = taught(effects, kinds=("text", "image"), speeds=(1.0, 1.0), strength=strength)
    assert ratio(effects, now, "image") == pytest.approx(0.1, rel=0.3)
    assert ratio(effects, now, "text") == pytest.approx(1, rel=0.3)
    fresh = Effects(2, hope=0.0)
    taught(fresh, 60, kinds=("text", "other"), speeds=(1.0, 1.0))
    fresh.kind("image")
    fresh.learn(1, "image", 100.0, 0.1, 31.0)
    # One message of a kind says half of what it seems to say.
    assert 0.1 < ratio(fresh, 31.0, "image") < 0.9


def test_how_work_grows_with_size_is_learned():
    effects = Effects(1, hope=0.0)
    for i in range(300):
        for size in (10.0, 10_000.0):
            effects.learn(0, "", size, 1.0, i * 0.1)
    assert effects.work("", 10_000.0) < 8 * effects.work("", 10.0)


@pytest.mark.parametrize("seconds", [nan, inf, 0.0, -1.0])
def test_times_that_are_none_teach_nothing(seconds):
    effects = Effects(2, hope=0.0)
    now = taught(effects)
    before = msgspec.json.encode(effects.state())
    effects.learn(0, "", 1.0, seconds, now)
    effects.learn_many(0, 1.0, 3, seconds, now)
    assert msgspec.json.encode(effects.state()) == before


def test_kinds_are_bounded():
    effects = Effects(1, hope=0.0)
    names = {effects.kind(i) for i in range(3_000)}
    assert len(names) == 1_001 and "" in names


def test_saved_and_restored_for_the_targets_that_are_left():
    effects = Effects(3, hope=0.1)
    now = taught(effects, speeds=(1.0, 4.0, 2.0), kinds=("a", "b"))
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(effects.state()))
    other = Effects(2, hope=0.1)
    other.restore(state, {2: 0, 1: 1})
    assert other.seconds(0, "a", now) == effects.seconds(2, "a", now)
    assert other.seconds(1, "b", now) == effects.seconds(1, "b", now)
    state["level"][0] = nan
    with pytest.raises(ValueError, match="no number"):
        Effects(2, hope=0.1).restore(state, {})
