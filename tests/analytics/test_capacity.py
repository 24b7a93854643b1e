from __future__ import annotations

import math
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analytics.feeding import NOW, Feed
from warren.analytics import Flows, Recorder
from warren.analytics.capacity import Prices, Workload, runs_out, schedule, survivors, workloads
from warren.core.errors import DataError
from warren.core.hooks import Work
from warren.core.message import Batch
from warren.core.receipt import DELIVERED

ORDERS = Workload(service=0.05, target=0.5)


@pytest.mark.parametrize("of", ["wait", "latency"])
def test_capacity_and_consumers_are_each_others_answer(of: str) -> None:
    work = Workload(service=0.05, target=0.5, service_cv2=2.0, of=of)
    for consumers in (1, 6, 40):
        most = work.arrivals(consumers)
        assert work.consumers(most * 0.999) == consumers
        assert work.consumers(most * 1.001) == consumers + 1


def cheapest(needed: list[int], prices: Prices, running: int) -> float:
    """By trying everything."""
    most = max(*needed, running)
    best = math.inf
    for tried in product(*(range(need, most + 1) for need in needed)):
        before = (running, *tried[:-1])
        starts = sum(max(0, now - then) for then, now in zip(before, tried, strict=True))
        best = min(best, sum(tried) * prices.consumer_hour + starts * prices.start)
    return best


@given(st.lists(st.sampled_from([0.0, 10.0, 30.0, 60.0, 90.0]), min_size=1, max_size=5), st.floats(0, 4), st.integers(0, 3))
def test_a_schedule_is_the_cheapest_there_is(rates: list[float], start: float, running: int) -> None:
    prices = Prices(consumer_hour=1.0, start=start)
    told = schedule(rates, ORDERS, prices, running=running, least=0)
    assert told.cost == pytest.approx(cheapest(told.needed.tolist(), prices, running))
    assert (told.consumers >= told.needed).all()
    for rate, need in zip(rates, told.needed, strict=True):
        assert need == (ORDERS.consumers(rate) if rate else 0)


def test_what_a_million_messages_cost() -> None:
    told = schedule([100.0] * 24, ORDERS, Prices(consumer_hour=0.1, million=0.4, fixed_hour=0.2))
    assert told.consumers.tolist() == [6] * 24
    assert told.per_million == pytest.approx(0.4 + (0.6 + 0.2) / 0.36)
    assert told.per_million == pytest.approx(Prices(0.1, million=0.4, fixed_hour=0.2).per_million(6, 100.0))


def test_lost_nodes_take_the_most_consumers_with_them() -> None:
    rows = survivors(100.0, ORDERS, nodes=[2, 4, 3]).rows(named=True)
    assert [row["consumers"] for row in rows] == [9, 5, 2]
    assert [row["keep"] for row in rows] == [True, False, False]
    assert rows[2]["growth"] == pytest.approx(60.0) and rows[2]["wait"] == math.inf
    assert survivors(100.0, ORDERS, nodes=[9], lost=[1]).row(0, named=True)["growth"] == 100.0


def test_when_capacity_runs_out() -> None:
    draw = np.random.default_rng(1)
    hours = np.arange(26 * 168)
    rates = (
        100
        * 1.5 ** (hours / (365.25 * 24))
        * (1 + 0.3 * np.sin(hours * np.pi / 12))
        * np.exp(draw.normal(0, 0.05, len(hours)))
    )
    last = datetime(2026, 7, 1)
    told = runs_out(rates, last, ORDERS, consumers=14)
    # Busy hours are now at about 100 × 1.5 ** 0.5 × 1.3; 14 consumers keep the target up to 275 or so.
    assert told.yearly == pytest.approx(0.5, abs=0.1)
    expected = math.log(told.capacity / told.peak) / math.log(1.5) * 365.25
    assert told.at is not None and told.earliest is not None and told.latest is not None
    assert told.earliest <= told.at <= told.latest
    assert abs((told.at - last) / timedelta(days=1) - expected) < 0.15 * expected
    assert runs_out(rates, last, ORDERS, consumers=2).at == last
    assert runs_out(rates[::-1], last, ORDERS, consumers=14).at is None


