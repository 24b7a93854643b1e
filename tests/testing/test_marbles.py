from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.core.errors import GraphError
from warren.testing.marbles import Marbles, Mark, frame_length


def marks(text: str, frame: str = "1s") -> list[tuple[float, str]]:
    return [tuple(mark) for mark in Marbles(text, frame).marks]


def test_each_mark_takes_a_frame() -> None:
    marbles = Marbles("a-b--c|")
    assert marbles.marks == [Mark(0, "a"), Mark(2, "b"), Mark(5, "c")]
    assert (marbles.end, marbles.length) == (6, 7)


@pytest.mark.parametrize("text", ["", "   "])
def test_nothing_is_drawn_by_nothing(text: str) -> None:
    marbles = Marbles(text)
    assert (marbles.marks, marbles.end, marbles.length) == ([], None, 0)


def test_frames_that_pass_are_silence_and_need_no_end() -> None:
    marbles = Marbles("---")
    assert (marbles.marks, marbles.end, marbles.length) == ([], None, 3)


def test_a_group_takes_one_frame_and_may_end_it() -> None:
    assert marks("-(ab)c") == [(1, "a"), (1, "b"), (2, "c")]
    marbles = Marbles("a(b#|)")
    assert (marbles.marks[1:], marbles.end, marbles.length) == ([Mark(1, "b"), Mark(1, "#")], 1, 2)
    assert Marbles("(|)").end == 0


def test_the_frame_is_as_long_as_one_says() -> None:
    assert marks("-a", "250ms") == [(0.25, "a")]
    assert Marbles("--|", frame=60).end == 120


def test_a_time_between_spaces_passes() -> None:
    assert marks("a 9s b") == [(0, "a"), (10, "b")]
    assert marks("1h30m a") == [(5400, "a")]
    assert Marbles("a 1d |").end == 86401
    assert marks("a 2 b 3s") == [(0, "a"), (1, "2"), (2, "b")]


def test_what_is_not_between_spaces_is_marks() -> None:
    assert marks("a9s") == [(0, "a"), (1, "9"), (2, "s")]


def test_spaces_mean_nothing() -> None:
    assert marks(" a  -( b c )\n-|") == marks("a-(bc)-|")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a-(b", r"marbles 'a-\(b', character 3 \('\('\): this group is never closed; write \(ab\)"),
        ("a)", r"character 2 \('\)'\): no group was opened before it"),
        ("(a(b))", "character 3 .*a group cannot hold a group"),
        ("()", r"character 2 .*a group must not be empty; write - for"),
        ("(a-b)", "character 3 .*no time passes within a group"),
        ("(a 1s b)", "character 4 .*no time passes within a group"),
        ("a|b", "character 3 .*nothing comes after the end"),
        ("a|-", "character 3 .*nothing comes after the end"),
        ("a| 1s ", "character 4 .*nothing comes after the end"),
        ("(|a)", "character 3 .*nothing comes after the end"),
        ("a^b", r"character 2 \('\^'\): it means nothing here; write a letter or a digit for a message"),
        (None, "marbles None: give a text, such as 'a-b--c|'"),
    ],
)
def test_a_bad_drawing_is_refused_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        Marbles(text)


def test_a_frame_has_a_length() -> None:
    assert frame_length("5ms") == 0.005
    with pytest.raises(GraphError, match="a frame must be longer than 0"):
        Marbles("a", frame=0)


@given(st.lists(st.one_of(st.just("-"), st.text("abc#", min_size=1, max_size=3))), st.booleans())
def test_what_is_drawn_is_read(frames: list[str], ends: bool) -> None:
    text = "".join(frame if len(frame) == 1 else f"({frame})" for frame in frames) + "|" * ends
    expected = [(at, symbol) for at, frame in enumerate(frames) for symbol in frame if symbol != "-"]
    marbles = Marbles(text)
    assert [tuple(mark) for mark in marbles.marks] == expected
    assert marbles.end == (len(frames) if ends else None)
