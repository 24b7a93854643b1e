from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.testing.drawing import Line, draw, duration, frame_at
from warren.testing.marbles import Marbles


def test_lines_are_as_wide_as_their_widest_frame() -> None:
    lines = draw([Line("one", {0: ["a", "b"], 1: "c"}), Line("other", {1: "d"}, end=2)], 1.0)
    assert lines == ["one    (ab)c-", "other  -   d|"]


def test_nothing_is_drawn_behind_the_end() -> None:
    assert draw([Line("a", {0: "x"}, end=1), Line("b", {4: "y"})], 1.0) == ["a  x|", "b  ----y"]


def test_a_long_silence_is_a_time() -> None:
    assert draw([Line("", {0: "a", 3601: "b"})], 1.0) == ["  a 1h b"]
    assert draw([Line("", {0: "a", 13: "b"})], 1.0) == ["  a------------b"]


def test_frames_that_are_marked_have_a_caret() -> None:
    assert draw([Line("x", {0: "a", 2: ["b", "c"], 3: "d"})], 1.0, [2, 3]) == ["x  a-(bc)d", "     ^   ^"]


def test_a_line_of_nothing_stays() -> None:
    assert draw([Line("given", {}), Line("actual", {}, end=0)], 1.0) == ["given   -", "actual  |"]


@pytest.mark.parametrize(
    ("length", "text"),
    [(0, "0s"), (0.25, "0.25s"), (61, "1m1s"), (90061.5, "1d1h1m1.5s"), (3600, "1h"), (0.1 + 0.2, "0.3s")],
)
def test_a_length_of_time_is_written_as_marbles_read_it(length: float, text: str) -> None:
    assert duration(length) == text


@pytest.mark.parametrize(
    ("time", "frame", "expected"), [(0, 1.0, 0), (1.5, 1.0, 1), (1.9999995, 1.0, 2), (0.3, 0.1, 3), (0.0009999, 0.001, 1)]
)
def test_a_time_lies_in_its_frame(time: float, frame: float, expected: int) -> None:
    assert frame_at(time, frame) == expected


@given(st.dictionaries(st.integers(0, 60), st.text("abc", min_size=1, max_size=3), min_size=1))
def test_what_is_drawn_can_be_read_again(frames: dict[int, str]) -> None:
    (line,) = draw([Line("", frames)], 1.0)
    marbles = Marbles(line)
    assert [(mark.at, mark.symbol) for mark in marbles.marks] == [(at, s) for at in sorted(frames) for s in frames[at]]
