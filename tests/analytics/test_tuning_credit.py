"""A pipeline whose credit tunes itself, in virtual time and on queues."""

import pytest

from tests.analytics.contending import Contended
from warren import Pipeline
from warren.analytics import Flows, Recorder
from warren.analytics.tuning import Tuner
from warren.connectors import memory, sqlite
from warren.core.errors import GraphError
from warren.core.knobs import Knob
from warren.operators import batch, discard, map

CREDIT = Knob("credit", 8, 400, start=16)


def trial(credit, calls=None, values=20_000, *observers, at=None):
    flow = memory.items([]) | map(calls or Contended(60), concurrency=1_000) | memory.into([])
    return Pipeline("p", flow, credit=credit).observed(*observers).test(range(values), at=at)


def test_in_act_mode_it_finds_the_credit_and_loses_nothing():
    tuner = Tuner(CREDIT, mode="act")
    tuned, calls = trial(tuner), Contended(60)
    assert tuned.values == list(range(20_000))
    assert 40 <= tuner.controller.centre <= 90
    assert tuned.elapsed < 0.5 * trial(16).elapsed
    trial(tuner, calls, 2_000)
    assert calls.most <= 400


def test_in_shadow_nothing_changes_and_decisions_are_recorded(tmp_path):
    tuner, calls = Tuner(CREDIT, least=10), Contended(60)
    result = trial(tuner, calls, 4_000, Recorder(tmp_path))
    assert result.values == list(range(4_000)) and calls.most == 16
    assert result.elapsed == pytest.approx(trial(16, None, 4_000).elapsed)
    rows = Flows(tmp_path).decisions.collect()
    assert set(rows["stage"]) == {"credit"} and set(rows["done"]) == {"16"}
    assert len(rows) == len(tuner.decisions) > 3


def test_messages_that_come_slowly_teach_nothing():
    tuner = Tuner(CREDIT, mode="act", least=10)
    trial(tuner, None, 300, at=[i * 0.02 for i in range(300)])
    assert tuner.value == 16


def test_failures_leave_it_within_its_bounds():
    tuner, calls = Tuner(CREDIT, mode="act"), Contended(60, fails=True)
    assert trial(tuner, calls, 3_000).outcomes == {"dead-lettered": 3_000}
    assert 8 <= tuner.value <= 400 and calls.most <= 400


class Wild:
    """A setting that keeps to no bounds."""

    knob = CREDIT
    value = 10**9

    def open(self, clock):
        pass

    def ended(self, seconds, success, *, in_flight=0.0, count=1):
        self.value = -self.value


def test_whatever_a_setting_says_its_bounds_hold():
    calls = Contended(60)
    assert trial(Wild(), calls, 3_000).values == list(range(3_000))
    assert calls.most <= 400


def test_the_least_must_fill_every_batch():
    flow = memory.items([]) | batch(100) | discard()
    with pytest.raises(GraphError, match="up to 100 messages"):
        Pipeline("p", flow, credit=Tuner(CREDIT))
    tuned = Pipeline("p", flow, credit=Tuner(Knob("credit", 100, 900, start=200)))
    assert (tuned.credit, tuned.most, tuned.observed().most) == (200, 900, 900)
    assert "credit 200 (tuned, 100 to 900)" in tuned.explain()


def test_one_tuner_is_not_for_credit_and_a_step():
    tuner = Tuner(CREDIT)
    flow = memory.items([]) | map(Contended(60), concurrency=tuner) | discard()
    with pytest.raises(GraphError, match=r"the credit and map\(Contended\) have one setting"):
        Pipeline("p", flow, credit=tuner)


@pytest.mark.parametrize("state", [False, True])
def test_on_queues_nothing_is_lost_while_it_changes(tmp_path, state):
    file, out = tmp_path / "queues.db", []
    Pipeline("fill", memory.items(list(range(3_000))) | sqlite.queue(file, "in")).run()
    tuner = Tuner(CREDIT, mode="act", interval="20ms", least=10)
    options = {"state": tmp_path / "p.state"} if state else {}
    flow = sqlite.queue(file, "in", int) | map(lambda value: value + 1) | memory.into(out)
    Pipeline("p", flow, credit=tuner, **options).run(until_empty=True)
    assert sorted(out) == list(range(1, 3_001))
    assert 8 <= tuner.value <= 400
