from __future__ import annotations

from typing import Any

import pytest

from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.operators import dead_letter, filter, map, route
from warren.testing import assert_dead_lettered, assert_delivered, assert_outcomes, fail


def trial(values: Any = (3, 0, 1)) -> Any:
    big = memory.queue("big")
    steps = filter(lambda x: x != 9) | map(lambda x: 6 // x)
    to = route(lambda x: "big" if x > 3 else "small", big=big, small=memory.into([]))
    return Pipeline("p", memory.items([]) | steps | to).test(values)


def text(assertion: Any, *values: Any, **options: Any) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        assertion(*values, **options)
    return str(caught.value).splitlines()


def test_what_was_delivered_is_as_expected() -> None:
    assert_delivered(trial(), [6, 2], in_order=False)
    assert_delivered(trial(), [2], to="memory.into")
    assert_delivered(trial([]), [])


def test_what_is_missing_and_beyond_is_shown_side_by_side_with_the_dead_letters() -> None:
    assert text(assert_delivered, trial([3, 0, 2]), [2, 5, 3]) == [
        "what was delivered is not what was expected: 1 value(s) missing",
        "",
        "    expected  actual",
        "0   2         2",
        "1 - 5",
        "2   3         3",
        "",
        "  dead letter 0: ZeroDivisionError at 2:map(…), 'integer division or modulo by zero'",
    ]


def test_another_order_is_called_that() -> None:
    lines = text(assert_delivered, trial([3, 2]), [3, 2])
    assert lines[0].endswith("the same values in another order; give in_order=False where the order does not matter")
    assert_delivered(trial([3, 2]), [3, 2], in_order=False)


def test_without_order_only_what_differs_is_marked() -> None:
    assert text(assert_delivered, trial([3, 2]), [3, 4], in_order=False) == [
        "what was delivered is not what was expected: 1 value(s) missing, 1 value(s) beyond it",
        "",
        "    expected  actual",
        "0   3         3",
        "1 ~ 4         2",
    ]


def test_a_sink_is_known_by_its_name() -> None:
    with pytest.raises(GraphError, match=r"the trial has no sink named 'small'; it has 'memory:big', 'memory\.into'"):
        assert_delivered(trial(), [], to="small")
    assert text(assert_delivered, trial(), [], to="memory:big")[0].startswith("what was delivered to memory:big is not")


def test_dead_letters_are_as_expected() -> None:
    assert_dead_lettered(trial(), [0])
    assert_dead_lettered(trial(), [0], error=ZeroDivisionError, stage="map", queue="p.dead")
    assert_dead_lettered(trial(), [0], error="ZeroDivisionError")
    assert_dead_lettered(trial([1]), [])
    assert_dead_lettered(trial([1]), [], queue="p.dead")
    assert_dead_lettered(trial([0, 0.0]), [0.0, 0], in_order=False)


def test_other_dead_letters_are_shown_with_their_reasons() -> None:
    lines = text(assert_dead_lettered, trial(), [])
    assert lines[0] == "what was dead-lettered is not what was expected: 1 value(s) beyond it"
    assert lines[-1] == "  0: ZeroDivisionError at 2:map(…), 'integer division or modulo by zero'"


def test_another_error_or_stage_is_told() -> None:
    assert text(assert_dead_lettered, trial(), [0], error=KeyError, stage="map") == [
        "1 dead letter(s) failed otherwise than by KeyError at map:",
        "",
        "  0: ZeroDivisionError at 2:map(…), 'integer division or modulo by zero'",
    ]
    assert text(assert_dead_lettered, trial(), [0], stage="filter")[0].endswith("than at filter:")


def test_a_queue_is_known_by_its_name() -> None:
    odd = Pipeline("p", memory.items([]) | map(fail(every=1)(str)) | dead_letter("odd") | memory.into([])).test(["a", "b"])
    assert_dead_lettered(odd, ["a", "b"], queue="odd", in_order=False)
    with pytest.raises(GraphError, match="the trial has no queue of dead letters named 'even'; it has 'odd'"):
        assert_dead_lettered(odd, [], queue="even")


def test_outcomes_are_as_expected() -> None:
    assert_outcomes(trial([1, 0, 9]), delivered=1, dead_lettered=1, filtered=1)
    assert_outcomes(trial([]))
    assert text(assert_outcomes, trial([1, 0, 9]), delivered=2, filtered=1)[:5] == [
        "messages did not end as expected",
        "",
        "                expected  actual",
        "delivered     ~        2       1",
        "filtered               1       1",
    ]
    with pytest.raises(GraphError, match=r"assert_outcomes\(lost=...\): messages end as delivered, filtered"):
        assert_outcomes(trial([]), lost=1)
