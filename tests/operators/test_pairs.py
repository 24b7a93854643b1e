"""Values that wait for a partner: what is open, what outlives a run, and that no pair is lost whenever a worker dies."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.kept import KeptBench, KeptRun, Rows
from warren.core.chunk import Chunk
from warren.core.frozen import thaw_key
from warren.core.message import Batch
from warren.core.receipt import DELIVERED
from warren.operators.join import _Join
from warren.operators.pairs import Entry, Open
from warren.operators.sides import Sided

HOWS = {"inner": (False, False), "left": (True, False), "outer": (True, True)}
Event = tuple[str, float, str]
"""Key, time and id."""


class Feed:
    ended = False


FEEDS = Feed(), Feed()


def operator(how: str, migrate: Any = None) -> _Join:
    return _Join("join", [lambda e: e[0]] * 2, [lambda e: e[1]] * 2, 10.0, HOWS[how], 0.0, None, None, 1, migrate)


class Worker(KeptBench):
    """A join that keeps state, until it is killed."""

    def __init__(self, how: str, rows: Rows, counted: list[list[str]], migrate: Any = None) -> None:
        super().__init__(operator(how, migrate), rows, counted)
        self.events: dict[Any, str] = {}

    def make_run(self, start: float) -> KeptRun:
        run: Any = super().make_run(start)
        run.sources = FEEDS
        return run  # type: ignore[no-any-return]

    def come(self, side: int, events: Sequence[Event], again: Sequence[bool] = ()) -> Worker:
        deliveries = [1 + each for each in again] if again else None
        batch = Batch(list(events), list(events), ids=[event[2] for event in events], deliveries=deliveries)
        tokens = self.run.ledger.accept(FEEDS[side], batch, 0.0).tokens
        self.events.update(zip(tokens, (event[2] for event in events), strict=True))
        self.hand(Sided(Chunk(list(events), tokens), side))
        return self

    @property
    def done(self) -> set[str]:
        """The ids of the messages that are acknowledged at the next checkpoint."""
        return {id for token, id in self.events.items() if token in self.run.settled}


def found(values: Sequence[Any]) -> set[tuple[str, str]]:
    return {(pair.left[2] if pair.left else "", pair.right[2] if pair.right else "") for pair in values}


def in_one_go(ls: Sequence[Event], rs: Sequence[Event], how: str) -> set[tuple[str, str]]:
    pairs = {(a[2], b[2]) for a in ls for b in rs if a[0] == b[0] and abs(a[1] - b[1]) <= 10}
    lefts, rights = {a for a, _ in pairs}, {b for _, b in pairs}
    alone = {(a[2], "") for a in ls if a[2] not in lefts and HOWS[how][0]}
    return pairs | alone | {("", b[2]) for b in rs if b[2] not in rights and HOWS[how][1]}


def entry(time: float, key: str = "a") -> Entry:
    return Entry(0, key, time, None, None)


def test_what_is_open_leaves_by_its_time() -> None:
    open = Open()
    assert not open
    open.add([])
    open.add([entry(3), entry(1), entry(2, "b")])
    open.add([entry(0.5), entry(9)])
    assert [each.time for each in open.pop(0.5)] == []
    assert [each.time for each in open.pop(2)] == [0.5, 1]
    assert sorted(each.time for each in open) == [2, 3, 9]
    assert [each.time for each in open.pop(3.5)] == [2, 3]
    assert list(open.by_key) == ["a"]
    assert open
    assert [each.time for each in open.pop(float("inf"))] == [9]
    assert (bool(open), open.by_key) == (False, {})


def test_messages_are_done_as_soon_as_they_are_kept() -> None:
    worker = Worker("inner", {}, []).come(0, [("a", 0.0, "l1")])
    assert (worker.done, worker.values) == ({"l1"}, [])


def test_a_value_waits_for_its_partner_in_the_next_run() -> None:
    rows: Rows = {}
    Worker("inner", rows, []).come(0, [("a", 0.0, "l1"), ("b", 1.0, "l2")]).checkpoint()
    worker = Worker("inner", rows, []).come(1, [("b", 5.0, "r1"), ("a", 5.0, "r2")])
    assert found(worker.values) == {("l2", "r1"), ("l1", "r2")}


def test_a_pair_that_was_not_safe_is_given_again_though_its_values_have_expired() -> None:
    rows: Rows = {}
    first = Worker("inner", rows, [])
    first.come(0, [("a", 0.0, "l1")]).come(1, [("a", 0.0, "r1")]).checkpoint()
    first.come(0, [("x", 100.0, "l2")]).come(1, [("y", 100.0, "r2")]).checkpoint()
    again = Worker("inner", rows, []).wait(0.1)
    assert found(again.values) == {("l1", "r1")}
    assert first.run.ledger.metadata(first.out[0].tokens[0]).id == ":join/l1+r1"
    assert again.run.ledger.metadata(again.out[0].tokens[0]).id == ":join/l1+r1"
    again.deliver().checkpoint()
    assert Worker("inner", rows, []).wait(0.1).values == []


def test_what_is_open_and_what_was_not_safe_is_made_anew_once() -> None:
    rows: Rows = {}
    Worker("outer", rows, []).come(0, [("a", 0.0, "l1"), ("b", 0.0, "l2")]).come(1, [("a", 0.0, "r1")]).checkpoint()

    def renamed(key: str, event: Event) -> Event:
        assert key == event[0]
        return (*event[:2], event[2] + "!")

    before = len(rows)
    anew = Worker("outer", rows, [], [renamed, renamed]).wait(0.1)
    assert found(anew.values) == {("l1!", "r1!")}
    anew.checkpoint()
    assert len(rows) == before
    again = Worker("outer", rows, []).wait(0.1)
    assert found(again.values) == {("l1!", "r1!")}
    again.deliver().come(1, [("b", 0.0, "r2")])
    assert found(again.values) == {("l1!", "r1!"), ("l2!", "r2")}
    again.come(0, [("x", 100.0, "l3")]).come(1, [("y", 100.0, "r3")]).deliver().checkpoint()
    assert found(Worker("outer", rows, []).wait(0.1).values) == set()


def test_a_value_that_had_a_partner_is_not_given_alone_in_the_next_run() -> None:
    rows: Rows = {}
    first = Worker("left", rows, [])
    first.come(0, [("a", 0.0, "l1")]).checkpoint()
    first.come(1, [("a", 0.0, "r1")]).deliver().checkpoint()
    again = Worker("left", rows, [])
    again.come(0, [("x", 100.0, "l2")]).come(1, [("y", 100.0, "r2")]).wait(0.1)
    assert again.values == []


@pytest.mark.parametrize("how", HOWS)
def test_what_is_safe_leaves_nothing_behind(how: str) -> None:
    rows: Rows = {}
    worker = Worker(how, rows, [])
    worker.come(0, [("a", 0.0, "l1"), ("b", 0.0, "l2")]).checkpoint()
    worker.come(1, [("a", 0.0, "r1"), (None, 0.0, "r2")]).come(1, [("z", 100.0, "r3")]).come(0, [("z", 100.0, "l3")])
    worker.deliver().checkpoint()
    assert {thaw_key(key) for key, _ in rows} == {"reached", 4, 5}


def test_what_comes_once_more_is_there_already() -> None:
    rows: Rows = {}
    counted: list[list[str]] = []
    Worker("inner", rows, counted).come(0, [("a", 0.0, "l1")]).checkpoint()
    worker = Worker("inner", rows, counted)
    worker.come(0, [("a", 0.0, "l1"), ("a", 1.0, "l2")], again=[True, True])
    worker.come(1, [("a", 0.0, "r1")])
    assert found(worker.values) == {("l1", "r1"), ("l2", "r1")}
    assert len(worker.values) == 2
    assert worker.done == {"l1", "l2", "r1"}


def test_at_a_stop_all_stays_and_at_the_end_all_goes() -> None:
    worker = Worker("outer", {}, []).come(0, [("a", 0.0, "l1")])
    worker.flush()
    assert worker.values == []
    worker.run.exhausted = True
    worker.flush()
    assert found(worker.values) == {("l1", "")}


streams = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40).map(float)), max_size=12)


@pytest.mark.parametrize("how", HOWS)
@given(ls=streams, rs=streams, seed=st.integers(0, 1_000_000))
def test_no_pair_is_lost_or_made_up_whenever_a_worker_dies(
    how: str, ls: list[tuple[str, float]], rs: list[tuple[str, float]], seed: int
) -> None:
    chance = random.Random(seed)
    events = [
        sorted(((k, t, f"{name}{i}") for i, (k, t) in enumerate(each)), key=lambda event: event[1])
        for name, each in (("l", ls), ("r", rs))
    ]
    rows: Rows = {}
    counted: list[list[str]] = []
    delivered: list[Any] = []
    acknowledged: set[str] = set()
    handed: set[str] = set()

    def deliver(worker: Worker) -> None:
        for chunk in worker.out:
            delivered.extend(chunk.values)
            worker.run.ledger.settle(chunk.tokens, DELIVERED)
        worker.out.clear()

    for last in (False, False, False, True):
        worker = Worker(how, rows, counted).wait(0.1)
        left = [[event for event in each if event[2] not in acknowledged] for each in events]
        for _ in range(100 if last else chance.randint(0, 12)):
            what = chance.choice(["come", "come", "deliver", "checkpoint"])
            side = chance.randint(0, 1)
            if what == "come" and left[side]:
                count = chance.randint(1, 3)
                some, left[side] = left[side][:count], left[side][count:]
                worker.come(side, some, again=[event[2] in handed for event in some])
                handed.update(event[2] for event in some)
            elif what == "deliver":
                deliver(worker)
            elif what == "checkpoint":
                done = worker.done
                worker.checkpoint()
                acknowledged |= done
    for side in (0, 1):
        if left[side]:
            worker.come(side, left[side], again=[event[2] in handed for event in left[side]])
    worker.run.exhausted = True
    worker.flush()
    deliver(worker)
    worker.checkpoint()
    assert not worker.failures
    assert found(delivered) == in_one_go(*events, how)
    assert {thaw_key(key) for key, _ in rows} <= {"reached"}
