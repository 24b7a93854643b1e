from __future__ import annotations

from pathlib import Path

import pytest

from tests.analytics.feeding import Feed
from warren.analytics import Flows, Recorder
from warren.analytics.forecasts import forecast, measures
from warren.core.errors import DataError
from warren.core.message import Batch
from warren.core.receipt import DELIVERED


@pytest.fixture
def flows(tmp_path: Path) -> Flows:
    recorder = Recorder(tmp_path)
    recorder.open("p")
    fed = Feed(recorder)
    fed.now -= fed.now % 3600
    for hour in range(100):
        # Nothing comes in every tenth hour.
        if hour % 10 != 5:
            for _ in range(2):
                delivery = fed.accept(Batch([b"x"] * 360, range(360)))
                recorder.handled("1:map", 360, 360, 0, fed.now, fed.now + 36, 50, 7 + hour % 3)
                fed.now += 1.5
                fed.ledger.settle(delivery.tokens, DELIVERED)
            fed.now -= 3.0
        fed.now += 3600
    recorder.close()
    return Flows(tmp_path)


def test_every_measure_is_told_by_the_hour(flows: Flows) -> None:
    told = measures(flows)
    by_name = {name: part["value"].to_list() for (name,), part in told.group_by("measure")}
    assert by_name["rate"][:6] == [0.2] * 5 + [0.0]
    assert by_name["latency_p95_ms"][0] == 1500.0
    assert by_name["depth"][:3] == [7.0, 8.0, 9.0]
    assert by_name["credit"][0] == 50.0
    assert by_name["busy"][0] == pytest.approx(0.02)
    assert len(by_name["rate"]) == 100 and len(by_name["depth"]) == 90


def test_measures_are_forecast_together(flows: Flows) -> None:
    told = forecast(measures(flows), 6, method="seasonal_naive")
    assert told.table.height == 6 * 6
    assert told.table["measure"].n_unique() == 6


def test_nothing_recorded_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="too few to forecast from"):
        forecast(measures(Flows(tmp_path / "none")), 6)
    with pytest.raises(DataError, match="a span must last"):
        measures(Flows(tmp_path / "none"), 0.0)
