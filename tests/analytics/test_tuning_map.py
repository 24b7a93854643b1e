"""`map` with a concurrency that tunes itself, in virtual time."""

import pytest

from tests.analytics.contending import Contended
from warren import Pipeline
from warren.analytics import Flows, Recorder
from warren.analytics.gains import recorded
from warren.analytics.tuning import Tuner
from warren.connectors import memory
from warren.core.errors import DataError, GraphError
from warren.core.graph import Flow
from warren.core.knobs import Knob
from warren.operators import discard, map, route


def trial(tuner, calls, values=12_000, **options):
    steps = memory.items([]) | map(calls, concurrency=tuner, **options) | memory.into([])
    return Pipeline("tuned", steps, credit=400).test(list(range(values)))


def test_in_shadow_nothing_changes_and_decisions_are_recorded():
    seen = []
    tuner = Tuner(Knob("concurrency", 1, 128, start=4), record=seen.append)
    calls = Contended(24)
    result = trial(tuner, calls, 2_000)
    assert result.values == list(range(2_000))
    assert (calls.most, tuner.value) == (4, 4)
    assert len(seen) >= 15
    assert {decision.done for decision in seen} == {4} and any(decision.choice > 4 for decision in seen)
    assert all(decision.mode == "shadow" and decision.seconds == pytest.approx(0.02) for decision in seen)


def test_in_act_mode_it_finds_the_knee_and_loses_nothing():
    tuner = Tuner(Knob("concurrency", 1, 128, start=4), mode="act")
    static, tuned = trial(4, Contended(24)), trial(tuner, Contended(24))
    assert tuned.values == static.values == list(range(12_000))
    assert tuned.elapsed < 0.3 * static.elapsed
    assert tuned.elapsed < 1.4 * trial(24, Contended(24)).elapsed
    assert 18 <= tuner.controller.centre <= 30


def test_it_comes_down_from_too_much():
    tuner = Tuner(Knob("concurrency", 1, 128, start=120), mode="act")
    trial(tuner, Contended(24))
    assert 18 <= tuner.controller.centre <= 30


def test_the_same_decisions_come_of_the_same_run():
    def decisions():
        seen = []
        trial(Tuner(Knob("concurrency", 1, 128, start=8), mode="act", record=seen.append), Contended(24), 4_000)
        return [(decision.at, decision.choice, decision.reason) for decision in seen]

    first = decisions()
    second = decisions()
    assert [each[1:] for each in first] == [each[1:] for each in second] and len(first) > 5


@pytest.mark.parametrize(
    "options", [{"ordered": False}, {"priority": lambda value: -value}, {"order_by": lambda value: value % 9}]
)
def test_whatever_the_order_all_values_go_on(options):
    result = trial(Tuner(Knob("concurrency", 1, 64, start=30), mode="act"), Contended(24), 3_000, **options)
    assert sorted(result.values) == list(range(3_000))


def test_where_all_calls_fail_it_stays_within_bounds():
    tuner = Tuner(Knob("concurrency", 2, 64, start=16), mode="act")
    calls = Contended(24, fails=True)
    assert trial(tuner, calls, 3_000).outcomes == {"dead-lettered": 3_000}
    assert calls.most <= 64 and 2 <= tuner.value <= 64


def test_a_run_that_is_not_limited_by_the_knob_teaches_nothing():
    tuner = Tuner(Knob("concurrency", 1, 128, start=32), mode="act", least=20)
    steps = memory.items([]) | map(Contended(24), concurrency=tuner) | memory.into([])
    Pipeline("idle", steps).test(list(range(400)), at=[i * 0.05 for i in range(400)])
    assert tuner.value == 32


def test_replays_of_one_flow_with_and_without_it_promote_it():
    knob = Knob("concurrency", 1, 128, start=4)
    shadow, acting = (Tuner(knob, mode=mode, interval="200ms", least=50) for mode in ("shadow", "act"))
    trial(shadow, Contended(24), 5_000)
    trial(acting, Contended(24), 16_000)
    tuner = Tuner(knob)
    with pytest.raises(DataError, match="not surely more than nothing"):
        tuner.promote(shadow.decisions)
    assert tuner.promote([*shadow.decisions, *acting.decisions]).least > 0.5
    assert trial(tuner, Contended(24), 2_000).elapsed < 0.5 * trial(4, Contended(24), 2_000).elapsed


def test_decisions_are_recorded_with_the_flow(tmp_path):
    tuner = Tuner(Knob("concurrency", 1, 128, start=4), mode="act")
    steps = memory.items([]) | map(Contended(24), concurrency=tuner) | memory.into([])
    Pipeline("tuned", steps, credit=400).observed(Recorder(tmp_path)).test(list(range(4_000)))
    rows = Flows(tmp_path).decisions.collect()
    assert set(rows["policy"]) == {"Tuner(concurrency)"} and set(rows["stage"]) == {"1:map(Contended)"}
    made = list(recorded(rows))
    assert [each.number for each in made] == [each.number for each in tuner.decisions]
    assert made[-1].inputs["span"] == tuner.decisions[-1].inputs["span"]


def test_one_tuner_is_for_one_step():
    tuner = Tuner(Knob("concurrency", 1, 128, start=4))
    first, second = map(Contended(24), concurrency=tuner), map(Contended(24), concurrency=tuner)
    for steps in (first | second, first | route(lambda value: "a", a=second | discard(), default=discard())):
        flow = memory.items([]) | steps
        with pytest.raises(GraphError, match="have one setting, for 'concurrency'; give each of them one of its own"):
            Pipeline("twice", flow if isinstance(flow, Flow) else flow | discard())


def test_what_a_map_says_of_itself_names_the_bounds():
    step = map(Contended(24), concurrency=Tuner(Knob("concurrency", 2, 64, start=16)))
    assert step.guarantee == "2 to 64 at once, order kept"
    with pytest.raises(GraphError, match="concurrency must be at least 1"):
        map(Contended(24), concurrency=0)
