from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.operators import batch, debounce, delay, filter, flat_map, map, merge, retry, route, sample, throttle, timeout
from warren.operators import dead_letter as dead
from warren.testing import Faults, check, fail, play, slow


class Order(msgspec.Struct):
    id: int


def over(*steps: Any, name: str = "p") -> Pipeline:
    flow: Any = memory.items([])
    for step in steps:
        flow = flow | step
    return Pipeline(name, flow | memory.into([]))


shout = over(map(str.upper), name="shout")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ""),
        ("|", "|"),
        ("----", "----"),
        ("--|", "--|"),
        ("a", "A"),
        ("a|", "A|"),
        ("a-b--c|", "A-B--C|"),
        ("(ab)--(c|)", "(AB)--(C|)"),
        ("a 1h b|", "A 1h B|"),
        ("a-b--c|", "A - B -- C"),
    ],
)
def test_what_comes_out_is_compared_with_what_is_drawn(given: str, expected: str) -> None:
    check(shout, given, expected)


@pytest.mark.parametrize(
    ("steps", "given", "expected"),
    [
        ([debounce("2s")], "ab---c----|", "---b---c--|"),
        ([debounce("2s")], "ab|", "--(b|)"),
        ([debounce("2s")], "a", "-a"),
        ([delay("3s")], "ab|", "---a(b|)"),
        ([sample("3s")], "ab---c--|", "---b--c-|"),
        ([throttle(1, "2s")], "(abc)|", "a-b-(c|)"),
        ([filter(lambda value: value != "b")], "abc|", "a-c|"),
        ([flat_map(lambda value: [value, value.upper()])], "a-b|", "(aA)-(bB)|"),
        ([map(slow("2s")(str.upper), concurrency=8)], "a-b|", "--A-(B|)"),
        ([map(fail(nth=1)(str.upper)), retry(constant("2s"))], "ab--|", "-BA-|"),
        ([map(fail(nth=1)(str.upper))], "ab|", "#B|"),
        ([timeout(map(slow("9s", nth=1)(str.upper), concurrency=8, ordered=False), "2s")], "ab---|", "-B#------|"),
    ],
)
def test_operators_in_time(steps: list[Any], given: str, expected: str) -> None:
    check(over(*steps), given, expected)


def test_letters_stand_for_values_on_both_sides() -> None:
    pairs = over(batch(2, "9s"))
    check(pairs, "ab-c|", "-x--(y|)", values={"a": 1, "b": 2, "c": 3, "x": [1, 2], "y": [3]})


def test_what_cannot_be_decoded_is_a_failure() -> None:
    flow = memory.queue("orders", Order) | map(lambda order: order.id) | memory.into([])
    values = {"a": Order(1), "b": {"id": 2}, "x": 1, "y": 2}
    trial = check(Pipeline("p", flow), "a#b|", "x#y|", values=values)
    assert [letter.error for letter in trial.dead_letters["p.dead"]] == ["DecodeError"]
    trial = check(Pipeline("p", flow), "#|", "#|", values={"#": b'{"id": "one"}'})
    assert "Expected `int`" in trial.dead_letters["p.dead"][0].reason


@pytest.mark.parametrize("type", [None, bytes])
def test_where_nothing_is_decoded_nothing_can_be_undecodable(type: Any) -> None:
    pipeline = Pipeline("p", memory.queue("in", type) | memory.into([]))
    with pytest.raises(GraphError, match=r"pipeline 'p': # cannot come from memory:in, .* values=\{'#': \.\.\.\}"):
        play(pipeline, "a#")
    check(pipeline, "#|", "x|", values={"#": b"odd", "x": b"odd"})


def test_frames_are_as_long_as_one_says() -> None:
    check(over(delay("100ms")), "a-b|", "-a-(b|)", frame="100ms")
    check(over(delay("1h")), "a-b|", "-a-(b|)", frame="1h")


def test_time_starts_where_one_says() -> None:
    assert play(shout, "-|", start=1.7e9).trial.elapsed == 1


