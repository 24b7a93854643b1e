"""`AdaptiveBackoff` coupled to services of all kinds: it keeps its bounds and does not swing."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from warren.analytics import AdaptiveBackoff
from warren.analytics.retries.pace import Pulse

BUSY = ConnectionError("busy")


@dataclass
class Plant:
    """A service: so many calls a second succeed at most, each with some chance, once an error has lasted for its time."""

    capacity: float
    chance: float
    lasts: float
    fresh: float

    def worked(self, draw: random.Random, room: float, waited: float) -> bool:
        return room >= 1 and waited >= self.lasts and draw.random() < self.chance


plants = st.builds(
    Plant,
    capacity=st.floats(0.5, 200),
    chance=st.floats(0.2, 1),
    lasts=st.floats(0, 2) | st.just(0.0),
    fresh=st.floats(0.2, 100),
)


def swings(rates: list[float], factor: float) -> int:
    """How often a rate went down by such a factor after it went up, or the other way."""
    far, up, count = rates[0], True, -1
    for rate in rates:
        if (rate > far) == up:
            far = rate
        elif max(rate, far) > factor * min(rate, far):
            far, up, count = rate, not up, count + 1
    return max(count, 0)


@settings(max_examples=12, deadline=None)
@given(st.lists(plants, min_size=1, max_size=3), st.integers(0, 2**32), st.floats(0.002, 0.5), st.booleans())
def test_no_plant_drives_it_out_of_bounds_or_into_oscillation(
    regimes: list[Plant], seed: int, initial: float, odd: bool
) -> None:
    """Whatever it is coupled to, delays and rates keep their bounds, and halfway through a regime the rate has settled."""
    draw = random.Random(seed)
    policy = AdaptiveBackoff(initial, maximum=60.0, attempts=6, mode="act", seed=seed)
    now, number, room = 1.7e9, 0, 0.0
    for plant in regimes:
        # What happens next: when, a number that keeps equal times in order, how many attempts there were, since when, delay.
        events: list[tuple[float, int, int, float, float]] = [(now, number, 1, now, 0.0)]
        end, last, rates = now + min(4000 / plant.fresh, 400.0), now, []
        while events and events[0][0] < end:
            now, _, attempts, since, delay = heapq.heappop(events)
            room = min(max(1.0, plant.capacity / 10), room + (now - last) * plant.capacity)
            last = now
            if attempts == 1:
                number += 1
                heapq.heappush(events, (now + draw.expovariate(plant.fresh), number, 1, 0.0, 0.0))
                since = now
            ok = plant.worked(draw, room, now - since)
            room -= ok
            # Readings that are missing, and clocks that tell nothing.
            told = draw.choice((math.nan, math.inf, now - 3)) if odd and draw.random() < 0.02 else now
            missing = odd and draw.random() < 0.02
            if attempts > 1 and not missing:
                policy.ended("busy", delay, attempts, ok, told)
            elif ok and not missing:
                policy.succeeded(1, told)
            chosen = None if ok else policy.wait(attempts, BUSY, "busy", told)
            if chosen is not None:
                assert 0 <= chosen <= 60.0 and attempts < 6
                number += 1
                heapq.heappush(events, (now + chosen, number, attempts + 1, since, chosen))
                rates.append(1 / policy._open["busy", attempts + 1, chosen][-1].inputs["gap"])
        assert not policy.broken
        assert len(events) < 10_000
        settled = rates[len(rates) // 2 :] or [1.0]
        assert all(0.1 / 60 / 1.001 <= rate < 1e6 for rate in settled)
        # A swing is by a factor of eight, and back; chance makes one now and then where few of the calls succeed.
        assert swings(settled, 8.0) <= 2 + len(settled) // 100


def test_messages_that_come_together_are_no_stop() -> None:
    """A chunk has its failures told before its successes, and the pauses within it are short."""
    pulse, now = Pulse(), 0.0
    for _ in range(50):
        now += 0.01
        for _ in range(60):
            now += 0.000_01
            pulse.bad(now)
            assert not pulse.stopped(now)
        for _ in range(500):
            now += 0.000_001
            pulse.good(now)
    for _ in range(60):
        pulse.bad(now)
    assert pulse.stopped(now + 0.5)
