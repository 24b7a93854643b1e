"""`KneeSearch`: finds the knee, finds it again, and stays within its bounds on any plant."""

from math import exp, inf, log, nan, sqrt
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from warren.analytics.tuning import KneeSearch, Measurement
from warren.core.errors import DataError, GraphError
from warren.core.knobs import Knob


class Plant:
    """The throughput of a resource with workers, contention and coherency, behind a network."""

    def __init__(self, workers, work=0.02, contention=0.0, coherency=0.0, delay=0.0, spread=0.5, seed=0):
        self.workers, self.work, self.delay, self.spread = workers, work, delay, spread
        self.contention, self.coherency = contention, coherency
        self.random = Random(seed)
        self.at = 0.0

    def rate(self, there):
        others = max(there - 1, 0)
        return min(there, self.workers) / (self.work * (1 + self.contention * others + self.coherency * there * others))

    def throughput(self, value):
        low, high = 0.0, float(value)
        for _ in range(40):
            there = (low + high) / 2
            low, high = (there, high) if there + self.rate(there) * self.delay < value else (low, there)
        return self.rate(high)

    def best(self, knob):
        ratio = knob.high / knob.low
        return max(self.throughput(knob.low * ratio ** (i / 60)) for i in range(61))

    def measure(self, value):
        rate = self.throughput(value)
        took = value / rate
        seconds = max(min(max(0.5, 100 / rate, 4 * took), 2.0), 1 / rate)
        done = max(rate * seconds, 1.0)
        done = max(round(done * exp(self.random.gauss(0, self.spread / sqrt(done)))), 1)
        self.at += seconds
        tail = took * (1 + 1.6 * self.spread)
        return Measurement(self.at, seconds, value, done, done, 0, value, took, self.spread * took, tail)


def drive(search, plant, decisions=60, value=None):
    values = [search.knob.start if value is None else value]
    for _ in range(decisions):
        values.append(search.propose(plant.measure(values[-1])).choice)
    return values


@pytest.mark.parametrize("start", [1, 16, 200])
def test_it_finds_the_knee_from_anywhere(start):
    plant = Plant(24, coherency=0.0003)
    search = KneeSearch(Knob("concurrency", 1, 256, start))
    drive(search, plant)
    assert plant.throughput(search.centre) > 0.95 * plant.best(search.knob)
    assert 18 <= search.centre <= 32


def test_it_finds_a_knee_that_moved_within_ten_seconds():
    search = KneeSearch(Knob("concurrency", 1, 256, 16))
    value = drive(search, Plant(16))[-1]
    at = 100.0
    for plant in (Plant(64, seed=1), Plant(8, coherency=0.002, seed=2), Plant(16, delay=0.05, seed=3)):
        plant.at = at
        values = drive(search, plant, 40, value)
        times = []
        plant.at, value = at, values[-1]
        fresh = [plant.throughput(each) / plant.best(search.knob) for each in values]
        at += 100.0
        times = [index for index, share in enumerate(fresh) if share > 0.9]
        assert times[0] <= 12
        assert sum(fresh[14:]) / len(fresh[14:]) > 0.93


def test_it_takes_no_more_than_it_needs():
    search = KneeSearch(Knob("concurrency", 1, 256, 16))
    drive(search, Plant(16, spread=0.3), 120)
    assert search.centre < 26


def test_it_keeps_a_latency_and_takes_what_is_left():
    plant = Plant(16, spread=0.3)
    free, bound = KneeSearch(Knob("n", 1, 256, 16)), KneeSearch(Knob("n", 1, 256, 100), latency=0.04)
    drive(free, plant)
    values = drive(bound, plant)
    tails = [value / plant.throughput(value) * (1 + 1.6 * 0.3) for value in values[10:]]
    assert sum(tail > 0.044 for tail in tails) <= 3
    assert plant.throughput(bound.centre) > 0.9 * plant.best(bound.knob)


