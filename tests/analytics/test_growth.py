from __future__ import annotations

import numpy as np
import pytest

from warren.analytics.growth import growth
from warren.core.errors import DataError

WEEK = 7 * 86_400.0
YEAR = 365.25 * 86_400


def weekly(count: int, yearly: float, noise: float, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return 100 * (1 + yearly) ** (np.arange(count) * WEEK / YEAR) * np.exp(draw.normal(0, noise, count))


def test_growth_is_found_and_a_few_odd_weeks_do_not_bend_it() -> None:
    values = weekly(40, 0.5, 0.01)
    values[[5, 20, 39]] *= [10, 0.1, 4]
    told = growth(values, WEEK)
    assert told.rate == pytest.approx(0.5, abs=0.08)
    assert told.low < 0.5 < told.high


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = [told.low <= 0.3 <= told.high for told in (growth(weekly(26, 0.3, 0.05, seed), WEEK) for seed in range(60))]
    assert np.mean(held) > 0.75


def test_hours_of_a_week_are_one_and_their_busiest_can_count() -> None:
    hours = np.tile(np.r_[np.full(159, 10.0), np.full(9, 100.0)], 6)
    assert growth(hours, 3600, period=168).level == pytest.approx((159 * 10 + 9 * 100) / 168)
    assert growth(hours, 3600, period=168, quantile=0.99).level == pytest.approx(100.0)


def test_when_a_level_is_reached() -> None:
    told = growth(weekly(52, 1.0, 0.01), WEEK)
    middle, low, high = told.reaches(2 * told.level)
    assert low <= middle <= high
    assert middle == pytest.approx(YEAR, rel=0.05)
    assert told.reaches(1.0) == (0.0, 0.0, 0.0)
    assert growth(weekly(52, -0.5, 0.01), WEEK).reaches(1e6)[0] == np.inf


@pytest.mark.parametrize("values", [[1.0] * 3, [0.0] * 10, [float("nan")] * 10, []])
def test_too_little_is_refused(values: list[float]) -> None:
    with pytest.raises(DataError, match="record for longer"):
        growth(np.array(values), WEEK)
