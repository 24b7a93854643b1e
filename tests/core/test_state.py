from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from tests.operators.kept import KeptBench
from warren.core.chunk import Chunk
from warren.core.errors import GraphError, StateError
from warren.core.message import Batch
from warren.core.receipt import DELIVERED, Ledger
from warren.core.state import Table
from warren.operators import scan


def table(**given: Any) -> tuple[Table, Ledger]:
    ledger = Ledger(lambda delivery, tokens, outcome: None)
    return Table("1:scan", ledger, **given), ledger


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 20))
def test_as_many_ids_as_asked_for_are_kept_and_not_many_more(sizes: list[int], keep: int) -> None:
    kept, ledger = table()
    lists: list[list[str]] = []
    number = 0
    for size in sizes:
        ids = [str(number + i) for i in range(size)]
        number += size
        tokens = ledger.accept("in", Batch(ids, ids, ids=ids), 0.0).tokens
        kept.count(tokens)
        ledger.settle(tokens, DELIVERED)
        change = kept.change(keep)
        del lists[: change.forgotten]
        lists += [list(change.counted)] if change.counted else []
        left = [id for each in lists for id in each]
        assert len(left) >= min(keep, number)
        assert sum(map(len, lists[1:])) < keep
        assert kept._counted.ids == set(left)


def test_only_what_is_handed_out_again_was_counted_before() -> None:
    kept, ledger = table(counted=[["a"]])
    for deliveries, found in ((None, [[], [1, 2]]), ([2, 2], [[1], [2]])):
        delivery = ledger.accept("in", Batch([1, 2], [1, 2], ids=["a", "b"], deliveries=deliveries), 0.0)
        old, fresh = kept.parted(Chunk([1, 2], delivery.tokens))
        assert [[] if old is None else old.values, fresh.values] == found


@pytest.mark.parametrize("deliveries", [[2, 3, 2, 1], [1, 2, 1, 1], [2, 1, 1, 1]])
def test_a_message_and_what_came_of_it_again_count_once_in_one_chunk(deliveries: list[int]) -> None:
    kept, ledger = table()
    apart: list[Chunk] = []
    kept.apart = apart.append
    delivery = ledger.accept("in", Batch("aabc", "1234", ids=["a", "a", "b", "c"], deliveries=deliveries), 0.0)
    _, fresh = kept.parted(Chunk([1, 2, 3, 4], delivery.tokens))
    (rest,) = apart
    assert (fresh.values, rest.values) == ([1, 3, 4], [2])
    assert kept.parted(rest)[1].values == [2]
    kept.count(fresh.tokens)
    old, fresh = kept.parted(rest)
    assert (old and old.values, fresh.values) == ([2], [])


def test_copies_in_one_chunk_of_which_the_first_fails() -> None:
    fails = [True]

    def add(total: int, amount: int) -> int:
        if fails.pop():
            fails.append(False)
            raise ValueError("not now")
        fails.append(False)
        return total + amount

    bench = KeptBench(scan(add, 0), {})
    delivery = bench.run.ledger.accept("in", Batch([5, 5], [1, 2], ids=["a", "a"], deliveries=[2, 3]), 0.0)
    bench.hand(Chunk([5, 5], delivery.tokens))
    (failure,) = bench.failures
    assert bench.wait(0.1).values == [5]
    bench.run.ledger.count_retry(failure.token)
    assert failure.redo is not None
    failure.redo(Chunk([5], [failure.token], (), 2))
    assert bench.values == [5, 5]


def test_what_comes_again_and_overtakes_what_came_first_counts_once() -> None:
    kept, ledger = table()
    first, again = (ledger.accept("in", Batch([1], [1], ids=["a"], deliveries=[n]), 0.0) for n in (1, 2))
    assert kept.parted(Chunk([1], again.tokens))[0] is None
    kept.count(again.tokens)
    assert kept.parted(Chunk([1], first.tokens))[1].values == []


def test_what_is_removed_and_comes_again_is_written_anew() -> None:
    kept, _ = table(rows={("a", 0): 1, ("b", 0): 2})
    kept.remove(["a", "b"])
    kept.update({"a": 3})
    change = kept.change(1)
    assert (len(change.removed), len(change.put), dict(kept)) == (2, 1, {"a": 3})
    assert (kept.change(1).removed, kept.change(1).put) == ([], {})


def test_a_state_that_cannot_be_kept() -> None:
    kept, _ = table()
    kept.update({"a": lambda: 0})
    with pytest.raises(StateError, match=r"1:scan: the state .* of key 'a' cannot be kept"):
        kept.change(1)


def test_ttl_in_memory() -> None:
    bench = Bench(scan(lambda n, _: n + 1, 0, by=str, ttl="10s"))
    bench.push("a", "b").wait(6).push("a").wait(6).push("a", "b")
    assert bench.values == [1, 1, 2, 3, 1]
    bench.wait(100).push("a")
    assert bench.values[-1] == 1
    with pytest.raises(GraphError, match="ttl must be longer than 0"):
        scan(lambda n, _: n, 0, ttl=0)