def by_size() -> Pipeline:
    big = memory.queue("big")
    steps = route(lambda value: value, a=big, b=memory.into([]), default=dead("odd"))
    return Pipeline("p", memory.items([]) | steps)


def test_each_place_can_be_drawn_on_its_own() -> None:
    check(by_size(), "abc|", {"memory:big": "a--|", "memory.into": "-b", "odd": "--#"})
    check(by_size(), "abc|", "ab#|")
    check(by_size(), "b|", {"memory.into": "b|", "memory:big": "-|"})


def test_what_comes_to_a_place_that_is_not_drawn_is_told() -> None:
    with pytest.raises(AssertionError, match=r"frame 2 \(2s\) at odd: expected nothing, and # came"):
        check(by_size(), "abc|", {"memory:big": "a--|", "memory.into": "-b"})


def test_each_source_can_have_its_own_marbles() -> None:
    both = Pipeline("p", merge(memory.queue("x", str), memory.queue("y", str)) | memory.into([]))
    check(both, {"memory:x": "a-b|", "memory:y": "-c-----|"}, "acb----|")
    check(both, {"memory:x": "a"}, "a")
    check(both, "a|", "(aa)|")
    with pytest.raises(GraphError, match="pipeline 'p' has no source 'z' to give marbles to; it has 'memory:x', 'memory:y'"):
        play(both, {"z": "a"})


def test_faults_are_given_along() -> None:
    check(shout, "a-b|", "(AA)-(BB)|", faults=Faults().duplicate(every=1))
    check(shout, "a-b|", "A-B-(B|)", faults=Faults().duplicate(nth=2, after="2s"))


def test_what_was_played_equals_marbles_and_is_drawn_as_such() -> None:
    played = play(over(map(fail(nth=2)(str.upper))), "a-b(cd)|")
    assert played == "A-#(CD)|"
    assert played != "A-BCD|"
    assert played == {"memory.into": "A--(CD)", "p.dead": "--#"}
    assert (played != 3, played == 3) == (True, False)
    assert (str(played), repr(played)) == ("A-#(CD)|", "Played('A-#(CD)|')")
    with pytest.raises(TypeError, match="unhashable"):
        hash(played)


TEXTS = st.lists(st.one_of(st.just("-"), st.text("abc#", min_size=1, max_size=3)), max_size=12).map(
    lambda frames: "".join(frame if len(frame) == 1 else f"({frame})" for frame in frames) + "|"
)
STEPS = st.sampled_from(
    [
        lambda: map(str.upper),
        lambda: debounce("2s"),
        lambda: delay("1500ms"),
        lambda: sample("3s"),
        lambda: throttle(1, "2s"),
        lambda: filter(lambda value: value != "b"),
        lambda: map(fail(every=3)(str.upper)) | retry(constant("2s", attempts=2)),
        lambda: map(slow("2s", every=2)(str.upper), concurrency=8, ordered=False),
    ]
)


@given(TEXTS, STEPS, st.sampled_from(["1s", "250ms", "1h"]), st.integers(0, 3))
def test_what_is_drawn_of_it_is_what_came(marbles: str, step: Any, frame: str, seed: int) -> None:
    pipeline = Pipeline("p", memory.queue("in", str) | step() | memory.into([]))
    faults = Faults(seed).duplicate(share=0.2, after="1s").reorder(3)
    played = play(pipeline, marbles, frame=frame, faults=faults)
    assert played == str(played), played.differences(str(played))
    assert play(pipeline, marbles, frame=frame, faults=faults) == str(played)


def test_nothing_given_to_no_source_is_nothing() -> None:
    assert play(shout, {}) == "|"


def test_values_are_drawn_by_their_letters() -> None:
    played = play(over(map(len)), "a-b-c|", values={"a": "x", "b": "xx", "c": "xxx", "one": 1})
    assert str(played) == "one-?-?|"


def test_an_error_that_stops_the_pipeline_is_raised() -> None:
    with pytest.raises(SystemExit):
        check(over(map(fail(nth=1, error=ValueError)(exit_now))), "ab", "#")


def exit_now(value: object) -> object:
    raise SystemExit(2)
