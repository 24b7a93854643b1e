from __future__ import annotations

from warren import Pipeline
from warren.connectors import memory
from warren.operators import encode, map
from warren.testing.timeline import Happening, Timeline


class Shared(Timeline):
    """A timeline that a test can look at: it is the one of the trial itself."""


def test_values_and_dead_letters_are_noted_with_their_times_and_places() -> None:
    timeline = Shared()
    flow = memory.items([]) | map(lambda value: 6 // value) | memory.into([])
    Pipeline("p", flow).test([2, 0], at=["1s", "3s"], faults=timeline)
    first, second = timeline.happened
    assert first._replace(at=round(first.at, 3)) == Happening(1, "memory.into", 3, False)
    assert second._replace(at=round(second.at, 3)) == Happening(3, "p.dead", None, True)


def test_encoded_values_are_noted_as_they_were() -> None:
    timeline = Shared()
    Pipeline("p", memory.items([]) | encode("application/json") | memory.into([])).test([[1]], faults=timeline)
    assert [each.value for each in timeline.happened] == [[1]]
