from __future__ import annotations

from typing import Any

import pytest

from warren import Pipeline
from warren.connectors import memory
from warren.operators import delay, map
from warren.testing import Faults, check, fail, play


def over(*steps: Any) -> Pipeline:
    flow: Any = memory.items([])
    for step in steps:
        flow = flow | step
    return Pipeline("p", flow | memory.into([]))


def lines(pipeline: Pipeline, given: str, expected: Any, **options: Any) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        check(pipeline, given, expected, **options)
    return str(caught.value).splitlines()


def test_the_lines_stand_below_each_other_with_carets_where_they_differ() -> None:
    assert lines(over(delay("1s")), "a-b--c|", "a-b--c|") == [
        "pipeline 'p': what came out is not what the marbles say (a frame is 1s)",
        "",
        "  given     a-b--c|",
        "  expected  a-b--c|",
        "  actual    -a-b--(c|)",
        "            ^^^^ ^^",
        "",
        "  frame 0 (0s): expected a, and nothing came",
        "  frame 1 (1s): expected nothing, and a came",
        "  frame 2 (2s): expected b, and nothing came",
        "  frame 3 (3s): expected nothing, and b came",
        "  frame 5 (5s): expected c, and nothing came",
        "  frame 6 (6s): expected nothing, and c came",
    ]


def test_the_end_is_compared_where_it_is_drawn() -> None:
    assert lines(over(), "a--|", "a-|")[-1] == "  the end: expected after 2s, and all was done after 3s"
    check(over(), "a--|", "a")


def test_the_letters_are_explained() -> None:
    text = lines(over(map(lambda value: value * 2)), "ab|", "xy|", values={"a": 1, "b": 2, "x": 2, "y": 5})
    assert text[4] == "  actual    x?1|"
    assert text[-4:] == ["", "  x = 2", "  y = 5", "  ?1 = 4"]
    assert "  frame 1 (1s): expected y, and ?1 came" in text


def test_dead_letters_say_why() -> None:
    text = lines(over(map(fail(nth=2, error=TimeoutError("too slow"))(str))), "ab|", "ab|")
    assert "  frame 1 (1s): expected b, and # came" in text
    assert text[-1] == "  # in p.dead: TimeoutError at 1:map(str), 'too slow'"


def test_values_off_the_frame_tell_their_time() -> None:
    assert "  frame 0 (0.25s): expected nothing, and a came" in lines(over(delay("250ms")), "a|", "-a|")


def test_the_order_within_a_frame_counts_for_values_and_not_for_dead_letters() -> None:
    check(over(map(fail(nth=1)(str))), "(abc)|", "(#bc)|")
    check(over(map(fail(nth=1)(str))), "(abc)|", "(bc#)|")
    assert "  frame 0 (0s): expected c b #, and b c # came" in lines(over(map(fail(nth=1)(str))), "(abc)|", "(cb#)|")


def test_the_faults_are_named() -> None:
    first, *_ = lines(over(), "a|", "b|", faults=Faults(seed=2).duplicate(nth=1))
    assert first.startswith("pipeline 'p' with Faults(seed=2).duplicate(nth=1): what came out is not what")


def test_very_many_differences_are_cut_short() -> None:
    text = lines(over(), "a" * 30 + "|", "b" * 30 + "|")
    assert sum(line.startswith("  frame") for line in text) == 8
    assert "  … and 22 more" in text


def test_places_are_drawn_one_by_one_and_a_misspelt_one_is_told() -> None:
    text = lines(over(), "a|", {"memory.out": "a|"})
    assert text[2:6] == [
        "  given                 a|",
        "  expected memory.out   a|",
        "  actual memory.out     -|",
        "  expected memory.into  --",
    ]
    assert text[-1] == "  nothing is named 'memory.out'; there are 'memory.into'"


def test_the_letter_that_is_expected_is_drawn_where_several_stand_for_a_value() -> None:
    played = play(over(), "ab|", values={"a": 1, "b": 2, "x": 1, "y": 2})
    assert played == "xy|"
    assert "  actual    x-" not in played.differences("x|")
    assert "  actual    xb|" in played.differences("x-|").splitlines()
