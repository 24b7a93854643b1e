"""The simulation of tuning: exact where it can be reckoned by hand, and the same for each seed."""

import pytest

from benchmarks.tuning import CASES, main
from benchmarks.tuning_model import live
from benchmarks.tuning_model.plant import Call, Regime, Run, simulate
from benchmarks.tuning_model.rivals import RIVALS
from benchmarks.tuning_model.scoring import Case, Fixed, Tried, best, shares, tables
from warren.analytics.tuning import Tuner
from warren.core.knobs import Knob

KNOB = Knob("n", 1, 64, 8)


def rate(regime, value, lasts=20.0):
    calls = simulate([regime], lasts, Fixed(KNOB, value), 1).calls
    return sum(call.messages for call in calls) / lasts


@pytest.mark.parametrize(("value", "expected"), [(1, 50), (4, 200), (8, 400), (16, 400)])
def test_calls_share_the_workers(value, expected):
    assert rate(Regime("x", work=0.02, spread=0, workers=8), value) == pytest.approx(expected, rel=0.01)


def test_contention_and_coherency_are_the_universal_scalability_law():
    regime = Regime("x", work=0.01, spread=0, workers=64, contention=0.02, coherency=0.004)
    assert rate(regime, 16) == pytest.approx(16 / 0.01 / (1 + 0.02 * 15 + 0.004 * 16 * 15), rel=0.01)


def test_a_network_takes_its_time_and_no_worker():
    regime = Regime("x", work=0.01, spread=0, workers=64, delay=0.09)
    assert rate(regime, 10) == pytest.approx(100, rel=0.02)


def test_a_batch_has_one_overhead():
    regime = Regime("x", work=0.001, spread=0, workers=4, overhead=0.01, batch=4)
    assert rate(regime, 40) == pytest.approx(4 * 40 / 0.05, rel=0.01)


@pytest.mark.parametrize("name", [None, *RIVALS])
def test_every_rule_stays_within_bounds_and_does_the_same_again(name):
    regimes = CASES["concurrency"].regimes[:3]

    def run():
        return simulate(regimes, 4.0, Tuner(KNOB, RIVALS[name](KNOB) if name else None, mode="act"), 3)

    first = run()
    assert first == run()
    assert len(first.values) > 2 and all(1 <= value <= 64 for _, value in first.values)


def test_the_shares_are_those_of_the_best_value():
    case = Case("x", (), KNOB, latency=0.5)
    tried = [Tried(1, 5.0, 0.1), Tried(8, 10.0, 0.4), Tried(64, 40.0, 3.0)]
    assert best(case, tried) == tried[1]
    calls = [Call(i / 10, 0.6 if i >= 190 else 0.2, 1) for i in range(1, 200)]
    settled, whole, default, late, time, value = shares(case, Run(calls, [(0.0, 8), (12.0, 9)]), 0, 20.0, tried)
    assert (settled, whole, default) == pytest.approx((1.0, 0.995, 0.995))
    assert (late, time, value) == pytest.approx((0.1, 0.0, 9.0))


def test_what_it_costs_is_measured_for_each_place(capsys, monkeypatch, vhost):
    monkeypatch.setenv("WARREN_AMQP_URL", vhost)
    assert main(["--cost", "--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 and all("µs for a message, with a tuner" in line for line in lines)


@pytest.mark.filterwarnings("default")
def test_on_a_broker_messages_go_round_and_every_rule_is_measured(vhost):
    case, grids, results = live.measure(live.CASES["live"], vhost, live.QUICK)
    usual, slow = ([row.rate for row in grid] for grid in grids)
    # 16 workers with 80 ms of work each, and 48 with 250 ms: what there can be at most.
    assert 0.3 * 200 < max(usual) < 1.3 * 200 and slow[0] < 0.6 * max(slow)
    assert {"default", "AIMD", "Vegas", "Gradient2", "KneeSearch"} < set(results)
    assert all(0 < row["whole"] < 2.5 for row in results.values())
    assert [len(table.rows) for table in tables(case, grids, results)] == [len(results), 2]
