"""`AdaptiveBackoff` by itself: its bounds, what it learns, what it forgets, and what it does when something is wrong."""

import logging
import math
import random
from typing import Any, Literal

import msgspec
import pytest

from benchmarks.retrying import contention
from warren.analytics import AdaptiveBackoff
from warren.analytics.retries.curve import Curve
from warren.analytics.retries.pace import Pace, Pulse
from warren.core.errors import DataError, GraphError
from warren.operators import constant, exponential

BUSY = ConnectionError("busy")


def play(
    policy: AdaptiveBackoff, works: Any, *, messages: int, every: float = 1.0, start: float = 0.0
) -> list[float | None]:
    """One message after the other fails at first; ``works(delay, attempts)`` says whether a retry does. The first waits."""
    first, now = [], start
    for _ in range(messages):
        policy.succeeded(20, now)
        delay = policy.wait(1, BUSY, "busy", now)
        first.append(delay)
        attempts, at = 1, now
        while delay is not None:
            attempts, at = attempts + 1, at + delay
            ok = works(delay, attempts)
            policy.ended("busy", delay, attempts, ok, at)
            delay = None if ok else policy.wait(attempts, BUSY, "busy", at)
        now = max(now + every, at)
    return first


def mean(delays: list[float | None]) -> float:
    some = [delay for delay in delays if delay is not None]
    return sum(some) / len(some)


def test_it_learns_how_long_an_error_lasts() -> None:
    policy = AdaptiveBackoff("100ms", attempts=8, maximum="1m", mode="act")
    delays = play(policy, lambda delay, attempts: delay > 2.0, messages=400, every=10)
    assert mean(delays[:10]) < 0.5
    assert 2.0 < mean(delays[-100:]) < 5.0


def test_it_forgets_an_old_regime() -> None:
    policy = AdaptiveBackoff("100ms", attempts=8, maximum="1m", mode="act")
    play(policy, lambda delay, attempts: delay > 2.0, messages=400, every=10)
    delays = play(policy, lambda delay, attempts: True, messages=400, every=10, start=10_000)
    assert mean(delays[-100:]) < 1.0


def test_it_gives_up_at_once_what_never_recovers_and_notices_when_it_does() -> None:
    policy = AdaptiveBackoff("100ms", attempts=4, mode="act")
    delays = play(policy, lambda delay, attempts: False, messages=400)
    tried = sum(delay is not None for delay in delays[-200:])
    assert 0 < tried < 20
    delays = play(policy, lambda delay, attempts: True, messages=3000, start=1000)
    assert all(delay is not None for delay in delays[-100:])


def test_an_outage_is_no_verdict() -> None:
    policy = AdaptiveBackoff("100ms", attempts=5, mode="act")
    now = 0.0
    for _ in range(2000):
        now += 0.05
        policy.succeeded(1, now)
    for _ in range(1000):
        now += 0.05
        delay = policy.wait(1, BUSY, "busy", now)
        if delay is not None:
            policy.ended("busy", delay, 2, False, now + delay)
    assert policy._curves["busy"].hope > 0.05
    for _ in range(100):
        now += 0.05
        policy.succeeded(1, now)
    assert policy.wait(1, BUSY, "busy", now) is not None


def test_in_an_outage_hardly_anything_is_tried_again() -> None:
    policy = AdaptiveBackoff("100ms", attempts=5, maximum="1m", mode="act")
    now = 0.0
    for _ in range(2000):
        now += 0.01
        policy.succeeded(1, now)
    soon = 0
    for _ in range(1000):  # ten seconds of failures, a hundred a second
        now += 0.01
        delay = policy.wait(1, BUSY, "busy", now)
        soon += delay is not None and now + delay < 30
    assert soon < 60
    assert policy.decisions[-1].reason == "too many retries wait already"


def test_equal_seeds_and_outcomes_give_equal_decisions_also_over_a_restart() -> None:
    def works(delay: float, attempts: int) -> bool:
        return (delay * 1000) % 3 > 1

    def made() -> AdaptiveBackoff:
        return AdaptiveBackoff("100ms", mode="act", seed=7)

    whole, first, second = made(), made(), made()
    expected = play(whole, works, messages=200)
    assert play(first, works, messages=100) == expected[:100]
    second.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(first.state())))
    assert second.state() == first.state()
    assert play(second, works, messages=50, start=500) == play(first, works, messages=50, start=500)


def places(state: Any) -> list[tuple[Any, Any]]:
    """Every place in what was learned: in which dict or list, and where."""
    some = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return [place for key, value in some for place in [(state, key), *places(value)]]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -1.0, 0, 10**30, "x", None, [], {}], ids=str)
