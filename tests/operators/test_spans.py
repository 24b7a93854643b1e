"""Which windows a value belongs to, whatever the kind."""

from math import inf
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from warren.core.message import Batch
from warren.core.receipt import DELIVERED, Ledger
from warren.operators.aggregations import custom
from warren.operators.figures import Accumulator, Figures
from warren.operators.kinds import Kind, counted, hopping, session, tumbling
from warren.operators.spans import Sessions


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


def plainly(size: int, every: int, keys: list[str]) -> list[tuple[str, list[int], bool]]:
    """Windows by count, one key after the other: the key, the values, and whether it is full."""
    found = []
    for key in sorted(set(keys)):
        mine = [i for i, each in enumerate(keys) if each == key]
        cut = [mine[start : start + size] for start in range(0, len(mine), every)]
        found += [(key, values, len(values) == size) for values in cut]
    return found


@given(st.integers(1, 6), st.integers(1, 6), st.lists(st.sampled_from("ab"), max_size=30), st.randoms(use_true_random=False))
def test_windows_by_count_equal_the_plain_computation(size: int, every: int, keys: list[str], chance: Random) -> None:
    every = min(every, size)
    told: list[int] = []
    ledger = Ledger(lambda delivery, tokens, outcome: told.extend(tokens))
    windows = counted(size, every).open(ledger)
    full, rest = [], list(range(len(keys)))
    while rest:
        mine, rest = rest[: (step := chance.randint(1, 7))], rest[step:]
        tokens = ledger.accept("here", Batch(bodies=mine, handles=mine), 0.0).tokens
        assert windows.add([1.0 * i for i in mine], [keys[i] for i in mine], mine, tokens, -inf) == {}
        full += windows.close(mine[-1])
    left = windows.close(inf)
    assert windows.next_end == inf
    found = [(span.key, span.values, True) for span in full] + [(span.key, span.values, False) for span in left]
    assert sorted(found) == sorted(plainly(size, every, keys))
    for span in full + left:
        assert (span.start, span.end) == (span.values[0], span.values[-1])
        ledger.settle([ledger.merge(span.segments)], DELIVERED)
    assert sorted(told) == sorted(set(told)) and len(told) == len(keys)


@given(
    st.sampled_from([tumbling(4), hopping(4, 2), hopping(5, 2), hopping(6, 1)]),
    st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12)), min_size=1, max_size=8), max_size=4),
    st.booleans(),
)
def test_values_of_a_window_are_in_order_of_arrival(kind: Kind, chunks: list[list[tuple[str, int]]], figures: bool) -> None:
    told: list[int] = []
    ledger = Ledger(lambda delivery, tokens, outcome: told.extend(tokens))
    adding = Accumulator(Figures({"all": custom((), lambda before, value: (*before, value))})) if figures else None
    windows = kind.open(ledger, adding)
    model: dict[tuple[float, str], list[tuple[str, int]]] = {}
    for come in chunks:
        tokens = ledger.accept("here", Batch(bodies=come, handles=come), 0.0).tokens
        if adding is not None:
            adding.take(come, [])
        windows.add([float(time) for _, time in come], [key for key, _ in come], come, tokens, -inf)
        for key, time in come:
            assert kind.every is not None
            start = time // kind.every * kind.every
            while start > time - kind.size:
                model.setdefault((start, key), []).append((key, time))
                start -= kind.every
    found = windows.close(inf)
    inside = [list(span.values[0]) if figures else span.values for span in found]
    # In order of their ends, and then of their first values.
    first_come = sorted(model, key=lambda window: window[0])
    assert [(span.start, span.key) for span in found] == first_come
    assert inside == [model[window] for window in first_come]
    ledger.settle([ledger.merge(span.segments) for span in found], DELIVERED)
    assert len(told) == len(set(told)) == sum(map(len, chunks))


moments = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60)), max_size=6)


@given(st.lists(st.tuples(moments, st.integers(0, 5)), max_size=12))
def test_the_first_end_of_sessions_is_the_least_however_they_grow_join_and_close(steps: list[tuple[Any, int]]) -> None:
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    windows = Sessions(5, None)
    closed = 0
    for come, further in steps:
        keys, times = [key for key, _ in come], [float(time) for _, time in come]
        tokens = ledger.accept("here", Batch(bodies=times, handles=times), 0.0).tokens
        windows.add(times, keys, times, tokens, closed)
        ends = sorted(span.end for spans in windows.open.values() for span in spans)
        assert windows.next_end == min(ends, default=inf)
        closed += further
        assert [span.end for span in windows.close(closed)] == [end for end in ends if end <= closed]
        left = [span for spans in windows.open.values() for span in spans]
        again = Sessions(5, None)
        again.restore(left)
        assert again.next_end == windows.next_end == min((span.end for span in left), default=inf)
    windows.close(inf)
    assert (windows.next_end, windows.open, windows.ends) == (inf, {}, [])


def test_sessions_do_not_look_through_their_keys() -> None:
    keys = [str(i) for i in range(2_000)]
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    times = [float(i) for i in range(len(keys))]
    windows = Sessions(5, None)
    windows.add(times, keys, times, ledger.accept("here", Batch(bodies=keys, handles=keys), 0.0).tokens, -inf)
    windows.open = Unlooked(windows.open)
    assert windows.next_end == 5
    assert [span.key for span in windows.close(6)] == ["0", "1"]
    assert windows.next_end == 7


class Unlooked(dict[Any, Any]):
    """A dict that nobody may look through."""

    def values(self) -> Any:
        raise AssertionError("looked through")

    items = __iter__ = values
