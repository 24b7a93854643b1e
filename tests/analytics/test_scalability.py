from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analytics.feeding import Feed
from warren.analytics import Flows, Recorder
from warren.analytics.scalability import Scaling, concurrency, fit_scaling
from warren.core.errors import DataError
from warren.core.message import Batch
from warren.core.receipt import DELIVERED

WORKERS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]


@given(st.floats(1, 1e5), st.floats(0, 0.5), st.floats(0, 0.01))
def test_exact_points_give_the_law_back(single: float, contention: float, coherence: float) -> None:
    law = Scaling(single, contention, coherence, 0.0)
    told = fit_scaling(WORKERS, [law.throughput(each) for each in WORKERS])
    assert told.single == pytest.approx(single, rel=1e-4)
    assert told.contention == pytest.approx(contention, abs=1e-4)
    assert told.coherence == pytest.approx(coherence, abs=1e-5)


def test_points_far_off_hardly_count() -> None:
    law = Scaling(100.0, 0.04, 0.002, 0.0)
    draw = np.random.default_rng(1)
    seen = np.array([law.throughput(each) for each in WORKERS]) * draw.normal(1, 0.01, len(WORKERS))
    seen[4] /= 3
    told = fit_scaling(WORKERS, seen)
    assert told.single == pytest.approx(100, rel=0.03)
    assert told.peak == pytest.approx(law.peak, abs=3)
    assert told.error < 0.05


def test_nothing_is_negative_where_workers_help_each_other() -> None:
    told = fit_scaling([1, 2, 4, 8], [100, 220, 480, 1000])
    assert (told.contention, told.coherence, told.peak) == (0, 0, None)
    assert told.workers_for(10 * told.single) == 10


def test_the_workers_for_a_rate_are_the_fewest() -> None:
    law = Scaling(100.0, 0.05, 0.001, 0.0)
    for rate in (50.0, 100.0, 569.0, 800.0):
        told = law.workers_for(rate)
        assert law.throughput(told) >= rate and (told == 1 or law.throughput(told - 1) < rate)
    with pytest.raises(DataError, match="are more than 31 workers reach"):
        law.workers_for(2000.0)
    with pytest.raises(DataError, match="are more than ever more workers reach, 1000"):
        Scaling(100.0, 0.1, 0.0, 0.0).workers_for(1000.0)


@pytest.mark.parametrize(
    ("workers", "throughput", "sentence"),
    [
        ([1, 2], [1, 2], "2 different number"),
        ([1, 1, 1, 2], [1, 1, 1, 2], "2 different number"),
        ([1, 2, 3], [1, 2], "do not pair"),
        ([1, 2, 0], [1, 2, 3], "above zero"),
        ([1, 2, 3], [1, 2, -3], "above zero"),
        ([1, 2, 3], [1, 2, float("nan")], "2 different number"),
        ([], [], "0 different number"),
    ],
)
def test_points_that_tell_nothing_are_refused(workers: list, throughput: list, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        fit_scaling(workers, throughput)


def test_flows_give_points(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.open("p")
    fed = Feed(recorder)
    delivery = fed.accept(Batch([b"x"] * 60, range(60)))
    fed.now += 2.0
    fed.ledger.settle(delivery.tokens, DELIVERED)
    recorder.close()
    row = concurrency(Flows(tmp_path), "1m").row(0, named=True)
    assert (row["workers"], row["throughput"]) == (2.0, 1.0)
    with pytest.raises(DataError, match="a span must last"):
        concurrency(Flows(tmp_path), 0.0)