def test_a_state_that_is_damaged_is_refused_or_does_no_harm(odd: Any) -> None:
    learned = AdaptiveBackoff("100ms", mode="act")
    play(learned, lambda delay, attempts: delay > 1, messages=40)
    whole = msgspec.msgpack.encode(learned.state())
    refused = 0
    for i in range(0, len(places(learned.state())), 3):
        state = msgspec.msgpack.decode(whole)
        place, key = places(state)[i]
        place[key] = odd
        policy = AdaptiveBackoff("100ms", mode="act")
        before = policy.state()
        try:
            policy.restore(state)
        except DataError:
            refused += 1
            assert policy.state() == before
        delays = play(policy, lambda delay, attempts: delay > 1, messages=10, start=50.0)
        assert all(delay is None or 0 <= delay <= 300 for delay in delays)
    assert refused > 5


def test_a_state_of_other_delays_or_another_version_is_refused() -> None:
    policy, state = AdaptiveBackoff("100ms"), AdaptiveBackoff("200ms").state()
    with pytest.raises(
        DataError, match=r"is none of adaptive\(100ms\) in version 2 with delays from 0.1 to 300 s; start without"
    ):
        policy.restore(state)
    with pytest.raises(DataError, match="version 2"):
        policy.restore(policy.state() | {"version": 1})


@pytest.mark.parametrize("seed", range(30))
def test_nothing_drives_it_out_of_its_bounds(seed: int) -> None:
    draw = random.Random(seed)
    initial = 10 ** draw.uniform(-4, 1)
    maximum = initial * 10 ** draw.uniform(0, 4)
    attempts = draw.randrange(1, 9)
    policy = AdaptiveBackoff(initial, maximum=maximum, attempts=attempts, mode="act", seed=seed)
    odd = (math.nan, math.inf, -math.inf, -1.0, 1e300)
    now = 1.7e9
    for _ in range(3000):
        now += draw.choice((0.0, draw.expovariate(1 / initial), draw.expovariate(1), -5.0))
        told = draw.choice(odd) if draw.random() < 0.05 and draw.random() < 0.5 else now
        told = min(told, 2e9) if math.isfinite(told) else told
        failed = draw.randrange(-1, 12)
        kind = draw.choice(("a", "b", "", f"c{draw.randrange(200)}"))
        delay = policy.wait(failed, BUSY, kind, told)
        assert delay is None or (0 <= delay <= maximum and failed < attempts)
        if delay is not None and draw.random() < 0.9:
            late = draw.choice(odd) if draw.random() < 0.02 else delay
            policy.ended(kind, late, max(1, failed) + 1, draw.random() < draw.random(), now + delay)
        if draw.random() < 0.5:
            policy.succeeded(draw.randrange(50), now)
        assert not policy.broken
    assert len(policy._curves) <= 66
    assert all(math.isfinite(pace.rate) and pace.rate > 0 for pace in policy._paces.values())


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_rate_settles_and_does_not_swing(share: float) -> None:
    """A plant that lets so many a second succeed: the rate of retries ends near three times that, within narrow bounds."""
    draw, pace, now, credit = random.Random(3), Pace(100.0), 0.0, 0.0
    rates = []
    for _ in range(2000):
        gap = 1 / pace.rate
        now += gap
        credit = min(1.0, credit + gap * 20 * share)
        ok = credit >= 1 and draw.random() < 0.95
        credit -= ok
        pace.ended(ok, gap)
        rates.append(pace.rate)
    settled = rates[500:]
    assert max(settled) < 3 * min(settled)
    assert 1.5 < sum(settled) / len(settled) / (20 * share) < 4


def test_an_error_in_what_was_learned_leaves_the_usual_policy_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    policy = AdaptiveBackoff("100ms", usual=constant("7s"), mode="act")
    policy._pulse = None  # type: ignore[assignment]
    with caplog.at_level(logging.ERROR, "warren.analytics"):
        assert [policy.wait(1, BUSY, "busy", 1.0), policy.wait(2, BUSY, "busy", 2.0), policy.wait(5, BUSY, "busy", 3.0)] == [
            7.0,
            7.0,
            None,
        ]
    assert len(caplog.records) == 1 and "the usual policy counts" in caplog.text
    assert policy.broken.startswith("AttributeError")
    policy.ended("busy", 1.0, 2, True, 3.0)
    policy.succeeded(1, 4.0)


def test_a_classifier_that_fails_is_such_an_error() -> None:
    policy = AdaptiveBackoff("100ms", usual=constant("7s"), mode="act", classify=lambda error: error.missing)  # type: ignore[attr-defined]
    assert policy.kind(BUSY) == ""
    assert policy.broken and policy.wait(1, BUSY, "", 1.0) == 7.0