@pytest.mark.parametrize(
    ("rates", "options"), [([], {}), ([math.nan], {}), ([-1.0], {}), ([1.0], {"running": -1}), ([1.0], {"every": 0.0})]
)
def test_a_schedule_of_nothing_is_refused(rates: list[float], options: dict) -> None:
    with pytest.raises(DataError):
        schedule(rates, ORDERS, Prices(1.0), **options)


def test_numbers_without_sense_are_refused() -> None:
    with pytest.raises(DataError, match="prices must be"):
        Prices(-1.0)
    with pytest.raises(DataError, match="needs messages"):
        Prices(1.0).per_million(1, 0.0)
    with pytest.raises(DataError, match="the service alone"):
        Workload(1.0, 0.5, of="latency").arrivals(3)
    with pytest.raises(DataError, match="how many consumers each node"):
        survivors(1.0, ORDERS, nodes=[])
    with pytest.raises(DataError, match="there are 1 nodes"):
        survivors(1.0, ORDERS, nodes=[1], lost=[2])


def test_flows_tell_the_workload(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.open("p")
    fed = Feed(recorder)
    draw = np.random.default_rng(1)
    for length in draw.exponential(0.02, 4000):
        fed.now += draw.exponential(0.1)
        delivery = fed.accept(Batch([b"x"], [0]))
        recorder.handled("1:map", 1, 1, 0, fed.now, fed.now + length, 1, None)
        fed.ledger.settle(delivery.tokens, DELIVERED)
    recorder.close()
    row = workloads(Flows(tmp_path)).row(0, named=True)
    assert row["pipeline"] == "p"
    assert row["arrivals"] == pytest.approx(10, rel=0.05)
    assert row["service"] == pytest.approx(0.02, rel=0.05)
    assert row["service_cv2"] == pytest.approx(1, abs=0.15)
    assert row["arrival_cv2"] == pytest.approx(1, abs=0.3)
    assert workloads(Flows(_empty(tmp_path))).is_empty()


def _empty(folder: Path) -> Path:
    (folder / "none").mkdir()
    return folder / "none"


def test_one_message_tells_no_rate(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.open("p")
    fed = Feed(recorder)
    fed.ledger.settle(fed.accept(Batch([b"x"], [0])).tokens, DELIVERED)
    recorder.handled("1:map", 1, 1, 0, NOW, NOW + 0.1, 1, None)
    recorder.close()
    row = workloads(Flows(tmp_path)).row(0, named=True)
    assert (row["arrivals"], row["arrival_cv2"]) == (0.0, 1.0)


def test_the_service_of_an_asynchronous_step_is_what_its_calls_would_fill_all_its_workers_for(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.open("p")
    fed = Feed(recorder)
    for _ in range(10):
        fed.now += 1.0
        recorder.handled("1:map", 1, 1, 0, fed.now, fed.now + 0.001, 1, None)
        recorder.worked("1:map", Work(4, 0, 1, 0.8, 0.8), fed.now, fed.now + 1)
        recorder.worked("out", Work(1, 0, 1, 0.9, 0.9), fed.now, fed.now + 1)
        fed.ledger.settle(fed.accept(Batch([b"x"], [0])).tokens, DELIVERED)
    recorder.close()
    row = workloads(Flows(tmp_path)).row(0, named=True)
    assert (row["service"], row["service_cv2"]) == (pytest.approx(0.2), 1.0)


def test_no_more_nodes_are_lost_than_there_are() -> None:
    assert survivors(1.0, Workload(0.05, 0.5), nodes=[3])["lost"].to_list() == [0, 1]
