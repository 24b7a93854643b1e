"""State under bad input: what cannot be kept or read is a sentence, and no message counts twice or is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from warren import Pipeline, constant
from warren.connectors import memory
from warren.connectors.memory import Broker
from warren.connectors.sqlite.state import StateFile
from warren.core.errors import StateError
from warren.core.frozen import thaw, thaw_key
from warren.core.graph import Operator, Source
from warren.core.message import Metadata, Outgoing
from warren.core.state import StateStore
from warren.operators import map, merge, retry, scan, timeout


def add(total: int, n: int) -> int:
    return total + n


class Kept:
    """A queue in memory, and state."""

    def __init__(self, store: StateStore) -> None:
        self.store = store
        self.broker = Broker()
        self.out: list[Any] = []
        self.now = 1e9

    def feed(self, values: Sequence[Any], ids: Sequence[str] | None = None, queue: str = "in") -> None:
        async def main() -> None:
            connection = await memory.queue(queue, broker=self.broker).open()
            metadata = [Metadata(id=each) for each in ids] if ids is not None else None
            await connection.write(Outgoing(values, metadata and metadata.__getitem__))
            await connection.close()

        asyncio.run(main())

    def run(self, steps: Operator[Any, Any], *values: Any, source: Source[Any] | None = None) -> None:
        if values:
            self.feed(values)
        start = source if source is not None else memory.queue("in", Any, broker=self.broker)

        async def main() -> None:
            flow = start | steps | memory.into(self.out)
            pipeline = Pipeline("x", flow, state=self.store, credit=100, checkpoint="10ms")
            await asyncio.wait_for(pipeline.start(until_empty=True, clock=lambda: self.now), 20)

        asyncio.run(main())

    def rows(self, step: str = "1:scan") -> dict[Any, Any]:
        kept = self.store.open("x")[step][1].rows
        self.store.close()
        return {thaw_key(key): thaw(value) for (key, _), value in kept.items()}


@pytest.fixture(params=["file", "memory"])
def kept(tmp_path: Path, request: pytest.FixtureRequest) -> Kept:
    return Kept(StateFile(tmp_path / "x.state") if request.param == "file" else memory.state())


def test_state_that_cannot_be_pickled(kept: Kept) -> None:
    kept.run(scan(add, 0), 1)
    kept.feed([5])
    with pytest.raises(StateError, match=r"1:scan: the state <function .* of key None cannot be kept .*; let it be made of"):
        kept.run(scan(lambda _, n: lambda: n, 0))
    assert kept.broker.depth("in") == 1
    kept.run(scan(add, 0))
    assert kept.rows() == {None: 6}


def test_a_step_that_is_gone(kept: Kept) -> None:
    kept.run(scan(add, 0), 1)
    kept.feed([5])
    with pytest.raises(StateError, match=r"has a step '1:scan' that the pipeline has not.*warren state drop FILE 1:scan"):
        kept.run(map(lambda n: n) | scan(add, 0))
    assert kept.broker.depth("in") == 1
    assert kept.rows() == {None: 1}


def test_versions(kept: Kept) -> None:
    kept.run(scan(add, 0), 1)
    with pytest.raises(StateError, match=r"version 1 and the pipeline has version 2.*give migrate="):
        kept.run(scan(add, 0, version=2))

    def broken(key: Any, state: int) -> int:
        raise ValueError("oh")

    with pytest.raises(
        StateError, match=r"1:scan: migrate= raised ValueError \(oh\) for key None with the state 1; the file"
    ):
        kept.run(scan(add, 0, version=2, migrate=broken))
    assert kept.rows() == {None: 1}
    kept.run(scan(lambda state, n: {"sum": state["sum"] + n}, {}, version=2, migrate=lambda _, n: {"sum": n}), 2)
    assert kept.rows() == {None: {"sum": 3}}
    with pytest.raises(StateError, match=r"version 2 and the pipeline has version 1, which is older; run the newer program"):
        kept.run(scan(add, 0))


def test_a_handler_that_changes_the_state_it_was_given(kept: Kept) -> None:
    def append(state: list[int], n: int) -> list[int]:
        state.append(n)
        return state

    step = scan(append, [], by=lambda n: n % 2)
    kept.run(step, 1, 2, 3)
    kept.run(step, 5)
    assert kept.rows() == {0: [2], 1: [1, 3, 5]}


def test_keys_that_are_none_or_odd_or_equal_or_none_at_all(kept: Kept) -> None:
    step = scan(lambda count, _: count + 1, 0, by=lambda name: KEYS[name])
    kept.run(step, "none", "list", "one", "true", "dec")
    kept.run(step, "more", "none", "true")
    assert kept.rows() == {None: 2, 1: 3, Decimal("0.1"): 2}
    assert [letter for letter in kept.broker.queues if letter == "x.dead"] == ["x.dead"]
    assert kept.broker.depth("x.dead") == 1


KEYS: dict[str, Any] = {
    "none": None,
    "list": [],
    "one": 1,
    "true": True,
    "dec": Decimal("0.10"),
    "more": Decimal("0.1"),
}


def test_two_messages_of_one_id_and_messages_without_one_all_count(kept: Kept) -> None:
    kept.feed([1, 2], ["same", "same"])
    kept.feed([4, 8], ["", ""])
    kept.run(scan(add, 0))
    assert kept.rows() == {None: 15}


def test_a_message_that_fails_behind_the_state_counts_once(kept: Kept) -> None:
    tries: list[int] = []

    def fail_first(total: int) -> int:
        tries.append(total)
        if len(tries) == 1:
            raise ConnectionError("no")
        return total

    kept.run(scan(add, 0) | map(fail_first) | retry(constant("50ms", attempts=3), on=ConnectionError, park=0), 5)
    assert (kept.rows(), kept.out) == ({None: 5}, [5])


def test_a_message_that_is_put_through_twice_counts_once(kept: Kept) -> None:
    calls: list[int] = []

    async def slow_first(total: int) -> int:
        calls.append(total)
        if len(calls) == 1:
            await asyncio.sleep(0.2)
        return total

    bounded = timeout(scan(add, 0) | map(slow_first, concurrency=2), "50ms")
    kept.run(bounded | retry(constant("1ms", attempts=3), on=TimeoutError), 5)
    assert (list(kept.rows("1.within/1:scan").values()), kept.out) == ([5], [5])


def test_messages_of_two_sources_with_equal_ids_all_count(kept: Kept) -> None:
    async def hand_out(queue: str) -> None:
        connection = await memory.queue(queue, broker=kept.broker).open()
        batch = await connection.receive(10)
        assert batch is not None
        await connection.release(batch.handles)
        await connection.close()

    def both() -> Source[Any]:
        return merge(*(memory.queue(name, Any, broker=kept.broker) for name in ("in", "other")))

    kept.feed([1], ["7"])
    kept.run(scan(add, 0), source=both())
    kept.feed([10], ["7"], "other")
    asyncio.run(hand_out("other"))
    kept.run(scan(add, 0), source=both())
    assert kept.rows() == {None: 11}


def test_ttl_forgets_keys_in_memory_and_in_the_file(kept: Kept) -> None:
    step = scan(add, 0, by=lambda n: n % 2, ttl="1d")
    kept.run(step, 1, 2)
    kept.now += 50_000
    kept.run(step, 3)
    kept.now += 50_000
    kept.run(step, 4, 5)
    # The even key had been silent for longer than a day, the odd one for less.
    assert kept.out == [1, 2, 4, 4, 9]
    kept.now += 86_400
    kept.run(step)
    assert kept.rows() == {}


def test_a_clock_that_is_set_back_forgets_nothing(kept: Kept) -> None:
    step = scan(add, 0, ttl="1d")
    kept.run(step, 1)
    kept.now -= 1e6
    kept.run(step, 2)
    kept.now += 1e6
    kept.run(step, 4)
    assert kept.out == [1, 3, 7]


def test_ttl_is_turned_on_and_off_and_migrated(kept: Kept) -> None:
    kept.run(scan(add, 0), 1)
    kept.run(scan(add, 0, ttl="1d"), 2)
    assert kept.rows() == {None: (3, kept.now)}
    kept.run(scan(add, 0, ttl="1d", version=2, migrate=lambda _, n: n * 100), 4)
    assert kept.rows() == {None: (304, kept.now)}
    kept.run(scan(add, 0, version=2), 8)
    assert kept.rows() == {None: 312}