def test_a_bound_that_no_value_keeps_costs_nothing():
    plant = Plant(16, spread=0.3)
    search = KneeSearch(Knob("n", 1, 256, 16), latency=0.02)
    values = drive(search, plant)
    assert sum(plant.throughput(value) for value in values[20:]) / 41 > 0.3 * plant.best(search.knob)


@pytest.mark.parametrize(
    "missing",
    [
        Measurement(nan, 1.0, 16, 100, 100),
        Measurement(1.0, nan, 16, 100, 100),
        Measurement(1.0, 0.0, 16, 0),
        Measurement(1.0, 1.0, 16, 0),
        Measurement(inf, 1.0, 16, 100, 100),
    ],
)
def test_what_is_missing_teaches_nothing(missing):
    search = KneeSearch(Knob("n", 1, 64, 16))
    assert search.propose(missing).choice == 16
    assert not search.state()["points"]


def test_latencies_may_be_missing():
    search = KneeSearch(Knob("n", 1, 256, 8), latency="1s")
    plant, value = Plant(32), 8
    for _ in range(40):
        found = plant.measure(value)
        value = search.propose(Measurement(found.at, found.seconds, value, found.done, found.calls)).choice
    assert plant.throughput(search.centre) > 0.9 * plant.best(search.knob)


def test_where_something_else_limits_it_stays():
    search = KneeSearch(Knob("n", 1, 256, 100))
    for at in range(1, 20):
        proposal = search.propose(Measurement(float(at), 1.0, 100, 50, 50, in_flight=3.0, mean=0.05))
        assert (proposal.choice, proposal.reason) == (100, "not the limit")


def test_a_clock_turned_back_starts_anew():
    search = KneeSearch(Knob("n", 1, 256, 16))
    plant = Plant(24)
    value = drive(search, plant)[-1]
    plant.at = -1000.0
    drive(search, plant, 40, value)
    assert plant.throughput(search.centre) > 0.9 * plant.best(search.knob)


def test_saved_and_restored_it_goes_on_as_if_nothing_had_been():
    knob = Knob("n", 1, 256, 16)
    first, second = KneeSearch(knob), KneeSearch(knob)
    plant = Plant(40)
    value = drive(first, plant, 30)[-1]
    second.restore(first.state())
    measured = [plant.measure(value) for _ in range(10)]
    assert [first.propose(each) for each in measured] == [second.propose(each) for each in measured]


@pytest.mark.parametrize(
    "change", [{"version": 0}, {"points": [[1]]}, {"points": None}, {"centre": "x"}, {"turn": None}, {"noise": nan}]
)
def test_a_damaged_state_is_refused(change):
    search = KneeSearch(Knob("n", 1, 256, 16))
    drive(search, Plant(40), 10)
    before = search.state()
    with pytest.raises(DataError, match="start without it"):
        search.restore({**before, **change})
    assert search.state() == before


@pytest.mark.parametrize(
    "options",
    [{"tolerance": 0}, {"tolerance": 1}, {"step": 1}, {"probe": 0}, {"latency": 0}, {"half_life": 0}, {"latency": "soon"}],
)
def test_settings_that_cannot_work_are_refused(options):
    with pytest.raises(GraphError):
        KneeSearch(Knob("n", 1, 256, 16), **options)


plants = st.builds(
    Plant,
    workers=st.floats(1, 400),
    work=st.floats(-7, 0).map(exp),
    contention=st.sampled_from([0.0, 0.02, 0.05]),
    coherency=st.sampled_from([0.0, 1e-5, 1e-4, 1e-3]),
    delay=st.sampled_from([0.0, 0.005, 0.1]),
    spread=st.floats(0.1, 1.5),
    seed=st.integers(0, 2**32),
)


