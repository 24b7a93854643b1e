from __future__ import annotations

import pytest

from warren.analytics import Deviation
from warren.core.errors import GraphError


def test_the_score_is_the_robust_z_score() -> None:
    made = Deviation(window=11)
    made.learn_many(range(11))
    # The median is 5, the median deviation 3.
    assert made.score_one(20) == pytest.approx(0.6745 * 15 / 3)
    assert made.score_one(5) == 0


def test_a_few_outliers_do_not_hide_others_and_a_new_level_is_soon_usual() -> None:
    made = Deviation(window=20)
    made.learn_many([1, 2, 3, 2] * 5)
    scores = made.watch_many([500] * 15)
    assert scores[5] > made.threshold and scores[-1] < made.threshold


def test_any_change_of_a_constant_scores_most() -> None:
    made = Deviation()
    made.learn_many([4.0] * 30)
    assert (made.score_one(4.0), made.score_one(4.1)) == (0, 1000)


def test_where_most_values_are_the_same_the_others_still_set_the_scale() -> None:
    made = Deviation()
    made.learn_many([5, 5, 6] * 10)
    assert made.score_one(6) < made.threshold < made.score_one(16)


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"window": 5}, "a median takes 10 values or more"), ({"threshold": -1}, "a threshold is above 0")],
)
def test_what_cannot_work_is_refused(settings: dict[str, int], says: str) -> None:
    with pytest.raises(GraphError, match=says):
        Deviation(**settings)