@pytest.mark.parametrize("odd", [-3600.0, 1e300, 3600.0, math.nan])
def test_a_clock_that_jumps_does_no_harm_for_long(odd: float) -> None:
    policy = AdaptiveBackoff("100ms", mode="act")
    now = 1.7e9
    play(policy, lambda delay, attempts: True, messages=100, start=now)
    policy.wait(1, BUSY, "busy", now + odd)
    delays = play(policy, lambda delay, attempts: True, messages=300, start=now + (min(odd, 100) if odd == odd else 0))
    assert all(delay is not None and delay < 1 for delay in delays[-100:])
    assert policy.decisions[-1].reason == "what succeeded after which delay"


def test_decisions_carry_what_they_were_made_of() -> None:
    policy = AdaptiveBackoff("100ms", mode="act")
    play(policy, lambda delay, attempts: True, messages=500)
    made = list(policy.decisions)
    assert {each.success for each in made} == {True}
    assert all(0 < each.propensity <= 1 and each.mode == "act" and each.inputs["kind"] == "busy" for each in made)
    assert {each.propensity for each in made} != {1.0}


def watched(works: Any, *, jitter: Literal["none", "full"] = "full") -> AdaptiveBackoff:
    random.seed(4)  # the usual policy's own
    policy = AdaptiveBackoff("100ms", attempts=6, usual=exponential("100ms", attempts=6, jitter=jitter))
    play(policy, works, messages=300, every=10)
    return policy


def test_it_is_promoted_where_its_shadow_shows_a_gain() -> None:
    policy = watched(lambda delay, attempts: delay > 1.0)
    gain = policy.promote()
    assert policy.mode == "act"
    assert 0 < gain.least < gain.share < 1 and gain.matched < gain.usual


@pytest.mark.parametrize("jitter", ["none", "full"])
def test_it_is_not_promoted_where_there_is_nothing_to_gain(jitter: Literal["none", "full"]) -> None:
    policy = watched(lambda delay, attempts: True, jitter=jitter)
    with pytest.raises(DataError, match="stays in shadow"):
        policy.promote()
    assert policy.mode == "shadow"


def test_it_is_not_promoted_before_it_has_seen_anything() -> None:
    with pytest.raises(DataError, match="over 0 retries"):
        AdaptiveBackoff("100ms").promote()


def test_clients_that_contend_take_turns() -> None:
    policy = AdaptiveBackoff("10ms", attempts=9, mode="act")
    delays = [policy.wait(1, BUSY, "busy", 1.0) for _ in range(50)]
    assert all(delay is not None for delay in delays)
    assert 0.3 < max(delay for delay in delays if delay is not None) <= 0.6


def test_waiting_longer_is_no_worse() -> None:
    curve, draw = Curve(0.1, 60.0), random.Random(1)
    for i in range(500):
        curve.learn(draw.randrange(1, 6), draw.expovariate(1), draw.random() < 0.5, i)
    for failed in range(1, 6):
        chances = curve.chances(failed)
        assert chances == sorted(chances) and all(0 <= each <= 1 for each in chances)


def test_without_anything_seen_the_delays_are_the_usual_ones() -> None:
    curve = Curve(0.1, 60.0)
    for failed in range(1, 8):
        assert failed - 1 in curve.best(failed)


def test_a_pause_and_failures_behind_it_are_no_stop_until_they_have_lasted() -> None:
    pulse = Pulse()
    for i in range(100):
        pulse.good(i / 10)
    assert not pulse.stopped(1000.0)
    for _ in range(30):
        pulse.bad(1000.0)
    assert not pulse.stopped(1000.0) and pulse.stopped(1003.0)


def test_clients_that_contend_again_after_a_pause_are_as_quick() -> None:
    shared = contention.adaptive()
    first = contention.run(60, shared, 0)
    policy = shared(random.Random(0))
    start = first.seconds + 5

    class Later:
        def wait(self, failed: int, now: float) -> float:
            return policy.wait(failed, start + now)

        def ended(self, delay: float, attempts: int, ok: bool, now: float) -> None:
            policy.ended(delay, attempts, ok, start + now)

    assert contention.run(60, lambda draw: Later(), 1).seconds < 2 * first.seconds


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"initial": 0}, "above 0"),
        ({"initial": "1m", "maximum": "1s"}, "no longer than maximum"),
        ({"mode": "on"}, "begin with 'shadow'"),
        ({"usual": 3}, "give a policy"),
        ({"attempts": 0}, "at least 1"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(GraphError, match=text):
        AdaptiveBackoff(**settings)
