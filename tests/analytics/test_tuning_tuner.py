"""`Tuner`: measures, asks its controller, and stays safe."""

import logging
from math import nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warren.analytics.tuning import Tuner
from warren.core.errors import DataError, GraphError
from warren.core.knobs import Calls, Knob, Setting
from warren.core.policies import Decision, Proposal

KNOB = Knob("concurrency", 1, 64, start=8)


class Says:
    """A controller that answers in turn with what it is given, and keeps what it was told."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.told = []

    def propose(self, measurement):
        self.told.append(measurement)
        answer = self.answers[min(len(self.told), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return Proposal(answer, 1.0, "said", {})

    def state(self):
        return {"told": len(self.told)}

    def restore(self, state):
        if not isinstance(state["told"], int):
            raise ValueError("no number")


class Time:
    now = 0.0

    def __call__(self):
        return self.now


def run(tuner, calls=100, took=0.05, every=0.01, success=True, time=None, **options):
    time = time or Time()
    tuner.open(time)
    for _ in range(calls):
        time.now += every
        tuner.ended(took, success, **options)
    return time


def test_it_measures_for_an_interval_and_then_asks():
    says = Says(8)
    run(Tuner(KNOB, says, least=10), 100, in_flight=4, count=3)
    first = says.told[0]
    assert (first.value, first.calls, first.done, first.failed, first.in_flight) == (8, 50, 150, 0, 4)
    assert (first.seconds, first.mean, first.deviation) == pytest.approx((0.5, 0.05, 0.0))
    assert first.throughput == pytest.approx(300)


def test_few_calls_are_measured_for_longer():
    says = Says(8)
    run(Tuner(KNOB, says, least=100), 40, every=0.1)
    assert [each.seconds for each in says.told] == pytest.approx([2.0, 2.0])


def test_calls_told_together_are_measured_as_one_by_one():
    found = []
    for together in (False, True):
        says, time = Says(8), Time()
        tuner = Tuner(KNOB, says, least=10)
        tuner.open(time)
        calls = Calls(tuner)
        for i in range(120):
            time.now += 0.005
            took, success, in_flight = 0.01 * (1 + i % 7), i % 10 > 0, 3 + i % 4
            if not together:
                tuner.ended(took, success, in_flight=in_flight)
                continue
            if not calls.flying:
                calls.first = time.now
            (calls.took if success else calls.failed).append(took)
            calls.flying += in_flight
            if i % 4 == 3:
                calls.tell(time.now)
        found.append(says.told)
    (one,), (many,) = found
    assert one == many and one.failed == 10 and one.deviation > 0


@pytest.mark.parametrize("took", [-1.0, 1e10])
def test_calls_told_together_with_a_time_that_cannot_be_do_not_count(took):
    tuner, time = Tuner(KNOB, Says(8), least=1), Time()
    tuner.open(time)
    calls = Calls(tuner)
    calls.took.extend([0.1, took])
    calls.first = time.now = 9.0
    calls.tell(9.0)
    assert not tuner.controller.told


def test_failures_are_no_throughput():
    says = Says(8)
    run(Tuner(KNOB, says, least=10), 60, success=False)
    assert (says.told[0].done, says.told[0].failed, says.told[0].throughput) == (0, 50, 0.0)


def test_after_a_change_what_went_out_before_does_not_count():
    says = Says(16, 16)
    run(Tuner(KNOB, says, mode="act", least=10), 120, took=0.2)
    assert [(each.at, each.value) for each in says.told] == [(pytest.approx(0.5), 8)]
    run(Tuner(KNOB, says, mode="act", least=10), 160, took=0.2)
    assert says.told[-1].value == 16 and says.told[-1].at == pytest.approx(0.5 + 0.2 + 0.8, abs=0.02)


def test_decisions_are_recorded_with_what_came_of_them():
    seen = []
    run(Tuner(KNOB, Says(9, 10, 11), mode="act", least=10, record=seen.append), 300)
    assert [(each.number, each.choice, each.static, each.done) for each in seen][:2] == [(1, 9, 8, 9), (2, 10, 8, 10)]
    assert seen[0].seconds == pytest.approx(0.05) and seen[0].success


@pytest.mark.parametrize("wrong", [0, 65, 9.0, True, None, nan, ZeroDivisionError("oh")])
def test_where_the_controller_fails_the_static_value_holds_and_that_is_said_once(wrong, caplog):
    tuner = Tuner(KNOB, Says(20, wrong), mode="act", least=10)
    with caplog.at_level(logging.ERROR):
        time = run(tuner, 60)
        assert tuner.value == 20
        run(tuner, 300, time=time)
    assert tuner.value == 8 and tuner.errors >= 2
    assert len(caplog.records) == 1 and "Tuner(concurrency)" in caplog.text


def test_a_record_that_raises_stops_nothing():
    def full(decision):
        raise OSError("no space")

    tuner = Tuner(KNOB, Says(9), mode="act", least=10, record=full)
    run(tuner, 300)
    assert tuner.value == 9 and tuner.errors >= 1


def test_saved_and_restored():
    tuner = Tuner(KNOB, Says(20), mode="act", least=10)
    run(tuner, 60)
    again = Tuner(KNOB, Says(20), mode="act")
    again.restore(tuner.state())
    assert again.value == 20
    shadow, narrow = Tuner(KNOB), Tuner(Knob("concurrency", 1, 12, start=8), Says(9), mode="act")
    shadow_state = {**tuner.state(), "controller": shadow.controller.state()}
    shadow.restore(shadow_state)
    narrow.restore(tuner.state())
    assert (shadow.value, narrow.value) == (8, 12)


@pytest.mark.parametrize(
    "change",
    [{"version": 9}, {"value": "x"}, {"mean": nan}, {"mean": None}, {"controller": {"told": "x"}}, {"controller": {}}],
)
def test_a_damaged_state_is_refused(change):
    tuner = Tuner(KNOB, Says(20), mode="act")
    state = {**tuner.state(), **change}
    with pytest.raises(DataError, match="start without it"):
        tuner.restore(state)
    assert tuner.value == 8


@pytest.mark.parametrize(
    "options",
    [{"mode": "now"}, {"quantile": 1}, {"least": 0}, {"keep": 0}, {"interval": 0}, {"controller": Says(1), "latency": 1}],
)
def test_settings_that_cannot_work_are_refused(options):
    with pytest.raises(GraphError):
        Tuner(KNOB, **options)


@pytest.mark.parametrize("numbers", [(0, 4, 2), (1, 4, 5), (4, 1, 2), (1, 4.0, 2), (True, 4, 2)])
def test_knobs_that_cannot_work_are_refused(numbers):
    low, high, start = numbers
    with pytest.raises(GraphError, match="Knob"):
        Knob("n", low, high, start)


def test_a_knob_keeps_numbers_within_its_bounds():
    assert [KNOB.clip(value) for value in (-5, 0.4, 7.5, 99, nan)] == [1, 1, 8, 64, 8]
    assert isinstance(Tuner(KNOB), Setting)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(), st.booleans(), st.floats()), max_size=300), st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_no_clock_and_no_reading_drives_it_out_of_bounds(calls, least):
    time, tuner = Time(), Tuner(KNOB, mode="act", least=least)
    tuner.open(time)
    for passed, took, success, in_flight in calls:
        time.now += passed
        tuner.ended(took, success, in_flight=in_flight)
        assert 1 <= tuner.value <= 64
    assert tuner.errors == 0


def measured(mode, rate, tail=0.05, count=100, span=0.5):
    """Decisions of a replay: so many messages a second were done while they held."""
    return [
        Decision(
            "t", i, i * span, 8, 8, 8, 1.0, mode, "", {"span": span, "tail": tail}, 0.05, True, round(rate * span) + i % 3
        )
        for i in range(count)
    ]


def test_it_is_promoted_where_replays_show_a_gain():
    tuner = Tuner(KNOB, Says(9), least=10)
    gain = tuner.promote([*measured("shadow", 100), *measured("act", 200)])
    assert gain.share == pytest.approx(0.5, abs=0.02) and gain.least > 0.4
    assert tuner.mode == "act"
    run(tuner)
    assert tuner.value == 9


@pytest.mark.parametrize(
    "decisions",
    [
        [],
        measured("shadow", 100),
        measured("act", 200),
        [*measured("shadow", 100), *measured("act", 200, count=40)],
        [*measured("shadow", 100, count=40), *measured("act", 200)],
        [*measured("shadow", 100), *measured("act", 100)],
        [*measured("shadow", 200), *measured("act", 100)],
        [*measured("shadow", 100), *measured("act", 200, span=-0.5)],
        [*measured("shadow", 100), *(Decision("t", 1, 0.0, 8, 8, 8, 1.0, "act", "", {}) for _ in range(100))],
    ],
)
def test_it_stays_in_shadow_where_they_do_not(decisions):
    tuner = Tuner(KNOB)
    with pytest.raises(DataError, match=r"Tuner\(concurrency\) stays in shadow"):
        tuner.promote(decisions)
    assert tuner.mode == "shadow"


def test_throughput_bought_by_a_broken_bound_is_no_gain():
    shown = [*measured("shadow", 100), *measured("act", 150, tail=0.2)]
    with pytest.raises(DataError):
        Tuner(KNOB, latency=0.1).promote(shown)
    assert Tuner(KNOB, latency=0.4).promote(shown).share > 0.3


def test_decisions_are_kept_and_told_once():
    tuner = Tuner(KNOB, Says(9), least=10, keep=3)
    time = run(tuner, 300)
    assert [each.number for each in tuner.decisions] == [2, 3, 4] == [each.number for each in tuner.over()]
    assert not tuner.over()
    first = tuner.decisions[0]
    assert (first.inputs["held"], first.messages, first.inputs["span"]) == (8, 50, pytest.approx(0.5))
    run(tuner, 120, time=time)
    assert [each.number for each in tuner.over()] == [6]