@given(plants, st.sampled_from([8, 64, 256]), st.floats(0, 1))
# Shrinking a plant takes minutes and says no more.
@settings(deadline=None, max_examples=25, phases=[Phase.explicit, Phase.generate], derandomize=True)
def test_on_any_plant_it_settles_within_bounds_and_does_not_swing(plant, high, where):
    knob = Knob("n", 1, high, start=max(1, round(where * high)))
    values = drive(KneeSearch(knob), plant, 160)
    assert all(knob.low <= value <= knob.high for value in values)
    # The amplitude: nine tenths of the values within a factor, and never far from the best for long. Where but a few calls
    # end in a second, there are a few hundred of them in all.
    swing, least, mean = (8, 0.3, 0.7) if plant.best(knob) > 20 else (16, 0.2, 0.5)
    last = sorted(values[80:])
    assert last[-5] <= swing * last[4]
    shares = sorted(plant.throughput(value) / plant.best(knob) for value in values[80:])
    assert shares[4] > least and sum(shares) / len(shares) > mean


def test_readings_that_are_missing_now_and_then_are_survived():
    plant, random = Plant(24, coherency=0.0003), Random(5)
    search, values = KneeSearch(Knob("concurrency", 1, 256, 16)), [16]
    for _ in range(120):
        found = plant.measure(values[-1])
        for name in random.choice([(), (), ("tail",), ("mean", "deviation"), ("seconds",), ("at",), ("in_flight",)]):
            setattr(found, name, nan)
        values.append(search.propose(found).choice)
    assert plant.throughput(search.centre) > 0.95 * plant.best(search.knob)
    shares = [plant.throughput(value) / plant.best(search.knob) for value in values[40:]]
    assert sum(shares) / len(shares) > 0.93


@pytest.mark.parametrize("slow", [0.5, 5.0, 30.0])
def test_slow_calls_are_remembered_for_longer_and_forgotten_with_their_regime(slow):
    search = KneeSearch(Knob("concurrency", 1, 256, 16))
    plant = Plant(32, work=slow, spread=1.0)
    shares = [plant.throughput(value) / plant.best(search.knob) for value in drive(search, plant, 300)[150:]]
    assert sum(shares) / len(shares) > 0.85
    quick = Plant(64, work=0.02, seed=3)
    quick.at = plant.at
    values = drive(search, quick, 40, search.knob.clip(search.centre))[20:]
    assert sum(quick.throughput(value) for value in values) / len(values) > 0.9 * quick.best(search.knob)


@pytest.mark.parametrize("noise", [0.1, 0.2])
def test_what_else_the_machine_does_moves_it_little(noise):
    plant, random = Plant(24, coherency=0.0003, spread=0.3), Random(7)
    search, values = KneeSearch(Knob("concurrency", 1, 256, 16)), [16]
    for _ in range(240):
        found = plant.measure(values[-1])
        found.done = max(round(found.done * exp(random.gauss(0, noise))), 1)
        values.append(search.propose(found).choice)
    shares = sorted(plant.throughput(value) / plant.best(search.knob) for value in values[40:])
    assert sum(shares) / len(shares) > 0.93 and shares[10] > 0.75
    assert search.changes <= 4


numbers = st.floats(allow_nan=True, allow_infinity=True)
anything = st.builds(
    Measurement,
    at=numbers,
    seconds=numbers,
    value=st.integers(1, 50),
    done=st.integers(0, 10**9),
    calls=st.integers(0, 10**9),
    failed=st.integers(0, 10**9),
    in_flight=numbers,
    mean=numbers,
    deviation=numbers,
    tail=numbers,
)


@given(st.lists(anything, max_size=30), st.sampled_from([None, 0.1]))
@settings(deadline=None)
def test_nothing_that_is_measured_drives_it_out_of_bounds(measured, latency):
    search = KneeSearch(Knob("n", 3, 50, 7), latency=latency)
    for each in measured:
        assert 3 <= search.propose(each).choice <= 50
        assert 3 <= search.centre <= 50
    again = KneeSearch(search.knob, latency=latency)
    again.restore(search.state())
    assert log(again.centre) == log(search.centre)
