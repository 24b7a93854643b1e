from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.analytics import Novelty
from warren.core.errors import GraphError

DAY = 288


def daily(days: int, seed: int = 3) -> list[float]:
    """Business hours at 100, nights at 10, every five minutes."""
    draw = random.Random(seed)
    return [(100.0 if DAY / 3 <= i % DAY < 2 * DAY / 3 else 10.0) + draw.uniform(-1, 1) for i in range(days * DAY)]


def times(count: int, start: float = 0.0) -> list[float]:
    return [start + 300.0 * i for i in range(count)]


def test_what_is_usual_by_day_stands_out_by_night() -> None:
    values = daily(7)
    seasonal, plain = Novelty(), Novelty()
    seasonal.learn_many(values, times(len(values)))
    plain.learn_many(values)
    night = 300.0 * len(values)
    assert seasonal.score_one(100, night) > 1.2 * seasonal.score_one(100, night + 12 * 3600)
    assert plain.score_one(100) == plain.score_one(100, None)


def test_the_day_is_that_of_the_zone_through_summer_time() -> None:
    zone = ZoneInfo("Europe/Berlin")
    berlin, utc = Novelty(zone="Europe/Berlin"), Novelty()
    days = [datetime(2024, 10, day, 12, tzinfo=zone) for day in (25, 26, 27, 28)]
    for moments in (days, [day.astimezone(UTC) for day in days], [day.timestamp() for day in days]):
        assert {berlin._part(at) for at in moments} == {5}
    assert {utc._part(day.timestamp()) for day in days} == {4}
    assert utc._part(days[0]) == utc._part(datetime(2024, 10, 25, 12)) == 5


def test_a_new_level_is_news_once() -> None:
    draw = random.Random(1)
    made = Novelty()
    scores = made.watch_many([draw.gauss(0, 1) for _ in range(1000)] + [draw.gauss(50, 1) for _ in range(1000)])
    assert scores[1000:1010].max() > 2
    assert scores[1500:].max() < scores[1000:1010].max() / 2


def test_a_sudden_calm_and_unrest_are_news() -> None:
    draw = random.Random(2)
    for before, after in [(1.0, 0.0), (0.2, 1.0)]:
        made = Novelty()
        scores = made.watch_many(
            [before * draw.uniform(-1, 1) for _ in range(1000)] + [after * (-1) ** i for i in range(40)]
        )
        assert scores[1000:].max() > made.threshold


def test_memory_is_bounded_and_what_left_it_is_new_again() -> None:
    made = Novelty(memory=100)
    made.learn_many([5.0] * 10 + [1.0 + i % 7 / 10 for i in range(110)], times(120))
    assert len(made._past) == 100
    assert sum(map(len, made._seen[0])) == 200
    known = Novelty(memory=1000)
    known.learn_many([5.0] * 10 + [1.0 + i % 7 / 10 for i in range(110)], times(120))
    assert made.score_one(5.0, 1e6) > known.score_one(5.0, 1e6)


@given(st.lists(st.tuples(st.floats(-9, 9), st.one_of(st.none(), st.floats(0, 1e6))), max_size=150), st.integers(50, 80))
def test_it_finds_the_nearest(rows: list[tuple[float, Any]], memory: int) -> None:
    made = Novelty(window=3, memory=memory)
    kept: list[tuple[float, int]] = []
    for value, at in rows:
        part = made._part(at)
        distances = made._distances(made._features(value), part)
        for place, same in ((0, [v for v, _ in kept]), (1, [v for v, p in kept if p == part] if part else [])):
            expected = min((abs(value - v) for v in same), default=None)
            found = distances[place]
            assert (found is None) == (expected is None)
            if expected is not None:
                assert found == (expected if expected > 1e-12 * abs(value) else 0)
        made.learn_one(value, at)
        kept = [*kept, (value, part)][-memory:]
    assert all(known == sorted(known) for seen in made._seen for known in seen)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"window": 1}, r"Novelty\(window=1\): a level takes 2 values or more"),
        ({"memory": 9}, r"Novelty\(memory=9\): remember 50 values or more"),
        ({"threshold": 0}, r"Novelty\(threshold=0\): a threshold is above 0"),
        ({"threshold": float("nan")}, r"a threshold is above 0"),
        ({"zone": "Europe/Atlantis"}, r"zone='Europe/Atlantis' is no time zone; name one such as"),
        ({"zone": "../etc"}, r"is no time zone"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(GraphError, match=says):
        Novelty(**settings)


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 60, 66, 67, 68, 300])
def test_its_state_is_its_values_and_goes_on_the_same(count: int) -> None:
    values, at = daily(2), times(2 * DAY)
    made, again = Novelty(memory=50), Novelty(memory=50)
    made.learn_many(values[:count], at[:count])
    again.__setstate__(made.__getstate__())
    assert again.watch_many(values[count:], at[count:]).tolist() == made.watch_many(values[count:], at[count:]).tolist()
    assert len(made.state()["values"]) <= 8 * (50 + 17)
