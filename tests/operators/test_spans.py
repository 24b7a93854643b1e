"""Which windows a value belongs to, whatever the kind."""

from math import inf

import pytest

from warren.core.errors import GraphError
from warren.core.message import Batch
from warren.core.receipt import Ledger
from warren.operators.spans import Kind, hopping, session, tumbling


def spans(kind: Kind, *times: float) -> list[tuple[float, float, list[float]]]:
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    tokens = ledger.accept("here", Batch(bodies=list(times), handles=range(len(times))), 0.0).tokens
    windows = kind.open(ledger)
    assert windows.next_end == inf
    assert windows.add(list(times), [None] * len(times), list(times), tokens, -inf) == {}
    return [(span.start, span.end, span.values) for span in windows.close(inf)]


def test_tumbling_windows_follow_each_other_from_1970() -> None:
    assert spans(tumbling("10s"), 9.9, 10, -1) == [(-10, 0, [-1]), (0, 10, [9.9]), (10, 20, [10])]


def test_hopping_windows_overlap() -> None:
    assert spans(hopping("10s", "5s"), 7) == [(0, 10, [7]), (5, 15, [7])]


def test_sessions_end_after_a_gap_and_are_joined_by_a_value_between_them() -> None:
    assert spans(session("5s"), 0, 4, 20) == [(0, 9, [0, 4]), (20, 25, [20])]
    (joined,) = spans(session("5s"), 0, 8, 4)
    assert (joined[0], joined[1], sorted(joined[2])) == (0, 13, [0, 4, 8])


@pytest.mark.parametrize("kind", [tumbling, session])
def test_a_length_must_be_above_zero(kind: type) -> None:
    with pytest.raises(GraphError):
        kind("0s")
