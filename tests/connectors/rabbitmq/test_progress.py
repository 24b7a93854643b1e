"""What a reader of a stream remembers: nothing is lost over restarts, and nothing settled comes again."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from warren.connectors.rabbitmq.progress import Kept, Mark, Progress, Ranges


def progress(mark: Mark | None = None, runs: int = 0) -> Progress:
    return Progress(mark or Mark(-1), runs)


def hand_out(of: Progress, *offsets: int) -> None:
    of.take(offsets, [b"%d" % offset for offset in offsets], [b""] * len(offsets))


def stored(of: Progress) -> Mark:
    """As a restart finds it."""
    return msgspec.json.decode(msgspec.json.encode(of.mark()), type=Mark)


def test_the_floor_rises_when_what_is_below_is_settled() -> None:
    reader = progress()
    hand_out(reader, 0, 1, 2, 3)
    assert reader.settle([2, 1]) == 2
    assert (reader.floor, list(stored(reader).settled)) == (-1, [(1, 2)])
    assert reader.settle([0]) == 1
    assert (reader.floor, reader.unsettled) == (2, 1)
    assert stored(reader) == Mark(2, 3, handed=[(3, 1)])


def test_settling_again_or_what_was_never_handed_out_does_nothing() -> None:
    reader = progress()
    hand_out(reader, 0, 1)
    assert reader.settle([0, 0, 7, "no such handle", -1]) == 1
    assert reader.settle([0]) == 0
    assert (reader.floor, reader.unsettled) == (0, 1)


def test_a_whole_delivery_is_settled_at_once() -> None:
    reader = progress()
    for first in (0, 10, 20):
        reader.take(range(first, first + 10), [b""] * 10, [b""] * 10)
    assert reader.settle(range(10, 20)) == 10
    assert reader.settle(range(20, 30)) == 10
    assert (reader.floor, list(stored(reader).settled)) == (-1, [(10, 29)])
    assert reader.settle(range(10)) == 10
    assert (reader.floor, reader.unsettled) == (29, 0)
    assert stored(reader) == Mark(29, 29)


def test_offsets_that_are_not_there_hold_nothing_up() -> None:
    reader = progress()
    hand_out(reader, 5, 6, 9)
    assert reader.settle([5, 6, 9]) == 3
    assert reader.floor == 9


def test_messages_come_again_in_their_old_order_and_are_counted() -> None:
    reader = progress()
    hand_out(reader, 0, 1, 2)
    assert reader.give_back([2], 0.0, 5) == [2]
    assert reader.give_back([0, 0], 0.0, None) == [0]
    assert [(each.offset, each.body, each.known) for each in reader.again(5)] == [
        (0, b"0", Kept(1, 1)),
        (2, b"2", Kept(5, 1)),
    ]
    assert not reader.ready
    assert reader.settle([0, 1, 2]) == 3
    assert stored(reader) == Mark(2, 2)


def test_what_waits_cannot_be_settled() -> None:
    reader = progress()
    hand_out(reader, 0)
    reader.give_back([0], 9.0, 2)
    assert reader.delayed
    assert reader.settle([0]) == 0
    assert reader.give_back([0], 0.0, None) == []
    reader.due(0)
    assert (reader.delayed, reader.ready) == (False, True)


def test_a_delayed_message_is_known_after_a_restart() -> None:
    before = progress()
    hand_out(before, 0, 1, 2)
    before.give_back([0], 9.0, 3)
    before.settle([1])
    after = progress(stored(before))
    assert after.kept == {0: Kept(3, 1, 9.0)}
    after.hold(0, b"0", b"")
    assert [after.is_done(offset) for offset in (0, 1, 2, 3)] == [False, True, False, False]
    hand_out(after, 2)
    after.reach(2)
    after.settle([2])
    assert (after.floor, after.unsettled) == (-1, 1)
    after.due(0)
    (again,) = after.again(1)
    assert (again.body, again.known.attempts, again.known.deliveries + 1) == (b"0", 3, 2)
    after.settle([0])
    assert (after.floor, stored(after)) == (2, Mark(2, 2, 2))


def test_deliveries_are_counted_over_restarts() -> None:
    first = progress()
    hand_out(first, 0, 1, 2, 3)
    first.settle([0])
    second = progress(stored(first))
    hand_out(second, 1, 2)
    third = progress(stored(second))
    assert [third.deliveries(offset) for offset in (1, 2, 3, 4)] == [2, 2, 1, 0]


def test_runs_that_told_nothing_count_for_what_comes_before_anything_is_settled() -> None:
    reader = progress(Mark(4), runs=3)
    assert reader.is_known(5)
    assert reader.deliveries(5) == 3
    hand_out(reader, 5, 6)
    reader.settle([5])
    assert reader.deliveries(7) == 0
    assert stored(reader) == Mark(5, 6, handed=[(6, 4)])


def test_runs_that_told_nothing_had_no_more_than_the_credit_lets_out() -> None:
    assert [Progress(Mark(4), torn=True, window=2).deliveries(offset) for offset in (5, 6, 7)] == [1, 1, 0]
    torn = Progress(Mark(4, 6, handed=[(6, 1)]), torn=True, window=4)
    assert [torn.deliveries(offset) for offset in (5, 6, 7, 8, 9)] == [1, 1, 1, 1, 0]
    reader = Progress(Mark(4, handed=[(6, 1)]), runs=3, window=4)
    assert [reader.deliveries(offset) for offset in (5, 6, 7, 8, 9)] == [4, 4, 3, 3, 0]
    hand_out(reader, 5)
    assert reader.settle([5]) == 1
    assert [reader.losses(offset) for offset in (5, 6, 8, 9)] == [0, 5, 4, 1]
    assert stored(reader) == Mark(5, 5, handed=[(6, 4), (8, 3)])


@given(st.lists(st.integers(0, 40), unique=True))
def test_ranges_are_a_set(numbers: list[int]) -> None:
    ranges = Ranges()
    for number in numbers:
        ranges.add(number)
    assert [number for number in range(42) if number in ranges] == sorted(numbers)
    runs = list(ranges)
    assert all(a_last + 1 < b_first for (_, a_last), (b_first, _) in pairwise(runs))


@settings(max_examples=300)
@given(st.data())
def test_nothing_is_lost_and_nothing_settled_comes_again(data: st.DataObject) -> None:
    """A reader under any sequence of events, beside a plain list of what became of each message."""
    there = sorted(data.draw(st.sets(st.integers(0, 25), min_size=1)))
    settled: set[int] = set()
    outstanding: set[int] = set()
    waiting: dict[int, float] = {}
    reader, position = progress(), 0
    for _ in range(data.draw(st.integers(1, 25))):
        event = data.draw(st.sampled_from(("read", "settle", "release", "delay", "due", "again", "restart")))
        if event == "read" and position < len(there):
            came = there[position : position + data.draw(st.integers(1, 6))]
            position += len(came)
            fresh = []
            for offset in came:
                if reader.is_done(offset):
                    assert offset in settled
                elif offset in reader.kept and reader.kept[offset].due:
                    reader.hold(offset, b"%d" % offset, b"")
                    waiting[offset] = reader.kept[offset].due
                else:
                    fresh.append(offset)
            if fresh:
                hand_out(reader, *fresh)
            reader.reach(came[-1])
            assert not settled & set(fresh)
            outstanding |= set(fresh)
        elif event in ("settle", "release", "delay"):
            chosen = data.draw(st.sets(st.sampled_from(there)))
            if event == "settle":
                assert reader.settle(sorted(chosen)) == len(chosen & outstanding)
                settled |= chosen & outstanding
            else:
                due = 9.0 if event == "delay" else 0.0
                assert set(reader.give_back(sorted(chosen), due, 2)) == chosen & outstanding
                waiting |= dict.fromkeys(chosen & outstanding, due)
            outstanding -= chosen
        elif event == "due":
            for offset in [each for each, due in waiting.items() if due]:
                reader.due(offset)
                waiting[offset] = 0.0
        elif event == "again":
            again = [each.offset for each in reader.again(3)]
            assert again == sorted(each for each, due in waiting.items() if not due)[:3]
            outstanding |= set(again)
            for offset in again:
                del waiting[offset]
        elif event == "restart":
            reader = progress(stored(reader))
            assert all(offset in settled or offset < there[0] or offset not in there for offset in range(reader.floor + 1))
            position = sum(offset <= reader.floor for offset in there)
            outstanding.clear()
            waiting.clear()
        assert reader.unsettled == len(outstanding) + len(waiting)
    # What is left comes in the end, and all of it.
    reader = progress(stored(reader))
    came = [offset for offset in there if offset > reader.floor and not reader.is_done(offset)]
    assert set(came) == set(there) - settled
