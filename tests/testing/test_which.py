from __future__ import annotations

from typing import Any

import pytest

from warren.core.errors import GraphError
from warren.testing.which import Which, which


def chosen(choice: Which, seed: str = "", count: int = 10) -> list[int]:
    choose = choice.chooser(seed)
    return [i for i in range(1, count + 1) if choose()]


def test_the_nth_several_and_every_nth() -> None:
    assert chosen(which("x", 3)) == [3]
    assert chosen(which("x", [1, 4])) == [1, 4]
    assert chosen(which("x", every=4)) == [4, 8]


def test_a_share_is_drawn_by_lot_the_same_for_the_same_seed() -> None:
    third = which("x", share=0.3)
    first = chosen(third, "a", 1000)
    assert first == chosen(third, "a", 1000) != chosen(third, "b", 1000)
    assert 200 < len(first) < 400
    assert chosen(which("x", share=1.0)) == list(range(1, 11))


def test_the_lots_of_a_seed_stay_what_they_are() -> None:
    assert chosen(which("x", share=0.5), "0", 12) == [1, 3, 5, 6, 7, 8, 9, 10, 11]


def test_it_shows_how_it_was_written() -> None:
    assert list(map(str, (which("x", 3), which("x", [4, 1]), which("x", every=2), which("x", share=0.25)))) == [
        "nth=3",
        "nth=[1, 4]",
        "every=2",
        "share=0.25",
    ]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({}, "x: say which ones, by one of nth=3, nth=.1, 4., every=10 or share=0.1"),
        ({"nth": 1, "share": 0.1}, "x: say which ones"),
        ({"nth": 0}, "x: nth=0 must be a whole number from 1"),
        ({"nth": []}, "x: nth=.. must be"),
        ({"nth": [1, "2"]}, "x: nth=.*must be"),
        ({"nth": True}, "x: nth=True must be"),
        ({"every": 0}, "x: every=0 must be a whole number from 1"),
        ({"every": 1.5}, "x: every=1.5 must be"),
        ({"share": 0}, "x: share=0 must be above 0 and at most 1"),
        ({"share": 2}, "x: share=2 must be"),
        ({"share": "half"}, "x: share='half' must be"),
    ],
)
def test_what_chooses_nothing_is_refused(how: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        which("x", **how)
